"""The command ``zarrfeed convert``."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (typer needs it at run time)
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from zarrfeed_convert import (
    Report,
    convert,
    copy,
    open_source,
    options_of_text,
    require_target,
    set_read_timeout,
)
from zarrfeed_tools.copy_command import show_copies
from zarrfeed_tools.pack_options import (
    AsJson,
    ChunkSamples,
    Codec,
    CodecOption,
    DryRun,
    Engine,
    EngineOption,
    OnError,
    OnErrorOption,
    Overwrite,
    Restart,
    Scheduler,
    Seed,
    ShardSize,
    Workers,
    scheduler_of,
)
from zarrfeed_tools.progress import report_interrupts, show_progress
from zarrfeed_tools.quantities import parse_bytes, parse_size, parse_spacing, parse_tile
from zarrfeed_tools.remote_options import (
    Cache,
    RemoteOptions,
    StorageOptions,
    storage_options_of,
)
from zarrfeed_tools.source_arguments import SourceArguments, limits_of, require_no_more
from zarrfeed_tools.source_options import (
    READ_TIMEOUT_S,
    AgreementOption,
    AllowExternal,
    AsOption,
    Color,
    ColorOption,
    Fields,
    FormatName,
    FormatOptions,
    From,
    Images,
    ImageSuffix,
    InstancesOption,
    MaskMapOption,
    Masks,
    MaskSuffix,
    MaxSampleSize,
    ReadTimeout,
)
from zarrfeed_tools.summary import show_report
from zarrfeed_tools.terminal import console

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from zarrfeed_convert import OnProgress

# Not a docstring, because Python would escape \b, by which click keeps the lines of a paragraph.
_HELP = """Pack images and masks into one split of a dataset.

Images and masks are paired by their names. Test sets need no --masks. --from DIR looks for them, \
and for other formats, in the folder of a dataset; or use --format. The run stops at the first \
invalid input and names the file; --on-error skip leaves such inputs out instead. To continue an \
interrupted run, repeat the command.

[bold]Examples[/] (globs must be quoted, or the shell expands them)

\b
zarrfeed convert cells.zarr --split train \\
  --images cells/images --masks cells/masks

\b
zarrfeed convert camvid.zarr --split train --from camvid

\b
zarrfeed convert city.zarr --split val \\
  --images 'city/val/**/*.png' \\
  --masks city/labels --mask-suffix _labelIds \\
  --classes classes.txt --ignore 255 \\
  --size 512x1024 --fit resize

\b
zarrfeed convert street.zarr --split train \\
  --images street/rgb --field depth=target:street/depth

\b
zarrfeed convert ct.zarr --split train --format nifti \\
  --as volumes --images imagesTr --masks labelsTr \\
  --orient RAS --spacing 1.5,1,1 --tile auto

\b
zarrfeed convert scenes.zarr --split train \\
  --format parquet --images 'data/train-*.parquet' \\
  --option mask=label

\b
zarrfeed convert cells.zarr --split train \\
  --images s3://raw/cells/images --masks s3://raw/cells/masks \\
  --upload s3://datasets/cells.zarr
"""


_Fit: TypeAlias = Literal["resize", "crop", "pad"]
_FITS: tuple[_Fit, ...] = ("resize", "crop", "pad")


class _Order(StrEnum):
    SHUFFLED = "shuffled"
    SOURCE = "source"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("convert", help=_HELP, context_settings={"allow_extra_args": True})(_command)


def _command(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT.zarr", help="The dataset; created if it does not exist."),
    ],
    split: Annotated[
        str,
        typer.Option(
            help="Name of the split to pack, such as train or val. Run the command once per split."
        ),
    ],
    images: Images = None,
    masks: Masks = None,
    from_: From = None,
    fields: Fields = None,
    format_name: FormatName = None,
    options: FormatOptions = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE_OR_LIST",
            help="Class names in the order of their ids: a,b,c, a file with one name per line, or "
            "the number of classes. By default the classes are counted, which reads every mask "
            "once.",
        ),
    ] = None,
    ignore: Annotated[
        int | None,
        typer.Option(metavar="ID", help="The mask value of pixels that belong to no class."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Height and width of every stored sample; DxHxW for volumes.",
        ),
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            metavar="[resize|crop|pad]",
            help="What to do with samples of another size. resize: interpolate images bilinearly "
            "with antialiasing, masks by nearest neighbour. crop: cut out the centre. pad: fill up "
            "at the far end of each axis.",
        ),
    ] = None,
    overlap: Annotated[str | None, typer.Option(hidden=True)] = None,
    pad_value: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Value of padded pixels of images, such as -1024 for CT. By default 0. Padded "
            "pixels of masks get the --ignore id.",
            show_default=False,
        ),
    ] = None,
    tile: Annotated[
        str | None,
        typer.Option(
            metavar="HxW|auto",
            help="For images or volumes of any size: cut each of them by a grid into tiles of this "
            "size; DxHxW for volumes. auto chooses it by the sizes of the images or volumes. "
            "zarrfeed.open_case puts them together again.",
        ),
    ] = None,
    orient: Annotated[
        str | None,
        typer.Option(
            metavar="RAS|LPS|…|keep",
            help="Turn volumes so that their x, y and z axes point to these directions. RAS: to "
            "the right, the anterior and the superior, as in nibabel; LPS: as in DICOM. Needs a "
            "format that says where voxels are, such as nifti or dicom. By default, volumes are "
            "kept as they are.",
            show_default=False,
        ),
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option(
            metavar="D,H,W|median|keep",
            help="Resample volumes, once they are turned, to this distance of voxels in mm, along "
            "the axes as stored: 1.5,1,1 has slices 1.5 mm apart. Images are interpolated "
            "linearly, masks take the nearest voxel. median: that of the dataset's other splits, "
            "else of these volumes. By default, spacings are kept.",
            show_default=False,
        ),
    ] = None,
    mask_map: MaskMapOption = "",
    as_: AsOption = None,
    geometry: AgreementOption = None,
    instances: InstancesOption = None,
    codec: CodecOption = Codec.AUTO,
    chunk_samples: ChunkSamples = None,
    shard_size: ShardSize = None,
    order: Annotated[
        _Order,
        typer.Option(
            help="Order of the stored samples. shuffled: by --seed, so that reading in storage "
            "order is random, too; tiles of an image or volume stay together. source: sorted by "
            "name."
        ),
    ] = _Order.SHUFFLED,
    seed: Seed = 0,
    workers: Workers = None,
    engine: EngineOption = Engine.LOCAL,
    scheduler: Scheduler = None,
    on_error: OnErrorOption = OnError.STOP,
    read_timeout: ReadTimeout = READ_TIMEOUT_S,
    overwrite: Overwrite = False,
    restart: Restart = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    image_suffix: ImageSuffix = None,
    mask_suffix: MaskSuffix = None,
    color: ColorOption = Color.AUTO,
    max_sample_size: MaxSampleSize = None,
    allow_external: AllowExternal = False,
    upload: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Copy the split to this dataset of an object store once it is packed, such as "
            "s3://bucket/cells.zarr, as zarrfeed copy does. The local split stays.",
            show_default=False,
        ),
    ] = None,
    cache: Cache = None,
    storage_options: StorageOptions = None,
) -> None:
    """Pack images and masks into one split of a dataset."""
    require_no_more(context.args, argument="OUT.zarr", images=images, masks=masks)
    fit_chosen = _fit(fit, size=size, tile=tile, overlap=overlap)
    if fit is not None and size is None:
        raise typer.BadParameter("needs --size HxW, or DxHxW for volumes", param_hint="--fit")
    if tile is not None and (size is not None or fit is not None):
        raise typer.BadParameter("keeps all sizes: leave out --size and --fit", param_hint="--tile")
    if pad_value is not None and fit != "pad" and tile is None:
        raise typer.BadParameter("needs --tile or --fit pad", param_hint="--pad-value")
    remote = RemoteOptions(cache, storage_options_of(storage_options))
    distances = _spacing(spacing)  # before files are opened, which may take minutes
    limits = limits_of(max_sample_size, allow_external=allow_external)
    set_read_timeout(read_timeout)
    if images is None and from_ is None:
        raise typer.BadParameter("needs this, or --from DIR", param_hint="--images")
    arguments = SourceArguments(
        images,
        masks,
        from_=from_,
        fields=fields,
        format_name=format_name,
        options=options,
        image_suffix=image_suffix,
        mask_suffix=mask_suffix,
        color=color.value,
        mask_map=mask_map,
        as_=None if as_ is None else as_.value,
        geometry=None if geometry is None else geometry.value,
        instances=None if instances is None else instances.value,
        stored_sizes=(tile, size),
        split=split,
        limits=limits,
    )
    if upload is not None:
        require_target(upload, split, storage_options=remote.storage_options)
    with report_interrupts(), show_progress("MiB") as follow:
        arguments = remote.fetched(arguments, follow)
    source = arguments.open()
    with report_interrupts(), _progress(tile) as follow:
        report = convert(
            source,
            out,
            split=split,
            classes=classes,
            ignore=ignore,
            size=None if size is None else parse_size(size),
            fit=fit_chosen,
            pad_value=pad_value,
            tile=parse_tile(tile),
            orient=orient,
            spacing=distances,
            codec=codec.value,
            chunk_samples=chunk_samples,
            shard_size=None
            if shard_size is None
            else parse_bytes(shard_size, option="--shard-size"),
            order=order.value,
            seed=seed,
            workers=workers,
            scheduler=scheduler_of(engine, scheduler, workers),
            on_error=on_error.value,
            read_timeout=read_timeout,
            overwrite=overwrite,
            restart=restart,
            dry_run=dry_run,
            progress=follow,
            limits=limits,
        )
    copies = None
    if upload is not None and not dry_run:
        with report_interrupts(), show_progress("MiB") as follow:
            copies = copy(
                out / split,
                upload,
                storage_options=remote.storage_options,
                overwrite=overwrite,
                progress=follow,
            )
    if as_json:
        uploaded = {} if copies is None else {"upload": copies.to_json()}
        typer.echo(json.dumps({**report.to_json(), **uploaded}))
        return
    show_report(report, console())
    if copies is not None:
        show_copies(copies)


def _progress(tile: str | None) -> AbstractContextManager[OnProgress]:
    """Show progress in the words of the report: cases are packed as tiles."""
    if tile is None:
        return show_progress()
    return show_progress("cases", by_step={"packing": "tiles", "resuming": "tiles"})


def _spacing(text: str | None) -> tuple[float, ...] | Literal["median"] | None:
    """Read a spacing: three numbers, or a word."""
    if text is None or text == "keep":
        return None
    return "median" if text == "median" else parse_spacing(text)


def _fit(
    text: str | None, *, size: str | None, tile: str | None, overlap: str | None
) -> _Fit | None:
    """Return the fit; tiles of earlier versions are an error that says how tiles are made now."""
    for fit in _FITS:
        if text == fit and overlap is None:
            return fit
    choices = ", ".join(map(repr, _FITS))
    if text == "tile":
        shape = size or "HxW, or DxHxW for volumes,"
        advice = f"use --tile {shape} without --size and --fit, which keeps all sizes"
        raise typer.BadParameter(f"needs {choices}, found 'tile'; {advice}", param_hint="--fit")
    if overlap is not None:
        shape = tile or size or "HxW, or DxHxW for volumes,"
        advice = f"use --tile {shape} without it; its tiles do not overlap"
        raise typer.BadParameter(f"found {overlap}; {advice}", param_hint="--overlap")
    if text is not None:
        raise typer.BadParameter(f"{text!r} is not one of {choices}", param_hint="--fit")
    return None


def convert_folders(
    out: Path,
    *,
    split: str,
    images: str,
    masks: str,
    classes: str | None = None,
    tile: str | None = None,
    option: str | None = None,
    quiet: bool = False,
) -> Report:
    """Run a conversion from another command, with its progress and summary.

    Parameters
    ----------
    out, split, images, masks, classes, tile
        Options of ``zarrfeed convert``. The others have their defaults.
    option
        ``NAME=VALUE``: an option of the format.
    quiet
        Whether to leave the summary out.
    """
    options = options_of_text([] if option is None else [option])
    with report_interrupts(), _progress(tile) as follow:
        report = convert(
            open_source("paired", {"images": images, "masks": masks, **options}),
            out,
            split=split,
            classes=classes,
            tile=parse_tile(tile),
            progress=follow,
        )
    show_report(report, console(quiet=quiet))
    return report
