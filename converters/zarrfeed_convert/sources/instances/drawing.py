"""How do the shapes of an image, which may overlap, become a mask?

Pure functions of shapes. Crowds are drawn first, so that they are below all other shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zarrfeed_convert.labels import MAX_ID
from zarrfeed_convert.sources.instances.runs import area_of, paint
from zarrfeed_convert.sources.option_checks import require_choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.source import Mask


class Shape(NamedTuple):
    """The pixels of an instance.

    Attributes
    ----------
    runs
        Its run-length code; see :func:`zarrfeed_convert.sources.instances.runs.runs_of`.
    label
        Its class id. A shape of class 0, the background, is no instance.
    crowd
        Whether it is a region of several instances.
    layer
        Layer in which it lies, if its tool has layers: shapes of a higher layer are in front.
    """

    runs: NDArray[np.int64]
    label: int
    crowd: bool = False
    layer: int = 0


@dataclass(frozen=True, slots=True)
class Drawing:
    """Rules by which shapes are drawn.

    Attributes
    ----------
    order
        Which of several shapes a pixel belongs to. ``area``: the smallest, which keeps small
        objects in front of large ones; ``file``: the last one; ``none``: it is ignored if their
        classes, or numbers, differ.
    crowd
        What crowds become: their ``class``, or in masks of numbers one instance each; or
        ``ignore``.
    """

    order: str = "area"
    crowd: str = "class"

    def __post_init__(self) -> None:
        require_choice("order", self.order, ("area", "file", "none"))
        require_choice("crowd", self.crowd, ("class", "ignore"))

    @property
    def ignores(self) -> bool:
        """Whether masks may have pixels that are ignored."""
        return self.crowd == "ignore" or self.order == "none"

    def class_ids(
        self,
        shapes: Sequence[Shape],
        size: tuple[int, int],
        *,
        ignored: int | None,
        dtype: np.dtype[Any],
    ) -> Mask:
        """Draw shapes as class ids.

        Parameters
        ----------
        shapes
            The shapes of an image, in the order of the file.
        size
            (height, width) of the image.
        ignored
            Id of ignored pixels; None if there are none.
        dtype
            Dtype of the mask.

        Returns
        -------
        ndarray
            (H, W) ids, C-contiguous; 0 outside all shapes.
        """
        return self._draw(shapes, [shape.label for shape in shapes], size, ignored, dtype)

    def numbers(
        self, shapes: Sequence[Shape], size: tuple[int, int], *, ignored: int | None
    ) -> NDArray[np.uint16]:
        """Draw shapes as numbers: that of the i-th shape is i, counting from 1.

        Shapes of the background are 0. Numbers of shapes that others hide are missing.

        Parameters
        ----------
        shapes, size, ignored
            As for :meth:`class_ids`.

        Returns
        -------
        ndarray
            (H, W) uint16, C-contiguous; 0 outside all instances.

        Raises
        ------
        ValueError
            There are more shapes than uint16 has numbers.

        Examples
        --------
        >>> shapes = [Shape(np.array([0, 3, 3]), 7), Shape(np.array([2, 2, 2]), 7)]
        >>> Drawing().numbers(shapes, (1, 6), ignored=None).tolist()
        [[1, 1, 2, 2, 0, 0]]
        """
        most = MAX_ID if ignored is None else ignored - 1
        if len(shapes) > most:
            raise ValueError(
                f"{len(shapes):,} instances, of which 16 bits can number {most:,}; use --instances "
                "semantic"
            )
        numbers = [number if shape.label else 0 for number, shape in enumerate(shapes, 1)]
        drawn: NDArray[np.uint16] = self._draw(shapes, numbers, size, ignored, np.dtype(np.uint16))
        return drawn

    def _draw(
        self,
        shapes: Sequence[Shape],
        numbers: Sequence[int],
        size: tuple[int, int],
        ignored: int | None,
        dtype: np.dtype[Any],
    ) -> Mask:
        clash = ignored if self.order == "none" else None
        drawn = []
        for shape, number in zip(shapes, numbers, strict=True):
            drawn_as = number
            if shape.crowd and self.crowd == "ignore" and ignored is not None:
                drawn_as = ignored
            place = -area_of(shape.runs) if self.order == "area" else 0
            drawn.append((not shape.crowd, shape.layer, place, drawn_as, shape.runs))
        flat = np.zeros(size[0] * size[1], dtype)
        for *_, number, runs in sorted(drawn, key=lambda one: one[:3]):
            paint(flat, runs, number, clash)
        return np.ascontiguousarray(flat.reshape(size[1], size[0]).T)
