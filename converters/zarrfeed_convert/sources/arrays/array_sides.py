"""Which array of which file holds a sample's image, its mask, or another field?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.arrays.array_files import FoundArray, Stack
from zarrfeed_convert.sources.axes import Axes
from zarrfeed_convert.sources.item_index import ItemIndex
from zarrfeed_convert.sources.name_pairs import pair_all, unpaired
from zarrfeed_convert.sources.read_errors import naming_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zarrfeed_convert.sources.arrays.array_files import ArrayFiles

# An error stands for an array that cannot be read.
Measured: TypeAlias = tuple[FoundArray, Stack | SourceError]


@dataclass(frozen=True, slots=True)
class Side:
    """The arrays of one field, in the order of their samples."""

    stacks: tuple[Stack, ...]
    layout: str
    axes: tuple[Axes, ...]
    index: ItemIndex

    @classmethod
    def of(cls, stacks: tuple[Stack, ...], layout: str) -> Side:
        """Count the samples of each array."""
        axes = tuple(Axes.named(layout, stack.shape) for stack in stacks)
        return cls(stacks, layout, axes, ItemIndex.of(one.count for one in axes))

    @property
    def stacked(self) -> bool:
        """Return whether axis 0 counts samples; else each array is one sample."""
        return "N" in self.layout

    def pairs(self) -> Iterator[tuple[Stack, Axes]]:
        """Iterate over the arrays and their axes."""
        return zip(self.stacks, self.axes, strict=True)

    def locate(self, sample: int) -> tuple[Stack, Axes, int | None]:
        """Return a sample's array, its axes, and its index along axis 0; None for all of it."""
        place, row = self.index.locate(sample)
        return self.stacks[place], self.axes[place], row if self.stacked else None

    def sample(self, stack: Stack) -> tuple[int, ...]:
        """Return the shape of a sample of an array, as it is stored."""
        return stack.shape[1:] if self.stacked else stack.shape

    def name(self, sample: int) -> str:
        """Name a sample, like ``cells.h5:/images[12]``."""
        stack, _, row = self.locate(sample)
        return stack.found.name if row is None else f"{stack.found.name}[{row}]"

    def keys(self) -> list[str]:
        """Name all samples by their files and their indices there."""
        if not self.stacked:
            return [stack.found.stem for stack in self.stacks]
        keys = []
        for stack in self.stacks:
            digits = max(4, len(str(stack.shape[0] - 1)))
            keys += [f"{stack.found.stem}/{row:0{digits}}" for row in range(stack.shape[0])]
        return keys

    def keys_in(self, array: str, files: ArrayFiles) -> list[str]:
        """Read the samples' names: an array of texts in every file.

        Raises
        ------
        SourceError
            It has another number of texts, or two samples have the same.
        """
        keys: list[str] = []
        for stack, axes in self.pairs():
            file, count = stack.found.file, axes.count
            with naming_errors(f"{file}:{array}"):
                texts = files.texts(file, array)
            if len(texts) != count:
                raise SourceError(
                    f"{file}:{array}: needed a name for each of {count} samples, found "
                    f"{len(texts)}; choose another -o keys, or none"
                )
            keys += texts
        often, times = Counter(keys).most_common(1)[0]
        if times > 1 or "" in keys:
            found = f"{often!r} {times} times" if times > 1 else "an empty one"
            raise SourceError(
                f"keys: needed a different name for every sample, found {found}; choose another "
                "-o keys, or none"
            )
        return keys


def measure_all(files: ArrayFiles, address: str, what: str) -> list[Measured]:
    """Read the headers of all arrays; an error stands for one that cannot be read."""
    measured: list[Measured] = []
    for found in files.find(address, what):
        try:
            with naming_errors(found.name):
                measured.append((found, files.measure(found)))
        except SourceError as error:
            measured.append((found, error))
    errors = [stack for _, stack in measured if isinstance(stack, SourceError)]
    if len(errors) == len(measured):
        raise errors[0]
    return measured


def pair_arrays(
    sides: Sequence[Sequence[Measured]],
) -> tuple[list[tuple[Stack, ...]], tuple[tuple[str, str], ...]]:
    """Bring the arrays of all fields into the order of the images, the first side.

    Arrays pair by name where a field has as many as there are of images; else their samples follow
    each other.

    Returns
    -------
    stacks
        Of each side; without the arrays of which one, or a partner, cannot be read.
    left_out
        The name of each that cannot be read, and why.
    """
    images = sides[0]
    stems = [[found.stem for found, _ in side] for side in sides]
    rows = [images]
    for side, names in zip(sides[1:], stems[1:], strict=True):
        if len(side) == len(images):
            side = [side[place] for place in pair_all(stems[0], names)]
        rows.append(side)
    if any(len(side) != len(images) for side in sides):
        for _, stack in (each for side in rows for each in side):
            if isinstance(stack, SourceError):
                raise stack
        return [_stacks(side) for side in rows], ()
    together = list(zip(*rows, strict=True))
    failed = [
        next((found.name, stack) for found, stack in group if isinstance(stack, SourceError))
        for group in together
        if any(isinstance(stack, SourceError) for _, stack in group)
    ]
    if len(failed) == len(together):
        raise failed[0][1]
    whole = [group for group in together if all(isinstance(stack, Stack) for _, stack in group)]
    left_out = tuple((name, str(error).removeprefix(f"{name}: ")) for name, error in failed)
    return [_stacks(side) for side in zip(*whole, strict=True)], left_out


def lone_arrays(images: Sequence[Stack], others: Sequence[Stack]) -> str:
    """Name the arrays that have no partner; none if there are as many of both."""
    if len(images) == len(others):
        return ""
    stems = [[stack.found.stem for stack in side] for side in (images, others)]
    return unpaired(*stems) or ""


def _stacks(side: Sequence[Measured]) -> tuple[Stack, ...]:
    return tuple(stack for _, stack in side if isinstance(stack, Stack))
