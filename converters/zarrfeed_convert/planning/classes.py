"""Which classes do the masks of a source have?

The classes that the user names, those of the dataset's other splits, the channels of multi-hot
masks; or else the values that all masks hold.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few
from zarrfeed_convert.labels import (
    JPEG_HINT,
    TOPS,
    Labels,
    has_soft_edges,
    is_jpeg,
    of_two_classes,
    parse_classes,
    smeared_by_jpeg,
)
from zarrfeed_convert.planning.class_advice import about_instances
from zarrfeed_convert.planning.layout import Decision
from zarrfeed_convert.planning.survey_tasks import collect_values
from zarrfeed_convert.shards.case_parts import PART_NBYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert.executors.executor import Executor, Progress
    from zarrfeed_convert.planning.survey_tasks import Measured
    from zarrfeed_convert.source import Source

_SURVEYED_TOGETHER = 16


def survey_labels(
    source: Source,
    executor: Executor,
    measured: Measured,
    *,
    known: Labels | None,
    ignore: int | None,
    progress: Progress | None,
) -> tuple[Labels, Decision, dict[int, int]]:
    """Find the classes by decoding every mask, and count the pixels of every id.

    Parameters
    ----------
    source, executor, measured, progress
        The source, the executor that reads it, the samples to read, and a callback for progress.
    known
        Classes and ignored id of the dataset's other splits; None if there are none.
    ignore
        The ignored id, if the user named one.

    Raises
    ------
    SourceError
        The values do not tell what the classes are.
    """
    first: dict[int, int] = {}
    pixels = Counter[int]()
    masks = [
        (item, header.nbytes > PART_NBYTES)
        for item, header in zip(measured.items, measured.headers, strict=True)
    ]
    jobs = [masks[at : at + _SURVEYED_TOGETHER] for at in range(0, len(masks), _SURVEYED_TOGETHER)]
    for part in executor.run(collect_values, jobs, progress):
        for value, (item, count) in part.items():
            first.setdefault(value, item)
            pixels[value] += count
    binary = 255 in first and first.keys() <= {0, 255}
    said = few(map(str, sorted(first)), counted=True)
    as_one = " and 255 means 1 (foreground)"
    if known is not None:
        binary = binary and known.ignore is None and len(known.classes) == 2
        reason = f"those of the dataset's other splits; the masks hold {said}"
        labels = Labels(known.classes, known.ignore if ignore is None else ignore, binary)
        reason += f",{as_one}" if binary else ""
        return labels, _classes(labels, reason), _ids(pixels, labels)
    seen = {value: source.names(item)[1] for value, item in first.items()}
    labels = labels_of_values(seen, ignore=ignore, pixels=pixels)
    reason = f"no --classes: all masks together hold {said}{about_instances(labels)}"
    if labels.binary:
        reason = f"no --classes: the masks are binary, they hold {said},{as_one}"
    return labels, _classes(labels, reason), _ids(pixels, labels)


def _ids(pixels: Mapping[int, int], labels: Labels) -> dict[int, int]:
    """Convert counts of values to counts of ids."""
    return {1 if labels.binary and value == 255 else value: n for value, n in pixels.items()}


def given_labels(
    classes: tuple[str, ...], ignore: int | None, *, by_source: Sequence[str] | None
) -> tuple[Labels, Decision]:
    """Use the classes that the user or the source named.

    Parameters
    ----------
    classes, ignore
        The classes, and the ignored id.
    by_source
        Classes that the source names; None if it names none.
    """
    labels = Labels(classes, ignore)
    named = by_source is not None and parse_classes(by_source) == classes
    return labels, _classes(labels, "named by the source" if named else "asked for")


def multi_hot_labels(
    count: int, named: tuple[str, ...] | None, ignore: int | None, *, known: Labels | None
) -> tuple[Labels, Decision]:
    """Return the labels of multi-hot masks: every channel is a class.

    Parameters
    ----------
    count
        Number of channels of every mask.
    named, ignore
        Classes and ignored id that the user named.
    known
        Labels of the dataset's other splits; None if there are none.

    Raises
    ------
    SourceError
        The number of names is not `count`, or there is an ignored id.
    """
    if ignore is None and known is not None:
        ignore = known.ignore
    if ignore is not None:
        raise SourceError(
            f"ignore: needed no ignored id, because multi-hot masks contain no ids, found {ignore};"
            " leave --ignore out, and give pixels that do not count a weight of 0 in a further "
            "field (--field weight=target:PLACE), or a channel of their own"
        )
    names = named or (known.classes if known else tuple(map(str, range(count))))
    if len(names) != count:
        of_whom = "--classes" if named else "the dataset's other splits"
        raise SourceError(
            f"classes: needed a name for each of the {count} channels of the masks, found "
            f"{len(names)} ({few(names, counted=True)}) from {of_whom}; name every channel, and "
            "give each mask a channel for every class, even if it is empty"
        )
    labels = Labels(names, None, multi_hot=True)
    reason = "multi-hot masks: one channel per class; a pixel may have several classes or none"
    return labels, _classes(labels, reason)


def instance_labels(ignore: int | None) -> tuple[Labels, Decision]:
    """Return the labels of masks that number instances: there are no classes.

    Parameters
    ----------
    ignore
        Id of ignored pixels; None if there are none.
    """
    labels = Labels((), ignore, instances=True)
    reason = "masks are numbers of instances, 1 and up in each image, and 0 is the background"
    reason += "" if ignore is None else f"; {ignore} is ignored"
    return labels, Decision("classes", "none", reason)


def without_masks(
    classes: tuple[str, ...] | None,
    ignore: int | None,
    *,
    known: Labels | None,
    fields: Sequence[str],
) -> tuple[Labels, Decision]:
    """Take the classes that the user named, or those of the dataset, for samples without masks."""
    labels = known or Labels(classes or (), ignore, multi_hot=None)
    if classes is not None:
        labels = replace(labels, classes=classes, ignore=ignore)
    reason = "the source has none; "
    if len(fields) == 1:
        reason += "without masks, images feed `model.predict`, not `fit`"
    else:
        reason += f"name the fields to train on, like ZarrSequence(…, fields={tuple(fields[:2])})"
    return labels, Decision("masks", "none", reason)


def _classes(labels: Labels, reason: str) -> Decision:
    shown = few(labels.classes, counted=True)
    ignored = "" if labels.ignore is None else f"; {labels.ignore} is ignored"
    return Decision("classes", f"{len(labels.classes)} ({shown}){ignored}", reason)


def labels_of_values(
    seen: Mapping[int, str], *, ignore: int | None, pixels: Mapping[int, int] | None = None
) -> Labels:
    """Decide the classes from the values that all masks hold.

    Parameters
    ----------
    seen
        Value → a mask that holds it.
    ignore
        The ignored id, if the user named one.
    pixels
        Value → number of pixels with it in all masks, if known.

    Raises
    ------
    SourceError
        255 appears among other values, where it may be a class or mean "unlabelled". Or the masks
        are JPEG files or have soft edges, and hold too many values to be classes.

    Examples
    --------
    >>> labels_of_values({0: "a.png", 255: "a.png"}, ignore=None).classes
    ('background', 'foreground')
    >>> labels_of_values({0: "a.png", 2: "b.png"}, ignore=None).classes
    ('0', '1', '2')
    """
    values = set(seen) - {ignore}
    smeared = sorted(value for value in values if is_jpeg(seen[value]))
    if smeared_by_jpeg(set(smeared), values):
        raise SourceError(
            f"{seen[smeared[0]]}: needed masks of class ids, found JPEG masks of "
            f"{len(values)} values; {JPEG_HINT}; or, {of_two_classes(255)}"
            f"{look_up('jpeg-masks')}"
        )
    top = max(seen, default=0)
    if has_soft_edges(pixels or {}):
        raise SourceError(
            f"{seen[top]}: needed masks of class ids, found 0, {top} and {len(seen) - 2} values "
            f"between, as soft edges have; {of_two_classes(top)}, or name all classes with "
            "--classes"
            f"{look_up('mask-255')}"
        )
    if seen.keys() == {0, TOPS[1]} and ignore is None:
        raise SourceError(
            f"{seen[top]}: found the mask values 0 and {top}; use --mask-map {top}=1 if these are "
            f"two classes, or --ignore {top} if it marks unlabelled pixels"
            f"{look_up('mask-255')}"
        )
    if ignore is None and 255 in values and top == 255:  # beyond, it is an id like others
        if values <= {0, 255}:
            return Labels(("background", "foreground"), None, binary=True)
        raise SourceError(
            f"{seen[255]}: found the mask value 255 among {len(values) - 1} others; use "
            f"--ignore 255 if it marks unlabelled pixels; {of_two_classes(255)}; else name the "
            "classes with --classes"
            f"{look_up('mask-255')}"
        )
    count = max(values, default=0) + 1
    return Labels(tuple(str(number) for number in range(count)), ignore)
