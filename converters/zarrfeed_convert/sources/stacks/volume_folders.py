"""Which files of two folders are volumes, and which are their labels?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from zarrfeed_convert.source import IMAGES_ONLY, PAIR
from zarrfeed_convert.sources.class_files import classes_of_nnunet
from zarrfeed_convert.sources.file_discovery import fixed_part, list_stacks
from zarrfeed_convert.sources.file_pairs import pair_stacks
from zarrfeed_convert.sources.name_differences import remarks_on_names
from zarrfeed_convert.sources.option_checks import masks_given
from zarrfeed_convert.sources.stacks.volume_cases import VolumeCases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.sources.stacks.nifti_file import VolumeFiles
    from zarrfeed_convert.sources.stacks.volume_pairs import Cut
    from zarrfeed_convert.sources.value_options import ValueOptions


class VolumeFolders(VolumeCases):
    """Volumes in folders, whose labels have the same names, or alone.

    Attributes
    ----------
    kind
        Name of the format.
    extensions
        Those of its files.
    classes, ignore
        Those of a ``dataset.json`` (nnU-Net, Decathlon) in the folder of masks or beside it; None
        if there is no such file, or a mask map.
    """

    kind: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]]

    def _open_folders(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str],
        *,
        suffixes: tuple[str, str],
        cut: Cut,
        options: ValueOptions,
        skip_empty: bool,
        limits: Limits,
        files_of: Callable[[Sequence[str]], VolumeFiles],
    ) -> None:
        """Pair the files by their names, and list their samples.

        Parameters
        ----------
        images, masks, skip_empty
            As users give them.
        suffixes
            Of the names of images, and of masks, as users give them.
        cut, options, limits
            As in :meth:`VolumeCases._open`.
        files_of
            Function that returns how files, by their paths, are read.

        Raises
        ------
        SourceError
            There is no sample.
        """
        where = os.fspath(masks)
        image_suffix, mask_suffix = suffixes
        labelled = masks_given(
            where, mask_suffix=mask_suffix, mask_map=str(options.mask_map), skip_empty=skip_empty
        )
        self.fields = PAIR if labelled else IMAGES_ONLY
        named = _named(Path(where)) if labelled and not str(options.mask_map) else None
        self.classes: tuple[str, ...] | None = named.classes if named else None
        self.ignore: int | None = named.ignore if named else None
        found = pair_stacks(
            list_stacks(os.fspath(images), what="images", extensions=self.extensions),
            list_stacks(where, what="masks", extensions=self.extensions) if labelled else None,
            image_suffixes=image_suffix.split(","),
            mask_suffix=mask_suffix,
        )
        self._left_aside = found.left_aside
        self.remarks = remarks_on_names(found.partners, os.fspath(images), where)
        files = files_of([path for pair in found.pairs for path in pair.files])
        self._open(found, files, cut, options, skip_empty=skip_empty, limits=limits)

    def describe(self) -> JSON:
        """Return the location and the options of the volumes, as JSON."""
        images, masks = self._left_aside
        return {
            "kind": self.kind,
            **self.arguments,
            **self._options.describe(),
            "facts": {**self._facts(), "left_aside": {"images": images, "masks": masks}},
        }


def _named(masks: Path) -> Labels | None:
    """Read the classes from the ``dataset.json`` of a dataset."""
    folder = masks if masks.is_dir() else Path(fixed_part(str(masks)))
    named = (classes_of_nnunet(where / "dataset.json") for where in (folder, folder.parent))
    return next(filter(None, named), None)
