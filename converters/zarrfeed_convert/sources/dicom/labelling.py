"""Which labels belong to which series?

A series without labels, or one that cannot be arranged as it must be, is left out with the reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.dicom.labels import Layer, SegmentLabels, VolumeLabels
from zarrfeed_convert.sources.dicom.segments import series_shown, slices_shown
from zarrfeed_convert.sources.dicom.slices import patch_of
from zarrfeed_convert.sources.file_pairs import pair_stacks
from zarrfeed_convert.sources.read_errors import naming_errors, place_and_reason
from zarrfeed_convert.sources.stacks.nifti_file import measure_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zarrfeed_convert.sources.dicom.labels import SliceLabels
    from zarrfeed_convert.sources.dicom.segments import Segmentation
    from zarrfeed_convert.sources.dicom.slices import Series

# Chooses and orders the slices of a series; raises a SourceError if they make no sample.
Arrange: TypeAlias = "Callable[[Series], Series]"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A series, and its labels if it has any."""

    series: Series
    labels: SliceLabels | None = None


@dataclass(slots=True)
class Labelling:
    """Series with labels, inputs that are left out as (name, reason), and facts to record."""

    series: list[Labelled] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    facts: dict[str, int] = field(default_factory=dict)


def as_they_are(series: Series) -> Series:
    """Return a series itself: its slices, each of which is a sample."""
    return series


def without_labels(series: Sequence[Series], *, arrange: Arrange) -> Labelling:
    """Arrange series of images alone."""
    found = Labelling()
    for one in series:
        try:
            found.series.append(Labelled(arrange(one)))
        except SourceError as error:
            found.left_out.append(place_and_reason(error, [one.place]))
    return found


def by_segments(
    series: Sequence[Series],
    segmentations: Sequence[Segmentation],
    ids: Mapping[str, int],
    threshold: float,
    *,
    arrange: Arrange,
) -> Labelling:
    """Label series with the segments that were drawn on them.

    Parameters
    ----------
    series, segmentations
        All series and SEG objects.
    ids
        Name of the segment → class; other segments are background.
    threshold
        The fraction from which on a pixel belongs to a fractional segment.
    arrange
        Chooses and orders the slices of a series.
    """
    found = Labelling(facts={"segmentations": len(segmentations), "frames_of_other_images": 0})
    drawn: dict[str, list[Segmentation]] = defaultdict(list)
    for segmentation in segmentations:
        one = series_shown(segmentation, series)
        if one is not None:
            drawn[one.uid].append(segmentation)
            continue
        why = (
            "needed the series it was drawn on, "
            f"{segmentation.series or 'which it does not name'}, found no such series in the images"
        )
        found.left_out.append((segmentation.path, why))
    for one in series:
        if one.uid not in drawn:
            found.left_out.append((one.place, f"the series {one.key} has no segments"))
            continue
        try:
            arranged = arrange(one)
            labels, elsewhere = _segment_labels(arranged, drawn[one.uid], ids, threshold)
        except SourceError as error:
            paths = [segmentation.path for segmentation in drawn[one.uid]]
            found.left_out.append(place_and_reason(error, [one.place, *paths]))
            continue
        found.facts["frames_of_other_images"] += elsewhere
        found.series.append(Labelled(arranged, labels))
    return found


def _segment_labels(
    series: Series,
    segmentations: Sequence[Segmentation],
    ids: Mapping[str, int],
    threshold: float,
) -> tuple[SegmentLabels, int]:
    """Order the frames of each slice: higher segment numbers come later and win."""
    layers: dict[int, list[Layer]] = defaultdict(list)
    elsewhere = 0
    for segmentation in segmentations:
        known = {number: ids[name] for number, name in segmentation.names.items() if name in ids}
        least = threshold * segmentation.full if segmentation.full else 1
        shown, other = slices_shown(segmentation, series)
        elsewhere += other
        for number, frames in shown.items():
            for frame, segment in sorted(frames, key=lambda one: (one[1] or 0, one[0])):
                if segment is None:
                    layers[number].append(Layer(segmentation.path, frame, known, None))
                elif segment in known:
                    one = {1: known[segment]}
                    layers[number].append(Layer(segmentation.path, frame, one, least))
    return (
        SegmentLabels(
            tuple(segmentation.path for segmentation in segmentations),
            {number: tuple(some) for number, some in layers.items()},
            len(segmentations) == 1 and segmentations[0].disjoint,
            "uint8" if max(ids.values(), default=0) <= 255 else "uint16",
        ),
        elsewhere,
    )


def by_volumes(
    series: Sequence[Series],
    volumes: Mapping[str, str],
    *,
    image_suffix: str,
    mask_suffix: str,
    arrange: Arrange,
) -> Labelling:
    """Label series with the volumes of their names.

    Parameters
    ----------
    series
        All series.
    volumes
        Label volume → name.
    image_suffix, mask_suffix
        What names of series and of volumes have after the part that both share.
    arrange
        Chooses and orders the slices of a series.

    Raises
    ------
    SourceError
        No series and volume pair by name.
    """
    crowded = Counter(one.place for one in series)
    known = {
        one.place if crowded[one.place] == 1 else f"{one.place} ({one.key})": one for one in series
    }
    paired = pair_stacks(
        {name: one.key for name, one in known.items()},
        volumes,
        image_suffixes=[image_suffix],
        mask_suffix=mask_suffix,
    )
    found = Labelling(left_out=list(paired.left_out))
    for pair in paired.pairs:
        one = known[pair.images[0]]
        try:
            arranged = arrange(one)
            labels = _volume_labels(arranged, pair.files[-1])
        except SourceError as error:
            found.left_out.append(place_and_reason(error, pair.files))
            continue
        found.series.append(Labelled(arranged, labels))
    found.facts = {"label_volumes": len(found.series)}
    return found


def _volume_labels(series: Series, path: str) -> VolumeLabels:
    with naming_errors(path):
        volume = measure_volume(path)
    if volume.channels > 1:
        raise SourceError(
            f"{path}: needed labels of one value per voxel, found {volume.channels}; save class ids"
        )
    patches = []
    for one in series.slices:
        if one.plane is None:
            raise SourceError(
                f"{one.name}: needed position, orientation and pixel spacing to find the slice in "
                f"{path}, found not all of them; give a series that has them"
            )
        patch = patch_of(one.plane, one.size, volume.affine, volume.shape)
        if patch is None:
            raise SourceError(
                f"{one.name}: needed labels at its pixels, found that they lie between voxels of "
                f"{path} or outside; resample the labels to the series"
            )
        patches.append(patch)
    return VolumeLabels(volume, tuple(patches))
