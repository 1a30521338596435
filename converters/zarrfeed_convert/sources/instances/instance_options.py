"""What are the masks of a format with instances: class ids, numbers, or both in a way?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed.spelling import did_you_mean
from zarrfeed_convert.header import ArrayHeader
from zarrfeed_convert.labels import MAX_ID
from zarrfeed_convert.source import PAIR, Field
from zarrfeed_convert.sources.instances.border_weights import border_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zarrfeed_convert.header import Header
    from zarrfeed_convert.source import Mask
    from zarrfeed_convert.sources.instances.drawing import Drawing, Shape
    from zarrfeed_convert.sources.value_options import ValueOptions

KINDS = ("semantic", "keep", "boundary")
WEIGHT = Field("weight", "target")
W0, SIGMA = 10.0, 5.0  # of the U-Net paper
_MOST_W0, _MOST_SIGMA = 1e6, 50.0  # more is a mistake, and would take long


@dataclass(frozen=True, slots=True)
class InstanceOptions:
    """The options of every format with instances.

    Attributes
    ----------
    kind
        ``semantic``: masks are class ids. ``keep``: they are numbers of instances. ``boundary``:
        they are class ids, and a further field has the weights of borders.
    w0, sigma
        See :func:`zarrfeed_convert.sources.instances.border_weights.border_weights`.
    """

    kind: str
    w0: float = W0
    sigma: float = SIGMA

    @classmethod
    def of(cls, kind: str, w0: float, sigma: float, values: ValueOptions) -> InstanceOptions:
        """Check the options of a source's constructor.

        Raises
        ------
        SourceError
            One is not valid, or makes no sense with another one.
        """
        if kind not in KINDS:
            hint = did_you_mean(kind, KINDS, otherwise="choose one")
            raise SourceError(
                f"--instances: needed one of {', '.join(KINDS)}, found {kind!r}; {hint}"
            )
        for name, value, default, least, most in (
            ("w0", w0, W0, 0, _MOST_W0),
            ("sigma", sigma, SIGMA, 0.1, _MOST_SIGMA),
        ):
            if not (math.isfinite(value) and least <= value <= most):
                raise SourceError(
                    f"option {name}: needed a number within {least:g} … {most:g}, found {value:g}"
                )
            if value != default and kind != "boundary":
                raise SourceError(
                    f"option {name}: needed --instances boundary, whose weights it sets, found "
                    f"--instances {kind}; leave one of both out"
                )
        if kind == "keep" and str(values.mask_map):
            raise SourceError(
                "--mask-map: needed class ids, which --instances keep replaces by numbers of "
                f"instances, found {str(values.mask_map)!r}; leave one of both out"
            )
        return cls(kind, w0, sigma)

    @property
    def numbered(self) -> bool:
        """Whether masks are numbers of instances."""
        return self.kind == "keep"

    @property
    def fields(self) -> tuple[Field, ...]:
        """Fields of a sample that has a mask."""
        return (*PAIR, WEIGHT) if self.kind == "boundary" else PAIR

    def ignored(self, drawing: Drawing, classes: int, *, labelled: bool = False) -> int | None:
        """Return the id of ignored pixels; None if there are none.

        Parameters
        ----------
        drawing
            Rules by which shapes are drawn.
        classes
            Number of classes.
        labelled
            Whether shapes may say themselves that their pixels are ignored.
        """
        if not drawing.ignores and not labelled:
            return None
        return 255 if classes <= 255 and not self.numbered else MAX_ID

    def header(self, header: Header) -> Header:
        """Add the weights to the header of a sample, if it has a mask and there are weights."""
        if self.kind != "boundary" or header.mask is None:
            return header
        weight = ArrayHeader(header.size, "float32")
        return replace(header, arrays={**header.arrays, WEIGHT.name: weight})

    def mask(
        self,
        shapes: Sequence[Shape],
        size: tuple[int, int],
        drawing: Drawing,
        *,
        ignored: int | None,
        dtype: np.dtype[Any],
        name: str,
    ) -> Mask:
        """Draw the mask of an image.

        Parameters
        ----------
        shapes, size, ignored, dtype
            As for :meth:`~zarrfeed_convert.sources.instances.drawing.Drawing.class_ids`.
        drawing
            Rules by which shapes are drawn.
        name
            Name of the mask, for errors.

        Raises
        ------
        SourceError
            There are too many instances to number them.
        """
        if self.numbered:
            return _numbers(shapes, size, drawing, ignored, name)
        return drawing.class_ids(shapes, size, ignored=ignored, dtype=dtype)

    def further(
        self, shapes: Sequence[Shape], size: tuple[int, int], drawing: Drawing, *, name: str
    ) -> tuple[NDArray[np.float32], ...]:
        """Compute the weights of an image, (H, W) float32, if there are any.

        Crowds, and shapes of the background, count as no instances. Where instances overlap, a
        pixel belongs to the one that is drawn last.
        """
        if self.kind != "boundary":
            return ()
        alone = [shape for shape in shapes if not shape.crowd]
        numbers = _numbers(alone, size, drawing, None, name)
        return (border_weights(numbers, w0=self.w0, sigma=self.sigma),)


def _numbers(
    shapes: Sequence[Shape], size: tuple[int, int], drawing: Drawing, ignored: int | None, name: str
) -> Mask:
    try:
        return drawing.numbers(shapes, size, ignored=ignored)
    except ValueError as error:
        raise SourceError(f"{name}: {error}") from error
