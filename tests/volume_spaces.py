"""Volumes somewhere in the world, and the same as images of nibabel and SimpleITK."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import SimpleITK
from hypothesis import strategies as st

from zarrfeed_convert import Header, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_REVERSED = [2, 1, 0, 3]  # columns of (x, y, z), our axes are (z, y, x)
_LPS = np.diag([-1.0, -1, 1, 1])

extents = st.integers(1, 7)
sizes = st.tuples(extents, extents, extents)
spacings = st.tuples(*[st.floats(0.3, 6)] * 3)
offsets = st.tuples(*[st.floats(-200, 200)] * 3)
axes = st.permutations(range(3)).flatmap(
    lambda order: st.tuples(*(st.sampled_from([(axis, 1), (axis, -1)]) for axis in order))
)


@st.composite
def affines(draw: Any, *, degrees: float = 40) -> NDArray[np.float64]:
    """Affines whose axes are permuted, flipped, and rotated by up to some degrees."""
    matrix = np.zeros((3, 3))
    for column, (world, sign) in enumerate(draw(axes)):
        matrix[world, column] = sign
    angle = np.radians(draw(st.floats(-degrees, degrees)))
    axis = np.array(draw(st.tuples(*[st.floats(0.1, 1)] * 3)))
    axis /= np.linalg.norm(axis)
    cross = np.cross(np.eye(3), axis)
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    affine = np.eye(4)
    affine[:3, :3] = rotation @ matrix * draw(spacings)
    affine[:3, 3] = draw(offsets)
    return affine


def values_of(size: Sequence[int], dtype: str, seed: int = 0) -> NDArray[Any]:
    """Random values of a dtype."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 100, size).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, size, dtype, endpoint=True)


def nifti_of(values: NDArray[Any], affine: NDArray[np.float64]) -> Any:
    """(D, H, W) as an image of nibabel."""
    return nibabel.Nifti1Image(values.transpose(2, 1, 0), affine[:, _REVERSED])


def of_nifti(image: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """An image of nibabel as (D, H, W), and its affine."""
    return np.asarray(image.dataobj).transpose(2, 1, 0), image.affine[:, _REVERSED]


def itk_of(values: NDArray[Any], affine: NDArray[np.float64]) -> Any:
    """(D, H, W) as an image of SimpleITK."""
    image = SimpleITK.GetImageFromArray(values)
    set_grid(image, affine)
    return image


def set_grid(image: Any, affine: NDArray[np.float64]) -> None:
    """Set origin, spacing and direction of an image, or of a filter that makes one."""
    matrix = (_LPS @ affine)[:, _REVERSED]
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    names = ("Spacing", "Origin", "Direction")
    direction = (matrix[:3, :3] / spacing).ravel()
    for name, numbers in zip(names, (spacing, matrix[:3, 3], direction), strict=True):
        setter = getattr(image, f"Set{name}", None) or getattr(image, f"SetOutput{name}")
        setter(numbers.tolist())


def of_itk(image: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """An image of SimpleITK as (D, H, W), and its affine."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image), (_LPS @ matrix)[:, _REVERSED]


class Scans(Source):
    """Volumes with affines, which count how often they are read."""

    def __init__(
        self,
        images: Sequence[NDArray[Any]],
        affines: Sequence[Any],
        masks: Sequence[NDArray[Any]] | None = None,
        *,
        windows: bool = False,
    ) -> None:
        self.images, self.affines, self.windows = images, affines, windows
        self.masks = masks or [np.zeros(image.shape[:3], np.uint8) for image in images]
        self.asked: list[Any] = []

    @property
    def keys(self) -> list[str]:
        return [f"scan{number}" for number in range(len(self.images))]

    def describe(self) -> dict[str, Any]:
        return {"kind": "scans"}

    def names(self, sample: int) -> tuple[str, str]:
        return f"scan{sample}.nii", f"labels{sample}.nii"

    def probe(self, sample: int) -> Header:
        image, mask = self.images[sample], self.masks[sample]
        affine = self.affines[sample]
        rows = None if affine is None else tuple(map(tuple, np.asarray(affine).tolist()))
        return Header.of_pair(image.shape, str(image.dtype), mask.shape, affine=rows)

    def read(self, sample: int) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.images[sample], self.masks[sample]

    def reads_windows(self, sample: int) -> bool:
        return self.windows

    def read_window(self, sample: int, window: Any) -> tuple[NDArray[Any], ...]:
        self.asked.append(window)
        return super().read_window(sample, window)


ORIENTATIONS = sorted(
    "".join(letters)
    for order in itertools.permutations(("LR", "PA", "IS"))
    for letters in itertools.product(*order)
)
