"""Of a Decathlon task, what its dataset.json lists is packed, and all else is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, open_source

nib = pytest.importorskip("nibabel")
DecathlonTask = pytest.importorskip("zarrfeed_convert.sources.described_datasets.msd").DecathlonTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPE = (7, 6, 5)
AFFINE = np.diag([-0.8, 0.9, 2.5, 1])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


NO_VAL = (
    "option subset: needed one of train, test, found 'val', the name of the split if no subset is "
    "given; .*by -o subset=train"
)


def numbers(*shape: int, seed: int = 0, below: int = 900) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, below, shape, np.int16)


def save(path: str, array: NDArray[Any]) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)


def task(names: str = "ba", channels: tuple[int, ...] = (), **said: Any) -> dict[str, Any]:
    """Write a task with its JSON, whose entries `said` replaces."""
    for name in names:
        save(f"t/imagesTr/x_{name}.nii.gz", numbers(*SHAPE, *channels, seed=ord(name)))
        save(f"t/labelsTr/x_{name}.nii.gz", numbers(*SHAPE, seed=ord(name), below=3))
    save("t/imagesTs/x_z.nii.gz", numbers(*SHAPE, *channels))
    entries = {
        "name": "X",
        "tensorImageSize": "3D",
        "modality": {str(at): f"M{at}" for at in range(channels[0] if channels else 1)},
        "labels": {"0": "background", "1": "liver", "2": "cancer"},
        "numTraining": len(names),
        "numTest": 1,
        "training": [
            {"image": f"./imagesTr/x_{name}.nii.gz", "label": f"./labelsTr/x_{name}.nii.gz"}
            for name in names
        ],
        "test": ["./imagesTs/x_z.nii.gz"],
    } | said
    Path("t/dataset.json").write_text(json.dumps(entries))
    return entries


def arrays(name: str, *channels: int) -> tuple[NDArray[Any], NDArray[Any]]:
    image = numbers(*SHAPE, *channels, seed=ord(name)).reshape(*SHAPE, *(channels or (1,)))
    mask = numbers(*SHAPE, seed=ord(name), below=3)
    return image.transpose(2, 1, 0, 3), mask.transpose(2, 1, 0).astype(np.uint8)


@pytest.mark.parametrize("channels", [(), (4,)])
def test_cases_are_volumes_with_the_classes_and_channels_of_the_json(channels, tmp_path):
    task(channels=channels)
    source = DecathlonTask("t")
    (one, mask), (two, other) = arrays("a", *channels), arrays("b", *channels)
    require_source(source, [one, two], [mask, other])
    assert source.keys == ["x_a", "x_b"]
    assert source.classes == ("background", "liver", "cancer")
    assert source.ignore is None
    assert source.left_out == ()
    assert source.describe()["facts"]["channels"] == [f"M{at}" for at in range(one.shape[3])]
    affine = np.array(source.probe(0).affine)
    np.testing.assert_allclose(affine[:, [2, 1, 0, 3]], AFFINE, rtol=1e-6)
    require_packed(source, tmp_path / "o.zarr", [one, two], [mask, other])


def test_the_test_set_and_masks_none_are_images_alone():
    task()
    require_source(DecathlonTask("t", subset="test"), [arrays("z")[0] * 0 + _test_image()])
    assert len(DecathlonTask("t", "none").read(0)) == 1
    assert DecathlonTask("t", "none").classes is None
    with pytest.raises(SourceError, match=NO_VAL):
        DecathlonTask("t", subset="val")
    with pytest.raises(SourceError, match="needed no --masks"):
        DecathlonTask("t", "t/labelsTr")


def _test_image() -> NDArray[Any]:
    return numbers(*SHAPE)[..., None].transpose(2, 1, 0, 3)


def test_slices_are_those_that_nibabel_gives():
    task("a")
    source = DecathlonTask("t", as_="slices", axis=1)
    assert source.keys == [f"x_a/000{number}" for number in range(6)]
    np.testing.assert_array_equal(source.read(2)[0][..., 0], numbers(*SHAPE, seed=97)[:, 2])


def test_what_files_and_json_do_not_agree_on_is_named():
    task("abcd", numTraining=7)
    Path("t/labelsTr/x_b.nii.gz").unlink()
    Path("t/imagesTr/x_c.nii.gz").unlink()
    save("t/imagesTr/x_d.nii.gz", numbers(*SHAPE, 2))
    save("t/imagesTr/x_e.nii.gz", numbers(*SHAPE))
    Path("t/imagesTr/._x_a.nii.gz").write_bytes(b"of macOS")
    source = DecathlonTask("t")
    assert source.keys == ["x_a"]
    assert dict(source.left_out) == {
        "t/dataset.json": "needed 7 cases, as numTraining says, found 4; restore or correct them",
        "t/labelsTr/x_b.nii.gz": "dataset.json names it, but the file is missing",
        "t/imagesTr/x_c.nii.gz": "dataset.json names it, but the file is missing",
        "t/imagesTr/x_d.nii.gz": "needed 1 channel (M0), found 2; add or take out files, or "
        "correct the list of channels",
    }
    [listed, hidden] = sorted(source.remarks, reverse=True)
    assert listed[:2] == ("unlisted files", "1 passed over")
    assert "t/imagesTr/x_e.nii.gz" in listed[2]
    assert hidden[:2] == ("hidden files", "1 passed over")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"training": [{"image": "../i.nii", "label": "m.nii"}]}, "needed all data inside"),
        ({"training": [{"image": "/etc/i.nii", "label": "m.nii"}]}, "needed all data inside"),
        ({"training": ["a.nii"]}, 'needed cases like {"image"'),
        ({"training": {"a": 1}}, "needed a list as 'training', found {'a': 1}"),
        ({"training": [{"image": 3, "label": []}]}, "needed paths of files, found 3"),
        ({"training": []}, "needed 2 cases, as numTraining says, found 0"),
        ({"modality": {"1": "CT"}}, "needed channels"),
        ({"modality": "CT"}, "needed channels like"),
        ({"labels": {"0": "background", "x": "y"}}, "needed an id within 0 … 65535"),
        ({"labels": {"0": "background", "1": "a", "70000": "b"}}, "needed an id within"),
        ({"labels": []}, "needed an object as 'labels', found"),
        ({"labels": {"background": 0, "a": 0}}, "needed one name for label 0"),
        ({"numTraining": "many"}, "needed a number as 'numTraining'"),
    ],
)
def test_damage_of_the_json_is_named(said, error):
    task(**said)
    with pytest.raises(SourceError, match=r"^t/dataset\.json: ") as raised:
        DecathlonTask("t")
    assert error in str(raised.value)


def test_files_outside_are_read_if_they_are_allowed():
    task()
    save("other/x.nii.gz", numbers(*SHAPE))
    task("", training=[{"image": "../other/x.nii.gz", "label": "../other/x.nii.gz"}])
    assert DecathlonTask("t", limits=Limits(external=True)).keys == ["x"]


def test_paths_longer_than_paths_may_be_are_missing_files():
    long = "a" * 400
    case = {"image": "imagesTr/x_a.nii.gz", "label": "labelsTr/x_a.nii.gz"}
    task("a", training=[case, {"image": long, "label": long}], numTraining=2)
    source = DecathlonTask("t")
    assert source.keys == ["x_a"]
    assert dict(source.left_out) == {f"t/{long}": "dataset.json names it, but the file is missing"}


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"training": 1', "[" * 100_000])
def test_json_that_is_none_is_named(text):
    task()
    Path("t/dataset.json").write_text(text)
    with pytest.raises(SourceError, match=r"^t/dataset\.json: needed "):
        DecathlonTask("t")


def test_a_folder_without_json_says_where_one_is():
    task()
    with pytest.raises(SourceError, match="it lies in t: give that"):
        DecathlonTask(".")
    with pytest.raises(SourceError, match="it lies in t: give that"):
        DecathlonTask("t/imagesTr")
    with pytest.raises(SourceError, match="found no folder nowhere"):
        DecathlonTask("nowhere")


def test_a_dataset_of_nnunet_is_pointed_to_its_format():
    entries = task()
    del entries["training"]
    Path("t/dataset.json").write_text(json.dumps(entries | {"channel_names": {"0": "CT"}}))
    with pytest.raises(SourceError, match="did you mean --format nnunet"):
        open_source("msd", {"images": "t"})
