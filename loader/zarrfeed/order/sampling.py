"""How often does a user want each sample in an epoch? Four kinds of values, validated when made.

:mod:`zarrfeed.order.sample_weights` turns them into one weight per sample,
:mod:`zarrfeed.order.repeated_samples` weights into the draws of an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from zarrfeed.arguments import whole
from zarrfeed.order.user_values import set_value

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# Samples are grouped by which of the named classes they contain: 2^16 groups at most.
MOST_CLASSES = 16
# Draws of an epoch, at most: a sum of weights in units of 2^-10 draws is then exact in float64.
MOST_DRAWS = 1 << 40


@dataclass(frozen=True, slots=True)
class Balanced:
    """Draw every class equally often: choose a class at random, then one of its samples.

    A sample weighs Σ 1 / (K × N_c) over its classes c, where K classes occur in the subset and N_c
    of its samples contain class c. This is class-aware sampling (Shen, Lin and Huang: Relay
    backpropagation, ECCV 2016). Draws of a frequent class contain rare ones, too, and vice versa:
    ``seq.shares()`` tells how many. Samples without any class are not drawn.

    Parameters
    ----------
    per_epoch
        Number of draws per epoch, over all ranks. By default, the number of samples.

    Raises
    ------
    TypeError, ValueError
        `per_epoch` has the wrong type or is out of range.
    """

    _: KW_ONLY
    per_epoch: int | None = None

    def __post_init__(self) -> None:
        """Validate and normalise every value."""
        _set_per_epoch(self)


@dataclass(frozen=True, slots=True)
class Shares:
    """Draw so that given shares of the draws contain given classes.

    Samples that contain the same ones of the named classes are drawn equally often. Among all
    weights that reach the shares, these are closest to equal ones (in relative entropy; "raking").

    Parameters
    ----------
    shares
        ``{class: share}``, by name or id, for up to 16 classes: the share, from 0 to 1, of draws
        whose mask has at least one pixel of the class. A draw may contain several of them, so that
        shares may sum to more than 1.
    per_epoch
        Number of draws per epoch, over all ranks. By default, the number of samples.

    Raises
    ------
    TypeError, ValueError
        A value has the wrong type or is out of range; the message names it.

    Notes
    -----
    With n draws per epoch, the number of draws that contain the class is the share of n, rounded up
    or down, in every epoch, for each of the first two classes. For the k-th class it differs by up
    to 2^(k-2).

    Examples
    --------
    >>> Shares({"lesion": 0.5}, per_epoch=1000)
    Shares(shares={'lesion': 0.5}, per_epoch=1000)
    """

    shares: Mapping[str | int, float]
    _: KW_ONLY
    per_epoch: int | None = None

    def __post_init__(self) -> None:
        """Validate and normalise every value."""
        shares = self.shares
        if not isinstance(shares, Mapping) or not shares:
            raise TypeError(f"shares must be {{class: share}}, not {shares!r}")
        if len(shares) > MOST_CLASSES:
            raise ValueError(f"shares must name at most {MOST_CLASSES} classes, not {len(shares)}")
        for name, share in shares.items():
            if not (isinstance(share, int | float) and 0 <= share <= 1):
                raise ValueError(f"shares[{name!r}] must be from 0 to 1, not {share!r}")
        set_value(self, "shares", {name: float(share) for name, share in shares.items()})
        _set_per_epoch(self)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Weights:
    """Draw each sample in proportion to its weight.

    Parameters
    ----------
    weights
        (N,) numbers, one for each sample of the subset in its order: finite, at least 0, and not
        all 0. Samples of weight 0 are not drawn.
    per_epoch
        Number of draws per epoch, over all ranks. By default, the number of samples.

    Raises
    ------
    TypeError, ValueError
        A value has the wrong type or is out of range; the message names it.
    """

    weights: ArrayLike
    _: KW_ONLY
    per_epoch: int | None = None

    def __post_init__(self) -> None:
        """Validate and normalise every value."""
        given = np.asarray(self.weights)
        if given.ndim != 1 or given.dtype.kind not in "buif":
            raise TypeError(
                f"weights must be numbers with one axis, not {given.dtype} of shape {given.shape}"
            )
        weights = given.astype(np.float64)
        wrong = np.flatnonzero(~((weights >= 0) & np.isfinite(weights)))
        if wrong.size:
            raise ValueError(
                f"weights must be finite and at least 0, but weights[{wrong[0]}] is "
                f"{weights[wrong[0]]}"
            )
        if not weights.any():
            raise ValueError("weights must not all be 0: no sample could be drawn")
        weights /= weights.max()  # sums of very large or small weights would not be finite
        weights.flags.writeable = False
        set_value(self, "weights", weights)
        _set_per_epoch(self)

    def __repr__(self) -> str:
        return f"Weights({np.size(self.weights)} weights, per_epoch={self.per_epoch})"


@dataclass(frozen=True, slots=True)
class RepeatFactor:
    """Repeat samples with rare classes, as for LVIS.

    Class c of which a share f_c of the samples has pixels has the repeat factor max(1, √(t / f_c)).
    A sample's factor is the largest one of its classes, and 1 without any (Gupta, Dollár and
    Girshick: LVIS, CVPR 2019, appendix B.2).

    Parameters
    ----------
    threshold
        The share t above which classes are not repeated, above 0 and at most 1.
    per_epoch
        Number of draws per epoch, over all ranks. By default, the sum of the factors, rounded up:
        each sample is then drawn at least once in every epoch.

    Raises
    ------
    TypeError, ValueError
        A value has the wrong type or is out of range; the message names it.
    """

    threshold: float = 0.001
    _: KW_ONLY
    per_epoch: int | None = None

    def __post_init__(self) -> None:
        """Validate and normalise every value."""
        if not (isinstance(self.threshold, int | float) and 0 < self.threshold <= 1):
            raise ValueError(f"threshold must be above 0 and at most 1, not {self.threshold!r}")
        set_value(self, "threshold", float(self.threshold))
        _set_per_epoch(self)


Sampling: TypeAlias = Balanced | Shares | Weights | RepeatFactor


def _set_per_epoch(sampling: Sampling) -> None:
    if sampling.per_epoch is not None:
        number = whole("per_epoch", sampling.per_epoch, at_least=1, at_most=MOST_DRAWS)
        set_value(sampling, "per_epoch", number)
