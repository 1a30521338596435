"""Of a raw dataset of nnU-Net, what its dataset.json says is packed, and all else is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, convert, open_source, verify

nib = pytest.importorskip("nibabel")
NnUnetRaw = pytest.importorskip("zarrfeed_convert.sources.described_datasets.nnunet").NnUnetRaw

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPE = (5, 6, 7)  # z, y, x
AFFINE = np.diag([-0.8, 0.9, 2.5, 1])
LABELS = {"background": 0, "liver": 1, "tumour": 2}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


NO_VAL = (
    "option subset: needed one of train, test, found 'val', the name of the split if no subset is "
    "given; .*by -o subset=train"
)


def numbers(*shape: int, seed: int = 0, below: int = 250) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, below, shape, np.uint8)


def save(path: str, array: NDArray[Any]) -> None:
    """Write (z, y, x) or (H, W[, C]) as a file of its ending."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if ".nii" in path:
        nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), AFFINE), path)
    elif path.endswith(".npy"):
        np.save(path, array)
    elif path.endswith(".png"):
        Path(path).write_bytes(imagecodecs.png_encode(array))
    else:
        colors = array.ndim == 3 and array.shape[2] == 3
        tifffile.imwrite(path, array, photometric="rgb" if colors else "minisblack")


def image(case: str, channel: int, shape: tuple[int, ...] = SHAPE) -> NDArray[Any]:
    return numbers(*shape, seed=ord(case) + 1000 * channel)


def mask(case: str, shape: tuple[int, ...] = SHAPE) -> NDArray[Any]:
    return numbers(*shape, seed=ord(case), below=3)


def dataset(
    cases: str = "ba",
    ending: str = ".nii.gz",
    channels: int = 2,
    shape: tuple[int, ...] = SHAPE,
    **said: Any,
) -> dict[str, Any]:
    """Write a dataset with its JSON, whose entries `said` replaces."""
    for case in cases:
        for channel in range(channels):
            save(f"d/imagesTr/x_{case}_000{channel}{ending}", image(case, channel, shape))
        save(f"d/labelsTr/x_{case}{ending}", mask(case, shape))
    for channel in range(channels):
        save(f"d/imagesTs/x_z_000{channel}{ending}", image("z", channel, shape))
    entries = {
        "channel_names": {str(channel): f"M{channel}" for channel in range(channels)},
        "labels": LABELS,
        "numTraining": len(cases),
        "file_ending": ending,
    } | said
    write(entries)
    return entries


def write(entries: dict[str, Any]) -> None:
    Path("d/dataset.json").write_text(json.dumps(entries))


def expected(cases: str, channels: int = 2, shape: tuple[int, ...] = SHAPE):
    images = [
        np.stack([image(case, channel, shape) for channel in range(channels)], axis=-1)
        for case in cases
    ]
    return images, [mask(case, shape) for case in cases]


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".tif", ".tiff", ".npy"])
@pytest.mark.parametrize("channels", [1, 2])
def test_cases_are_volumes_with_the_classes_and_channels_of_the_json(ending, channels, tmp_path):
    dataset(ending=ending, channels=channels)
    source = NnUnetRaw("d")
    images, masks = expected("ab", channels)
    require_source(source, images, masks)
    assert source.keys == ["x_a", "x_b"]
    assert source.classes == ("background", "liver", "tumour")
    assert source.describe()["facts"]["channels"] == [f"M{at}" for at in range(channels)]
    assert source.left_out == ()
    assert source.remarks == ()
    assert source.reads_windows(0)
    part = slice(1, 4), slice(0, 6), slice(3, 5)
    for values, whole in zip(source.read_window(1, part), (images[1], masks[1]), strict=True):
        np.testing.assert_array_equal(values, whole[part])
    require_packed(source, tmp_path / "o.zarr", images, masks)


@pytest.mark.parametrize("ending", [".png", ".tif", ".npy"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_two_dimensions_are_samples(ending, channels, tmp_path):
    shape = (6, 7)
    dataset(ending=ending, channels=channels, shape=shape)
    images, masks = expected("ab", channels, shape)
    source = NnUnetRaw("d")
    require_source(source, images, masks)
    assert source.keys == ["x_a", "x_b"]
    assert source.names(0) == (f"d/imagesTr/x_a_0000{ending}", f"d/labelsTr/x_a{ending}")
    require_packed(source, tmp_path / "o.zarr", images, masks)
    with pytest.raises(SourceError, match="--as: needed none for 2-D images"):
        NnUnetRaw("d", as_="volumes")


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_a_colour_image_may_hold_all_channels(ending):
    dataset(ending=ending, channels=3, shape=(6, 7))
    for path in Path("d").glob("images*/*"):
        path.unlink()
    for case in "ab":
        save(f"d/imagesTr/x_{case}_0000{ending}", image(case, 0, (6, 7, 3)))
    images = [image(case, 0, (6, 7, 3)) for case in "ab"]
    require_source(NnUnetRaw("d"), images, expected("ab", 3, (6, 7))[1])


@pytest.mark.parametrize("ending", [".nii.gz", ".tif"])
def test_slices_of_volumes_are_samples_if_asked_for(ending):
    dataset("a", ending=ending)
    source = NnUnetRaw("d", as_="slices")
    assert source.keys == [f"x_a/000{number}" for number in range(5)]
    assert source.names(3)[1] == f"d/labelsTr/x_a{ending}[z=3]"
    whole = expected("a")[0][0][3]
    found = source.read(3)[0]
    np.testing.assert_array_equal(found.swapaxes(0, 1) if ".nii" in ending else found, whole)
    across = NnUnetRaw("d", as_="slices", axis=0)
    assert len(across.keys) == 7
    with pytest.raises(SourceError, match="option axis: needed none with --as volumes"):
        NnUnetRaw("d", axis=0)


def test_the_test_set_is_images_alone():
    dataset()
    require_source(NnUnetRaw("d", subset="test"), expected("z")[0])
    assert NnUnetRaw("d", "none").classes is None
    with pytest.raises(SourceError, match=NO_VAL):
        NnUnetRaw("d", subset="val")
    shutil.rmtree("d/imagesTs")
    with pytest.raises(SourceError, match=r"d/imagesTs: needed a folder of files \.nii\.gz"):
        NnUnetRaw("d", subset="test")


def test_the_ignored_label_is_no_class():
    dataset(labels=LABELS | {"ignore": 3})
    source = NnUnetRaw("d")
    assert (source.classes, source.ignore) == (("background", "liver", "tumour"), 3)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ({"background": 0, "5": 1}, ("background", "5")),
        ({"0": 1, "1": 2, "2": 0}, ("2", "0", "1")),
        ({"7": 0, "9": [1]}, ("7", "9")),
        ({"1": "liver", "0": "background"}, ("background", "liver")),
        ({"0": "1", "1": "0"}, ("1", "0")),
        ({"background": "0", "5": "1"}, ("background", "5")),
    ],
)
def test_names_of_classes_may_be_digits(labels, classes):
    dataset(labels=labels)
    assert NnUnetRaw("d").classes == classes


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".npy", ".tif", ".png"])
def test_pipes_are_named_and_never_opened(ending):
    dataset("ab", ending=ending, channels=1, shape=(6, 7) if ending == ".png" else SHAPE)
    for path in (f"d/imagesTr/x_a_0000{ending}", f"d/labelsTr/x_a{ending}"):
        Path(path).unlink()
        os.mkfifo(path)
    command = (
        "from zarrfeed_convert.sources.described_datasets.nnunet import NnUnetRaw as D; s = D('d')"
    )
    script = [sys.executable, "-c", f"{command}; print(s.keys, s.left_out)"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert f"d/imagesTr/x_a_0000{ending}" in done.stdout + done.stderr
    assert "needed a file, found a pipe" in done.stdout + done.stderr


def test_regions_keep_the_ids_of_the_files_and_a_remark_says_so():
    regions = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    dataset(labels=regions, regions_class_order=[1, 2])
    source = NnUnetRaw("d")
    assert (source.classes, source.ignore) == (("background", "1", "core"), 3)
    [(what, count, why)] = source.remarks
    assert (what, count) == ("regions", "1 kept as ids")
    assert "whole = 1, 2" in why
    assert source.describe()["facts"]["regions"] == {"whole": [1, 2]}
    np.testing.assert_array_equal(source.read(0)[1], mask("a"))


def test_what_files_and_json_do_not_agree_on_is_named():
    dataset("abcd", numTraining=9)
    Path("d/imagesTr/x_b_0001.nii.gz").unlink()
    Path("d/labelsTr/x_c.nii.gz").unlink()
    save("d/labelsTr/x_e.nii.gz", mask("e"))
    save("d/imagesTr/x_f.nii.gz", mask("f"))
    save("d/imagesTr/x_d_0002.nii.gz", mask("d"))
    source = NnUnetRaw("d")
    assert source.keys == ["x_a"]
    assert dict(source.left_out) == {
        "d/dataset.json": "needed 9 cases, as numTraining says, found 4; restore or correct them",
        "d/imagesTr/x_b_0000.nii.gz": "needed 2 channels (M0, M1), found 1; add or take out "
        "files, or correct the list of channels",
        "d/imagesTr/x_c_0000.nii.gz": "needed its labels x_c.nii.gz in labelsTr, found none",
        "d/imagesTr/x_d_0000.nii.gz": "needed the files of its channels _0000 (M0), _0001 (M1), "
        "found _0000, _0001, _0002",
        "d/imagesTr/x_f.nii.gz": "needed a name with the number of its channel, like "
        "x_f_0000.nii.gz",
        "d/labelsTr/x_e.nii.gz": "these labels have no image",
    }


def test_cases_may_be_listed_and_lie_elsewhere_if_that_is_allowed():
    entries = dataset("a")
    shutil.move("d/imagesTr", "elsewhere")
    images = [f"../elsewhere/x_a_000{channel}.nii.gz" for channel in range(2)]
    case = {"images": images, "label": "labelsTr/x_a.nii.gz"}
    write(entries | {"dataset": {"one": case}})
    with pytest.raises(SourceError, match="needed all data inside the dataset"):
        NnUnetRaw("d")
    source = NnUnetRaw("d", limits=Limits(external=True))
    assert source.keys == ["one"]
    for values, whole in zip(source.read(0), expected("a"), strict=True):
        np.testing.assert_array_equal(values, whole[0])
    missing = {"images": ["labelsTr/no.nii.gz"], "label": "labelsTr/x_a.nii.gz"}
    write(entries | {"dataset": {"one": missing}})
    with pytest.raises(SourceError, match=r"no\.nii\.gz: dataset\.json names it, but the file is"):
        NnUnetRaw("d")
    write(entries | {"dataset": {"one": ["labelsTr/no.nii.gz"]}})
    with pytest.raises(SourceError, match="needed files like"):
        NnUnetRaw("d")


@pytest.mark.parametrize("beside", [True, False])
def test_the_spacing_beside_tiff_stacks_is_read(beside):
    dataset("a", ending=".tif")
    if beside:
        for folder in ("imagesTr", "labelsTr"):
            Path(f"d/{folder}/x_a.json").write_text(json.dumps({"spacing": [3.0, 0.8, 0.9]}))
    affine = NnUnetRaw("d").probe(0).affine
    if not beside:
        assert affine is None
        return
    np.testing.assert_allclose(np.linalg.norm(np.array(affine)[:3, :3], axis=0), [3.0, 0.8, 0.9])
    np.testing.assert_allclose(np.array(affine) @ (1, 2, 3, 1), [2.7, 1.6, 3.0, 1])
    Path("d/labelsTr/x_a.json").write_text(json.dumps({"spacing": [3.0, 0.8, 1.8]}))
    with pytest.raises(SourceError, match=r"spacings are 3×0\.8×0\.9 and 3×0\.8×1\.8 mm"):
        NnUnetRaw("d")
    for text in ("{}", '{"spacing": [1, 2]}', '{"spacing": [1, 2, -3]}', '{"spacing": 3}', "["):
        Path("d/labelsTr/x_a.json").write_text(text)
        with pytest.raises(SourceError, match=r"d/labelsTr/x_a\.json: needed "):
            NnUnetRaw("d")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"file_ending": ".nrrd"}, "needed a file_ending among .nii, .nii.gz, .npy"),
        ({"file_ending": None}, "needed a text as 'file_ending', found none"),
        ({"channel_names": {}}, "needed channels like"),
        ({"channel_names": {"0": "CT", "2": "PET"}}, "needed channels"),
        ({"labels": {"background": 0, "a": [1, "x"]}}, "needed an id within"),
        ({"labels": {"background": 0, "a": True}}, "needed an id within"),
        ({"labels": {}}, "needed labels like"),
        ({"labels": {"0": "background", "1": 1}}, "needed a name of the label '1', found 1"),
        ({"labels": {"background": 0, "a": "9" * 5000}}, "needed an id within"),
        ({"labels": {"9" * 5000: "a"}}, "needed an id within"),
        ({"numTraining": "9" * 5000}, "needed a number as 'numTraining'"),
        ({"labels": {"\ud800": 0}}, r"needed text in Unicode, found half a character, '\ud800'"),
        ({"channel_names": {"0": "\udcff", "1": "a"}}, "needed text in Unicode"),
        ({"dataset": {"\ud800": {}}}, "needed text in Unicode"),
        ({"dataset": {"a": {"images": ["\ud800"], "label": "a"}}}, "needed text in Unicode"),
    ],
)
def test_damage_of_the_json_is_named(said, error):
    dataset(**said) if said.get("file_ending", ".nii") == ".nii" else write(dataset() | said)
    with pytest.raises(SourceError, match=r"^d/dataset\.json: ") as raised:
        NnUnetRaw("d")
    assert error in str(raised.value)


def test_a_task_of_the_decathlon_is_pointed_to_its_format():
    entries = dataset()
    del entries["channel_names"]
    write(entries | {"training": []})
    with pytest.raises(SourceError, match="did you mean --format msd"):
        open_source("nnunet", {"images": "d"})


def test_files_of_another_kind_than_the_first_are_named():
    dataset("ab", ending=".tif", channels=1, shape=(6, 7))
    save("d/imagesTr/x_b_0000.tif", image("b", 0))
    save("d/labelsTr/x_b.tif", mask("b"))
    source = NnUnetRaw("d")
    assert source.keys == ["x_a"]
    assert (
        "needed one image, as in the first file, found 5 pages"
        in dict(source.left_out)["d/imagesTr/x_b_0000.tif"]
    )


def test_palettes_and_stacks_of_colours_are_refused():
    from PIL import Image

    dataset("a", ending=".png", channels=1, shape=(6, 7))
    Image.fromarray(mask("a", (6, 7))).convert("P").save("d/labelsTr/x_a.png")
    with pytest.raises(SourceError, match=r"x_a\.png: needed grey or RGB pixels, found a palette"):
        NnUnetRaw("d")
    dataset("a", ending=".tif", channels=1)
    tifffile.imwrite("d/imagesTr/x_a_0000.tif", numbers(4, 6, 7, 3), photometric="rgb")
    with pytest.raises(SourceError, match=r"0000\.tif: needed a stack of grey pages"):
        NnUnetRaw("d")


def test_a_claim_of_an_array_is_checked():
    dataset("a", ending=".npy", channels=1)
    whole = Path("d/imagesTr/x_a_0000.npy").read_bytes()
    Path("d/imagesTr/x_a_0000.npy").write_bytes(whole[:-1])
    with pytest.raises(SourceError, match="needed 338 bytes for 5×6×7 uint8, found 337"):
        NnUnetRaw("d")
    np.save("d/imagesTr/x_a_0000.npy", np.array([["a", None]], object), allow_pickle=True)
    with pytest.raises(SourceError, match="Python objects, which are never unpickled"):
        NnUnetRaw("d")


def test_advice_of_reasons_is_not_repeated():
    dataset("ab", numTraining=3)
    with pytest.raises(SourceError) as error:
        convert(NnUnetRaw("d"), "o.zarr", split="train", tile=(2, 2, 2), workers=1)
    assert str(error.value).endswith(
        "found 2; restore or correct them; or leave them out with --on-error skip"
        " (look up: left-out-inputs)"
    )
    dataset("abc", numTraining=3)
    convert(NnUnetRaw("d"), "o.zarr", split="train", tile=(2, 2, 2), workers=1)
    Path("d/labelsTr/x_c.nii.gz").unlink()
    Path("d/imagesTr/x_c_0000.nii.gz").unlink()
    Path("d/imagesTr/x_c_0001.nii.gz").unlink()
    [split] = verify("o.zarr", source=True, workers=1).splits
    [said] = [problem.what for problem in split.problems if "numTraining" in problem.what]
    assert said == (
        "d/dataset.json: needed 3 cases, as numTraining says, found 2, unlike when the split was "
        "packed; restore it, or convert again"
    )


def test_a_label_that_the_json_does_not_have_is_told_with_the_file():
    dataset("ab")
    wrong = mask("a")
    wrong[0, 0, 0] = 7
    save("d/labelsTr/x_a.nii.gz", wrong)
    said = r"x_a\.nii\.gz: .*found the value 7; dataset\.json names no such label: add it there"
    with pytest.raises(SourceError, match=said):
        convert(NnUnetRaw("d"), "o.zarr", split="train", tile=(2, 2, 2), workers=1)
