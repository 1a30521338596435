"""How is a command told what images and masks it is to read?

A command takes the options below by their types, and opens what they say by :class:`Asked`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from zarrfeed.errors import printable
from zarrfeed_convert import (
    Limits,
    OptionError,
    fields_of_text,
    open_source,
    options_of_text,
    parameters_of,
)
from zarrfeed_tools.quantities import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert import Source

DEFAULT_FORMAT = "paired"

MASK_MAP_HELP = (
    "What mask values mean: an integer, '#RRGGBB', a range, nan, or '*' for everything else, "
    "like 255=1, '#FF0000=1,*=0', '128..255=1,*=0' or -1=255; one-hot=0 for masks with a channel "
    "per class, 'one-hot=1,*=0' where the background has none; alpha for masks that are drawn in "
    "the alpha channel, like alpha,255=1."
)
FIELD_HELP = (
    "A further field of every sample, like depth=target:data/depth: a depth map, weights, a second "
    "image, instance ids. NAME is its array's. ROLE is image (read and resized as the images are), "
    "mask (ids, read as masks are) or target (any numbers, kept as they are). PLACE is what "
    "--images takes. May be given several times; zarrfeed formats says which formats take it."
)
COLOR_HELP = "Channels of stored images; auto keeps what the images have."


class Color(StrEnum):
    """The channels of stored images."""

    AUTO = "auto"
    GREY = "grey"
    RGB = "rgb"
    RGBA = "rgba"


Images: TypeAlias = Annotated[
    str,
    typer.Option(
        "--images",
        metavar="PATH_OR_GLOB",
        help="The images: a folder, searched with all below it, a file, a glob, or what else the "
        "format says.",
    ),
]
Masks: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--masks",
        metavar="PATH_OR_GLOB",
        help="The masks, each named like its image; or what else the format says. Where there are "
        "none, and with --masks none, images are packed alone, for predict.",
    ),
]
Fields: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="NAME=ROLE:PLACE", help=FIELD_HELP, show_default=False),
]
FormatName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="NAME",
        help="What the data come as: coco, nifti, hdf5, tfrecord, … zarrfeed formats lists all, "
        "zarrfeed formats NAME explains one.",
    ),
]
FormatOptions: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="NAME=VALUE",
        help="An option of the format; may be given several times.",
        show_default=False,
    ),
]
ImageSuffix: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--image-suffix",
        metavar="S",
        help="What image names have after the name shared with the mask.",
        show_default=False,
    ),
]
MaskSuffix: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--mask-suffix",
        metavar="S",
        help="What mask names have after the name shared with the image, like _mask.",
        show_default=False,
    ),
]
ColorOption: TypeAlias = Annotated[Color, typer.Option("--color", help=COLOR_HELP)]
MaskMapOption: TypeAlias = Annotated[
    str, typer.Option("--mask-map", metavar="VALUE=ID,…", help=MASK_MAP_HELP, show_default=False)
]
MaxSampleSize: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--max-sample-size",
        metavar="SIZE",
        help="Most that a file may claim for one image, mask or chunk, decoded, like 8GiB; by "
        "default an eighth of the machine's memory, 3 GiB at most.",
        show_default=False,
    ),
]
AllowExternal: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-external",
        help="Follow what leads out of the dataset: links and virtual arrays of HDF5, paths in "
        "tables and metadata.",
    ),
]

READ_TIMEOUT_S = 120.0
ReadTimeout: TypeAlias = Annotated[
    float,
    typer.Option(
        "--read-timeout",
        metavar="SECONDS",
        min=0.1,
        help="A file whose reading does not end within so long (of large ones, a second more for "
        "every MiB) has failed.",
    ),
]

# Arguments of formats that the command line has options of its own for.
FLAGS: Mapping[str, str] = {
    "images": "--images",
    "masks": "--masks",
    "fields": "--field",
    "color": "--color",
    "mask_map": "--mask-map",
    "image_suffix": "--image-suffix",
    "mask_suffix": "--mask-suffix",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command is told of its images and masks.

    Attributes
    ----------
    images, masks, fields, format_name, options, image_suffix, mask_suffix, color, mask_map
        The values of the options above; None where one is not given.
    split
        That is packed: of formats that have subsets, it is the one of this name, unless another is
        asked for. Else validation data would silently be training data.
    limits
        What files may claim, and name besides themselves.
    """

    images: str
    masks: str | None
    fields: Sequence[str] | None = None
    format_name: str = DEFAULT_FORMAT
    options: Sequence[str] | None = None
    image_suffix: str | None = None
    mask_suffix: str | None = None
    color: str = Color.AUTO.value
    mask_map: str = ""
    split: str | None = None
    limits: Limits | None = None

    def open(self) -> Source:
        """Open the source.

        Raises
        ------
        typer.BadParameter
            There is no such format, it has no such option, or it needs one that is not given.
        SourceError
            The data cannot be packed, or a package that they need is not there.
        """
        try:
            return open_source(self.format_name, self._arguments(), limits=self.limits)
        except OptionError as error:
            raise typer.BadParameter(str(error)) from error

    def _arguments(self) -> dict[str, Any]:
        """Gather what the format's class is given: what was said, and no more."""
        options = options_of_text(self.options or ())
        for option in options:
            if option in FLAGS:
                raise typer.BadParameter(f"use {FLAGS[option]}", param_hint=f"-o {option}")
        suffixes = {"image_suffix": self.image_suffix, "mask_suffix": self.mask_suffix}
        said = {
            "images": self.images,
            "masks": self.masks,
            "fields": fields_of_text(self.fields or ()) or None,
            "color": None if self.color == Color.AUTO else self.color,
            "mask_map": self.mask_map or None,
            **suffixes,
        }
        known = parameters_of(self.format_name)
        for option, value in suffixes.items():
            if value is not None and option not in known:
                raise typer.BadParameter(
                    f"the format {self.format_name} has no such option; zarrfeed formats "
                    f"{self.format_name} lists those it has",
                    param_hint=FLAGS[option],
                )
        if self.split is not None and "subset" in known:
            options.setdefault("subset", self.split)
        return {name: value for name, value in said.items() if value is not None} | options


def limits_of(max_sample_size: str | None, *, allow_external: bool) -> Limits:
    """Read the two options that say what files may do.

    Raises
    ------
    typer.BadParameter
        The size is none.
    """
    if max_sample_size is None:
        return Limits(external=allow_external)
    return Limits(parse_bytes(max_sample_size, option="--max-sample-size"), allow_external)


def require_no_more(extra: Sequence[str], *, argument: str, **paths: str | None) -> None:
    """Refuse extra arguments: mostly, they are what a shell made of a glob.

    Parameters
    ----------
    extra
        What is left of the command line.
    argument
        The only argument that the command has.
    **paths
        The values of options that take globs.

    Raises
    ------
    typer.BadParameter
        There are any.
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
