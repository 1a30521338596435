"""Options on which images and masks to read, shared by several commands.

Each option is an annotated type, which ``typer`` reads from a command's signature.
:class:`~zarrfeed_tools.source_arguments.SourceArguments` opens the source that their values
describe.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        'inputs="image", targets="mask", weights="weight"). By default semantic.',
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
