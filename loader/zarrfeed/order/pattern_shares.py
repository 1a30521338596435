"""Which shares of draws have which pattern of classes, so that given shares contain each class?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import look_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Each step of Newton's method doubles the digits; of shares that vanish it wins half a digit.
_STEPS = 100
_CONVERGED = 1e-14
_TOLERANCE = 1e-9  # of shares that are reached
_LONGEST = 50.0  # step of an exponent: without a solution, steps become ever longer
_ROUNDING = 1e-12  # of the loss


def pattern_shares(
    sizes: NDArray[np.int64],
    patterns: NDArray[np.bool_],
    targets: Sequence[float],
    names: Sequence[str | int],
) -> NDArray[np.float64]:
    """Find the shares of patterns that are closest to the sizes, and reach a share of each class.

    Closest means the smallest relative entropy, which iterative proportional fitting ("raking")
    minimises, too. Its solution is ``sizes × exp(patterns @ log_odds)``, scaled to the sum 1
    (Ireland and Kullback: Contingency tables with given marginals, Biometrika 1968). Newton's
    method finds it where shares of patterns must vanish, too, which fitting only approaches.

    Parameters
    ----------
    sizes
        (G,) int64 number of samples of each pattern.
    patterns
        (G, c) bool: the classes that each pattern contains.
    targets
        c shares, from 0 to 1.
    names
        Names of the c classes for messages.

    Returns
    -------
    (G,) float64
        Share of the draws that have each pattern; the sum is 1.

    Raises
    ------
    ValueError
        There are no such shares; the message names the classes.

    Examples
    --------
    >>> patterns = np.array([[False], [True]])
    >>> pattern_shares(np.array([90, 10]), patterns, [0.5], ["lesion"]).round(9).tolist()
    [0.5, 0.5]
    """
    wanted = np.array(targets)
    for name, target, column in zip(names, targets, patterns.T, strict=True):
        if target > 0 and not column.any():
            raise ValueError(
                f"no sample of the subset contains {name!r}: leave it out of shares"
                f"{look_up('class-missing')}"
            )
        if target < 1 and column.all():
            raise ValueError(
                f"every sample of the subset contains {name!r}: leave it out of shares"
                f"{look_up('class-missing')}"
            )
    sure = (wanted == 0) | (wanted == 1)
    possible = (patterns == wanted)[:, sure].all(axis=1)
    found = np.where(possible, sizes, 0).astype(np.float64)
    if possible.any():
        found[possible] = _fitted(found[possible], (patterns - wanted)[possible])
    reached = found @ patterns
    if np.abs(reached - wanted).max() > _TOLERANCE:
        raise ValueError(_unreachable(names, targets, reached))
    return found


def _fitted(sizes: NDArray[np.float64], deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shares that are closest to sizes and with which the deviations average to 0.

    If there are none, the average is as close to 0 as the method gets.

    Parameters
    ----------
    sizes
        (G,) float64, above 0.
    deviations
        (G, c) float64.

    Returns
    -------
    (G,) float64
        The sum is 1.
    """
    log_odds = np.zeros(deviations.shape[1])
    shares, loss = _weighed(sizes, deviations @ log_odds)
    for _ in range(_STEPS):
        mean = shares @ deviations
        if np.abs(mean).max() < _CONVERGED:
            break
        centred = deviations - mean
        curvature = centred.T @ (shares[:, None] * centred)
        step = np.linalg.lstsq(curvature, -mean, rcond=None)[0]
        step *= min(1.0, _LONGEST / max(np.abs(step).max(), _LONGEST))
        tried, loss_tried = _weighed(sizes, deviations @ (log_odds + step))
        while loss_tried > loss + mean @ step / 4 + _ROUNDING:
            step /= 2
            tried, loss_tried = _weighed(sizes, deviations @ (log_odds + step))
        log_odds, shares, loss = log_odds + step, tried, loss_tried
    return shares


def _weighed(
    sizes: NDArray[np.float64], exponents: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return ``sizes × exp(exponents)``, scaled to the sum 1, and the logarithm of the scale."""
    largest = exponents.max()
    weighed = sizes * np.exp(exponents - largest)
    return weighed / weighed.sum(), float(np.log(weighed.sum()) + largest)


def _unreachable(
    names: Sequence[str | int], targets: Sequence[float], reached: NDArray[np.float64]
) -> str:
    needed = ", ".join(f"{name!r} {target:g}" for name, target in zip(names, targets, strict=True))
    found = ", ".join(f"{name!r} {share:.3g}" for name, share in zip(names, reached, strict=True))
    return (
        f"shares cannot be reached together: needed {needed}, found {found} at best, because of "
        "which classes the samples contain together: change or leave out one of them"
    )
