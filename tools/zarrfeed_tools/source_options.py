"""Options on which images and masks to read, shared by several commands.

Each option is an annotated type, which ``typer`` reads from a command's signature.
:class:`SourceArguments` opens the source that their values describe.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from zarrfeed.errors import printable
from zarrfeed_convert import (
    Limits,
    OptionError,
    choose_format,
    fields_of_text,
    open_source,
    options_of_text,
    parameters_of,
)
from zarrfeed_tools.quantities import parse_bytes
from zarrfeed_tools.terminal import console, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert import Source

DEFAULT_FORMAT = "paired"

MASK_MAP_HELP = (
    "Class ids of mask values. A value is an integer, '#RRGGBB', a range, nan, or '*' for "
    "everything else: 255=1, '#FF0000=1,*=0', '128..255=1,*=0' or -1=255. Use one-hot=0 for masks "
    "with one channel per class, 'one-hot=1,*=0' if the background has no channel, multi-hot to "
    "keep the channels (0 and 1, or 0 and 255) if a pixel may have several classes or none, and "
    "alpha for masks in the alpha channel, such as alpha,255=1."
)
FIELD_HELP = (
    "A further field of every sample, such as depth=target:data/depth: a depth map, weights, a "
    "second image, instance ids. NAME is the name of its array. ROLE is image (read and resized "
    "like images), mask (class ids, read like masks) or target (any numbers, kept as they are). "
    "PLACE is a path or glob, as for --images; in tables, records and tars, the name of a column, "
    "feature or extension. Repeat the option for several fields; zarrfeed formats shows which "
    "formats accept it."
)
COLOR_HELP = "Channels of stored images. auto: the channels that the images have."


class Color(StrEnum):
    """The channels of stored images."""

    AUTO = "auto"
    GREY = "grey"
    RGB = "rgb"
    RGBA = "rgba"


class As(StrEnum):
    """What a sample of a volume is."""

    SLICES = "slices"
    VOLUMES = "volumes"


class Instances(StrEnum):
    """What the masks of formats with instances are."""

    SEMANTIC = "semantic"
    KEEP = "keep"
    BOUNDARY = "boundary"


class Agreement(StrEnum):
    """What to do with labels that are not where their image is."""

    STRICT = "strict"
    WARN = "warn"


From: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="DIR",
        help="The folder of a dataset, instead of --images and --masks: looks for the images and "
        "masks of the split in it, says which format it takes it for and why, and asks for "
        "--format where two fit.",
        show_default=False,
    ),
]
Images: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="PATH_OR_GLOB",
        help="The images: a folder, which is searched recursively, a file, or a glob. Other "
        "formats may expect something else; see zarrfeed formats NAME.",
        show_default=False,
    ),
]
Masks: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--masks",
        metavar="PATH_OR_GLOB",
        help="The masks, each named like its image. Other formats may expect something else. "
        "Without masks, or with --masks none, only images are packed, for predict.",
    ),
]
Fields: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="NAME=ROLE:PLACE", help=FIELD_HELP, show_default=False),
]
FormatName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Format of the data, such as coco, nifti, hdf5 or tfrecord. zarrfeed formats lists "
        "all formats; zarrfeed formats NAME explains one. By default that of the folder --from, "
        "else paired: image files.",
        show_default=False,
    ),
]
FormatOptions: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="NAME=VALUE",
        help="An option of the format. Repeat it to set several; zarrfeed formats NAME lists them.",
        show_default=False,
    ),
]
ImageSuffix: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--image-suffix",
        metavar="S",
        help="Suffix of image names after the part that they share with the mask's name.",
        show_default=False,
    ),
]
MaskSuffix: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--mask-suffix",
        metavar="S",
        help="Suffix of mask names after the part that they share with the image's name, such as "
        "_mask.",
        show_default=False,
    ),
]
ColorOption: TypeAlias = Annotated[Color, typer.Option("--color", help=COLOR_HELP)]
MaskMapOption: TypeAlias = Annotated[
    str, typer.Option("--mask-map", metavar="VALUE=ID,…", help=MASK_MAP_HELP, show_default=False)
]
AsOption: TypeAlias = Annotated[
    As | None,
    typer.Option(
        "--as",
        help="What a sample is, where a format has volumes: each slice, or the volume. By default "
        "volumes with --tile DxHxW or auto and with --size DxHxW, slices with --tile or --size "
        "HxW; else what zarrfeed formats NAME says.",
        show_default=False,
    ),
]
AgreementOption: TypeAlias = Annotated[
    Agreement | None,
    typer.Option(
        "--geometry",
        help="What to do with volumes whose labels, or channels, are elsewhere: a corner more than "
        "0.1 voxels away, or a spacing that differs by more than 1 %. strict: refuse them. "
        "warn: pair voxels by their index, and report it. Their shapes must agree in any case. By "
        "default strict.",
        show_default=False,
    ),
]
InstancesOption: TypeAlias = Annotated[
    Instances | None,
    typer.Option(
        "--instances",
        help="What masks are, where a format has instances, such as coco. semantic: class ids. "
        "keep: numbers of instances, without classes. boundary: class ids, and a field weight that "
        "is larger between instances that touch, as in the U-Net paper, for ZarrSequence(…, "
        'weights="weight"). By default semantic.',
        show_default=False,
    ),
]
MaxSampleSize: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--max-sample-size",
        metavar="SIZE",
        help="Largest decoded size of one image, mask or chunk, such as 8GiB. Files that claim "
        "more are refused. By default an eighth of the machine's memory, at most 3 GiB.",
        show_default=False,
    ),
]
AllowExternal: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-external",
        help="Also read files outside of the dataset to which it refers by links or virtual arrays "
        "of HDF5, or by paths in tables and metadata. Only use it for data that you trust.",
    ),
]

READ_TIMEOUT_S = 120.0
ReadTimeout: TypeAlias = Annotated[
    float,
    typer.Option(
        "--read-timeout",
        metavar="SECONDS",
        min=0.1,
        help="Timeout for reading one file, plus one second per MiB for large files.",
    ),
]

# Options of the command line that set arguments of formats.
FLAGS: Mapping[str, str] = {
    "images": "--images",
    "masks": "--masks",
    "fields": "--field",
    "color": "--color",
    "mask_map": "--mask-map",
    "image_suffix": "--image-suffix",
    "mask_suffix": "--mask-suffix",
    "as_": "--as",
    "geometry": "--geometry",
    "instances": "--instances",
}


@dataclass(frozen=True, slots=True)
class SourceArguments:
    """The arguments of a command that describe its source.

    Attributes
    ----------
    images, masks, fields, format_name, options, image_suffix, mask_suffix, color, mask_map, as_,
    geometry, instances
        The values of the options above; None if an option is not given.
    from_
        The folder in which images and masks are found; then `images` is None.
    stored_sizes
        The values of the options that say how large stored tiles or samples are, for `as_`; see
        :func:`arrangement`.
    split
        Name of the split to pack. If the format has subsets, the subset of this name is read unless
        another one is given, so that validation data cannot silently become training data.
    limits
        Limits of the sizes that files may claim, and of the files to which they may refer.
    """

    images: str | None
    masks: str | None
    from_: str | None = None
    fields: Sequence[str] | None = None
    format_name: str | None = None
    options: Sequence[str] | None = None
    image_suffix: str | None = None
    mask_suffix: str | None = None
    color: str = Color.AUTO.value
    mask_map: str = ""
    as_: str | None = None
    geometry: str | None = None
    instances: str | None = None
    stored_sizes: Sequence[str | None] = ()
    split: str | None = None
    limits: Limits | None = None

    def open(self) -> Source:
        """Open the source.

        Raises
        ------
        typer.BadParameter
            There is no such format, it has no such option, or it needs one that is not given.
        SourceError
            The data cannot be packed, or need a package that is not installed.
        """
        try:
            if self.from_ is None:
                return self._opened(self.format_name or DEFAULT_FORMAT, {})
            if self.images is not None:
                raise typer.BadParameter("use either this or --from", param_hint="--images")
            found = choose_format(self.from_, self.split or "", self.format_name)
            why = f"taken for {found.format}, because {shown(found.reason)}"
            console(stderr=True).print(f"--from {shown(self.from_)}: {why}", soft_wrap=True)
            return self._opened(found.format, found.arguments)
        except OptionError as error:
            raise typer.BadParameter(str(error)) from error

    def _opened(self, format_name: str, found: Mapping[str, str]) -> Source:
        return open_source(
            format_name, {**found, **self._arguments(format_name)}, limits=self.limits
        )

    def _arguments(self, format_name: str) -> dict[str, Any]:
        """Return the arguments for the format's class: those that were given."""
        options = options_of_text(self.options or ())
        for option in options:
            flag = FLAGS.get(option) or FLAGS.get(f"{option}_")  # as is a keyword of Python
            if flag:
                raise typer.BadParameter(f"use {flag}", param_hint=f"-o {option}")
        suffixes = {"image_suffix": self.image_suffix, "mask_suffix": self.mask_suffix}
        said = {
            "images": self.images,
            "masks": self.masks,
            "fields": fields_of_text(self.fields or ()) or None,
            "color": None if self.color == Color.AUTO else self.color,
            "mask_map": self.mask_map or None,
            "as_": self.as_,
            "geometry": self.geometry,
            "instances": self.instances,
            **suffixes,
        }
        known = parameters_of(format_name)
        if self.as_ is None and "as_" in known:
            by_format = known["as_"].default != As.SLICES  # it knows what its samples are
            said["as_"] = arrangement(*self.stored_sizes, auto=None if by_format else "volumes")
        for option, value in suffixes.items():
            if value is not None and option not in known:
                raise typer.BadParameter(
                    f"the format {format_name} has no such option; zarrfeed formats "
                    f"{format_name} lists those it has",
                    param_hint=FLAGS[option],
                )
        if self.split is not None and "subset" in known:
            options.setdefault("subset", self.split)
        return {name: value for name, value in said.items() if value is not None} | options


def arrangement(*sizes: str | None, auto: str | None = "volumes") -> str | None:
    """Return what a sample of a volume is, by the size that tiles or samples shall have.

    Parameters
    ----------
    *sizes
        Values of ``--tile`` and ``--size``, of which the first that is given decides.
    auto
        The result if this is ``auto``.

    Returns
    -------
    str or None
        None if there is no size: the format decides.

    Examples
    --------
    >>> print(arrangement("64x64x64", None), arrangement("auto", None), arrangement(None, "64x64"))
    volumes volumes slices
    """
    size = next((size.lower() for size in sizes if size), None)
    if size is None:
        return None
    if size == "auto":
        return auto
    return "volumes" if len(re.split("[x×]", size)) == 3 else "slices"


def limits_of(max_sample_size: str | None, *, allow_external: bool) -> Limits:
    """Return the limits that two options set.

    Raises
    ------
    typer.BadParameter
        `max_sample_size` is not a size.
    """
    if max_sample_size is None:
        return Limits(external=allow_external)
    return Limits(parse_bytes(max_sample_size, option="--max-sample-size"), allow_external)


def require_no_more(extra: Sequence[str], *, argument: str, **paths: str | None) -> None:
    """Refuse extra arguments, which usually come from a glob that the shell has expanded.

    Parameters
    ----------
    extra
        The rest of the command line.
    argument
        The only argument of the command.
    **paths
        Values of options that accept globs.

    Raises
    ------
    typer.BadParameter
        There are extra arguments.
    """
    if not extra:
        return
    some = f"{len(extra)} extra argument{'s' if len(extra) > 1 else ''}"
    count = printable(f"got {some}, such as {extra[0]}")
    for option, value in paths.items():
        if value is not None and Path(value).is_file():
            glob = printable(str(Path(value).with_name(f"*{Path(value).suffix}")))
            raise typer.BadParameter(
                f"{count}: the shell has expanded a glob; put it in quotes: --{option} '{glob}'",
                param_hint=f"--{option}",
            )
    raise typer.BadParameter(f"{count}; the only argument is {argument}", param_hint=argument)
