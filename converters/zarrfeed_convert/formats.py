"""Which formats can be packed, and how is a dataset of one opened?

A format is a class in a module of :mod:`zarrfeed_convert.sources`. The module is imported when the
format is used, since most formats need a package that is not installed with zarrfeed.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError, how_to_install, look_up
from zarrfeed.spelling import did_you_mean
from zarrfeed_convert.format_endings import format_of_ending
from zarrfeed_convert.source import SAMPLES
from zarrfeed_convert.sources.instances.flags import INSTANCE_FLAGS
from zarrfeed_convert.sources.volume_options import VOLUME_FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.source import JSON, Source


class OptionError(SourceError):
    """A format, an option of a format, or the value of an option does not exist."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of datasets.

    Attributes
    ----------
    name
        Value of ``--format``.
    summary
        Description in one line.
    module, factory
        Module, below ``zarrfeed_convert.sources``, and name of its class.
    extra
        Extra of zarrfeed that installs the packages it needs; empty if it needs none.
    """

    name: str
    summary: str
    module: str
    factory: str
    extra: str = ""


FORMATS: Mapping[str, Format] = {
    entry.name: entry
    for entry in (
        Format("paired", "folders of image and mask files, .npy too, paired by name",
               "image_files.paired", "PairedFolders"),
        Format("camvid", "CamVid: train/ beside trainannot/", "image_files.camvid", "CamVid"),
        Format("cityscapes", "Cityscapes: leftImg8bit/ and gtFine/",
               "image_files.cityscapes", "Cityscapes"),
        Format("voc", "Pascal VOC: JPEGImages/, SegmentationClass/ and its split lists",
               "image_files.voc", "Voc"),
        Format("coco", "COCO JSON: polygons and RLE", "coco.coco", "CocoJson", "coco"),
        Format("coco-panoptic", "COCO's panoptic segmentation: JSON and PNG files of segments",
               "coco.panoptic", "CocoPanoptic", "coco"),
        Format("kitti", "KITTI's semantic segmentation: image_2/ and semantic/",
               "image_files.kitti", "Kitti"),
        Format("mapillary", "Mapillary Vistas: images/ and v2.0/labels/ or labels/",
               "image_files.mapillary", "Mapillary"),
        Format("ade20k", "the full ADE20K of 2021: JSON and _seg.png files",
               "annotations.ade20k", "Ade20k", "coco"),
        Format("yolo", "YOLO for segmentation: text files of polygons",
               "annotations.yolo", "Yolo", "annotations"),
        Format("labelme", "labelme JSON, LabelMe XML: polygons and masks",
               "annotations.labelme", "LabelMe", "annotations"),
        Format("cvat", "CVAT for images or video 1.1: XML of polygons and masks",
               "annotations.cvat", "Cvat", "annotations"),
        Format("supervisely", "projects of Supervisely: JSON of polygons and bitmaps",
               "annotations.supervisely", "Supervisely", "coco"),
        Format("label-studio", "Label Studio's JSON: polygons, brushes, rectangles, ellipses",
               "annotations.label_studio", "LabelStudio", "coco"),
        Format("datumaro", "Datumaro's JSON: polygons and RLE",
               "annotations.datumaro_format", "Datumaro", "annotations"),
        Format("rle-csv", "images, and run-length codes in a CSV file, as on Kaggle",
               "run_length.rle_csv", "RleCsv"),
        Format("mask-folders", "one folder per image with a mask file per instance (DSB 2018)",
               "binary_masks.mask_folders", "MaskFolders"),
        Format("class-masks", "images, and a mask file for each class of an image",
               "binary_masks.class_masks", "ClassMasks"),
        Format("geotiff", "GeoTIFFs of any number of bands and masks, paired by name",
               "image_files.geotiff", "GeoTiffs", "geotiff"),
        Format("tiff", "multi-page TIFF, with masks or alone, a sample per page or volume",
               "stacks.tiff_stack", "TiffStacks"),
        Format("nifti", "NIfTI, with labels or alone, a sample per slice or volume",
               "stacks.nifti", "NiftiVolumes", "nifti"),
        Format("itk", "NRRD, MetaImage and more by SimpleITK, a sample per slice or volume",
               "stacks.itk_volumes", "ItkVolumes", "itk"),
        Format("nnunet", "raw datasets of nnU-Net v2: dataset.json, imagesTr/, labelsTr/",
               "described_datasets.nnunet", "NnUnetRaw", "nifti"),
        Format("msd", "tasks of the Medical Segmentation Decathlon: dataset.json",
               "described_datasets.msd", "DecathlonTask", "nifti"),
        Format("dicom", "DICOM, with SEG or NIfTI labels or alone, a sample per slice or series",
               "dicom.dicom", "DicomSeries", "dicom"),
        Format("hdf5", "arrays of images or volumes in HDF5 files",
               "arrays.hdf5", "Hdf5Arrays", "hdf5"),
        Format("npz", "arrays of images or volumes in NPZ files", "arrays.npz", "NpzArrays"),
        Format("tfrecord", "TFRecord files of tf.train.Example",
               "records.tfrecord", "TFRecords", "tfrecord"),
        Format("parquet", "Parquet tables with image columns, as Hugging Face has them",
               "records.parquet", "ParquetTables", "parquet"),
        Format("webdataset", "WebDataset tars", "records.webdataset", "WebDatasetTars"),
        Format("zarr", "Zarr arrays of images or volumes", "arrays.zarr_arrays", "ZarrArrays"),
        Format("ome-zarr", "OME-Zarr images, with labels or alone", "arrays.ome_zarr", "OmeZarr"),
    )
}  # fmt: skip

# Arguments that all formats have, and for which the command has options.
COMMON = ("images", "masks", "fields", "color", "mask_map", *VOLUME_FLAGS, *INSTANCE_FLAGS)


def open_source(name: str, arguments: Mapping[str, Any], *, limits: Limits | None = None) -> Source:
    """Open a dataset.

    Parameters
    ----------
    name
        Name of its format, one of `FORMATS`.
    arguments
        Arguments of the format's class. Numbers and booleans may be given as text.
    limits
        Limits of what files may claim; by default :class:`Limits()`.

    Raises
    ------
    OptionError
        The format or an option does not exist, or a required option is missing.
    SourceError
        A package is not installed, or the dataset cannot be packed.

    Examples
    --------
    >>> open_source("npz", {"images": "cells.npz:x", "masks": "cells.npz:y"})  # doctest: +SKIP
    """
    factory = factory_of(name)
    known = parameters_of(name)
    unknown = [option for option in arguments if option not in known]
    if "fields" in unknown:
        raise OptionError(
            f"format {name}: needed images and masks alone, found further fields, which these "
            f"formats take: {', '.join(formats_with('fields'))}; in Python, `convert` takes any "
            'samples like {"image": …, "depth": …}'
            f"{look_up('format-options')}"
        )
    for option, flag in (VOLUME_FLAGS | INSTANCE_FLAGS).items():
        if option in unknown:
            raise OptionError(
                f"format {name}: needed no {flag}, found {arguments[option]!r}; these formats have "
                f"this option: {', '.join(formats_with(option))}"
                f"{look_up('format-options')}"
            )
    if unknown:
        has = [option for option in known if option not in COMMON]
        hint = did_you_mean(unknown[0], [_flag(one) for one in known])
        raise OptionError(
            f"format {name}: there is no option {unknown[0]!r}; "
            + (f"its options are {', '.join(has)}" if has else "it has no options")
            + (hint and f"; {hint}")
            + look_up("format-options")
        )
    missing = [
        f"--{option}" if option in COMMON else f"-o {option}=VALUE"
        for option, parameter in known.items()
        if parameter.default is parameter.empty and option not in arguments
    ]
    if missing:
        raise OptionError(f"format {name}: needed {' and '.join(missing)}")
    given = {
        option: _read(value, known[option].default, option) for option, value in arguments.items()
    }
    try:
        source: Source = factory(**given, limits=limits)
    except SourceError as error:
        other = format_of_ending(str(given.get("images")))
        if other in ("", name):
            raise
        raise SourceError(f"{error}; did you mean --format {other}?") from error
    return source


def source_of(description: JSON, *, limits: Limits | None = None) -> Source:
    """Open a dataset by its description; see :meth:`Source.describe`.

    Raises
    ------
    SourceError
        Its format is none of `FORMATS`, or it no longer exists.
    """
    kind = str(description.get("kind"))
    if kind == SAMPLES:
        raise SourceError(
            "source: needed one of the formats, found a Python iterable, which cannot be opened "
            "again; verify without originals"
        )
    if kind not in FORMATS:
        raise SourceError(
            f"source: needed one of the formats {', '.join(FORMATS)}, found {kind!r}, which cannot "
            "be opened again; pass the source as `source`, or verify without originals"
        )
    return open_source(
        kind,
        {name: value for name, value in description.items() if name not in ("kind", "facts")},
        limits=limits,
    )


def factory_of(name: str) -> Callable[..., Source]:
    """Load the class of a format.

    Raises
    ------
    OptionError
        The format does not exist.
    SourceError
        It needs a package that is not installed.
    """
    known = FORMATS.get(name)
    if known is None:
        hint = did_you_mean(name, FORMATS)
        raise OptionError(
            f"format: needed one of {', '.join(FORMATS)}, found {name!r}"
            + (hint and f"; {hint}")
            + look_up("format-options")
        )
    try:
        module = import_module(f"zarrfeed_convert.sources.{known.module}")
    except ImportError as error:
        if not known.extra:
            raise
        raise SourceError(
            f"format {name}: needs the package {error.name or error}, which is not installed: "
            f"{how_to_install(known.extra)}"
            f"{look_up('missing-package')}"
        ) from error
    factory: Callable[..., Source] = getattr(module, known.factory)
    return factory


def formats_with(option: str) -> list[str]:
    """Return the formats that have an option, among those whose packages are installed."""
    names = []
    for name in FORMATS:
        with suppress(SourceError):
            if option in parameters_of(name):
                names.append(name)
    return names


def parameters_of(name: str) -> Mapping[str, inspect.Parameter]:
    """Return the arguments of a format's class that are options, i.e. all except ``limits``.

    Raises
    ------
    SourceError
        As for :func:`factory_of`.

    Examples
    --------
    >>> [*parameters_of("paired")][:4]
    ['images', 'masks', 'image_suffix', 'mask_suffix']
    """
    parameters = inspect.signature(factory_of(name)).parameters
    return {option: parameters[option] for option in parameters if option != "limits"}


def options_of_text(assignments: Iterable[str]) -> dict[str, str]:
    """Parse ``NAME=VALUE`` of the command line.

    Raises
    ------
    OptionError
        A text has another form, or a name is given twice.

    Examples
    --------
    >>> options_of_text(["axis=0", "key=a=b"])
    {'axis': '0', 'key': 'a=b'}
    """
    options: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        name = name.strip().replace("-", "_")
        if not (equals and name) or name in options:
            raise OptionError(f"option: needed NAME=VALUE, each name once, found {assignment!r}")
        options[name] = value.strip()
    return options


def _flag(option: str) -> str:
    """Return an option as written on the command line, where common ones have their own flag."""
    flag = "field" if option == "fields" else option.strip("_").replace("_", "-")
    return f"--{flag}" if option in COMMON else option


def _read(value: Any, default: Any, option: str) -> Any:
    """Convert text to the type of the option's default."""
    if not isinstance(value, str) or default is inspect.Parameter.empty:
        return value
    try:
        if isinstance(default, bool):
            return {"yes": True, "true": True, "no": False, "false": False}[value.lower()]
        if isinstance(default, int | float):
            return type(default)(value)
    except (KeyError, ValueError):
        kind = "yes or no" if isinstance(default, bool) else "a number"
        raise OptionError(f"option {option}: needed {kind}, found {value!r}") from None
    return value
