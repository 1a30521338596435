"""What have the cases of nnU-Net and of the Decathlon in common?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from zarrfeed_convert.source import IMAGES_ONLY, PAIR
from zarrfeed_convert.sources.option_checks import NO_MASKS, masks_given, require_no_masks
from zarrfeed_convert.sources.stacks.volume_cases import VolumeCases
from zarrfeed_convert.sources.stacks.volume_pairs import Cut
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.volume_options import WARN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.sources.described_datasets.dataset_json import DatasetJson, LabelNames
    from zarrfeed_convert.sources.file_pairs import Pairing
    from zarrfeed_convert.sources.stacks.nifti_file import VolumeFiles

_MOST_REGIONS = 3  # named in a remark


class DatasetJsonSource(VolumeCases):
    """Cases whose channels and classes are in a ``dataset.json``.

    A subclass has a `kind`, as ``--format`` takes it.
    """

    kind: ClassVar[str]

    def _set_options(
        self,
        names: LabelNames,
        masks: str,
        color: Color,
        mask_map: str | MaskMap,
        *,
        skip_empty: bool,
        test: bool,
    ) -> bool:
        """Take over what the options and the JSON say of labels; return whether there are any.

        Raises
        ------
        SourceError
            Masks are given by a path, or there are options for masks but none.
        """
        options = {"mask_map": mask_map, "skip_empty": skip_empty}
        if masks != NO_MASKS:
            require_no_masks(masks, "--images")
            masks = NO_MASKS if test else "dataset.json"
        labelled = masks_given(masks, **options)
        self.fields = PAIR if labelled else IMAGES_ONLY
        self._options = ValueOptions.of(color, mask_map)
        self._regions = names.regions if labelled else {}
        named = labelled and not str(self._options.mask_map)
        self.classes: tuple[str, ...] | None = names.labels.classes if named else None
        self.ignore: int | None = names.labels.ignore if named else None
        self.classes_from = "dataset.json" if named else ""
        if self._regions:
            some = list(self._regions.items())[:_MOST_REGIONS]
            said = "; ".join(f"{name} = {', '.join(map(str, ids))}" for name, ids in some)
            more = len(self._regions) - len(some)
            why = f"masks keep the ids of the files, of which regions are unions: {said}" + (
                f" and {more} more" if more else ""
            )
            self.remarks = (*self.remarks, ("regions", f"{len(self._regions)} kept as ids", why))
        return labelled

    def _require_count(self, dataset: DatasetJson, name: str, found: int) -> None:
        """Note that there are not as many cases as the JSON says."""
        said = dataset.count(name)
        if said is not None and said != found:
            why = f"needed {said} cases, as {name} says, found {found}; restore or correct them"
            self.left_out = [*self.left_out, (str(dataset.path), why)]

    def _open_cases(
        self,
        found: Pairing,
        files: VolumeFiles,
        axis: int | None,
        *,
        channels: Sequence[str],
        geometry: str,
        skip_empty: bool,
        limits: Limits,
        images: bool = False,
    ) -> None:
        """List the samples; see :meth:`VolumeCases._open`."""
        self._channel_names = tuple(channels)
        cut = Cut(
            axis,
            warn=geometry == WARN,
            one_hot=self._options.mask_map.by_channel,
            images=images,
        )
        self._open(
            found,
            files,
            cut,
            self._options,
            channels=channels,
            skip_empty=skip_empty,
            limits=limits,
        )

    def describe(self) -> JSON:
        """Return the location and the options of the dataset, as JSON."""
        regions = {name: list(ids) for name, ids in self._regions.items()}
        return {
            "kind": self.kind,
            **self.arguments,
            **self._options.describe(),
            "facts": {
                **self._facts(),
                "channels": list(self._channel_names),
                **({"regions": regions} if regions else {}),
            },
        }
