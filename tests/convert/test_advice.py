"""Every piece of advice in a message leads on: it is followed here, word by word.

Each case makes data that are refused, looks for the advice in the message, adds it to the command
(and takes out what it says is to be left out), and packs.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from typer.testing import CliRunner

from zarrfeed_tools.application import app

RNG = np.random.default_rng(0)
SIZE = (8, 8)
IMAGE = RNG.integers(0, 255, (*SIZE, 3), np.uint8)
IDS = RNG.integers(0, 3, SIZE).astype(np.uint8)
SOFT = np.clip(np.hypot(*(np.mgrid[:64, :64] - 32)) * 20 - 300, 0, 255).astype(np.uint8)
SEVERAL = RNG.integers(0, 2, (3, *SIZE, 3)).astype(np.uint8)
FOLDERS = ["--images", "i", "--masks", "m"]
NPZ = ["--format", "npz", "--images", "a.npz:x", "--masks", "a.npz:y"]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def convert(*words):
    """Run the command in this process; give its message, which is empty if it packed."""
    done = CliRunner().invoke(app, ["convert", "o.zarr", "--split", "s", "--workers", "1", *words])
    if done.exit_code == 0:
        return ""
    text = str(done.exception) if not isinstance(done.exception, SystemExit) else done.output
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def picture(path, values):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if path.endswith(".tif"):
        options = {"planarconfig": "contig"} if values.ndim == 3 else {}
        tifffile.imwrite(path, values, metadata=None, photometric="minisblack", **options)
    else:
        Image.fromarray(values.astype(np.uint8)).save(path)


def pictures(mask=IDS, image=IMAGE, end="png", mask_end="png"):
    picture(f"i/a.{end}", image)
    picture(f"m/a.{mask_end}", mask)
    return FOLDERS


def arrays(y, x=None):
    np.savez("a.npz", x=np.zeros((3, *SIZE, 3), np.uint8) if x is None else x, y=y)
    return NPZ


def sizes():
    picture("i/b.png", IMAGE[:4])
    picture("m/b.png", IDS[:4])
    return pictures()


def scans():
    for name, size in (("a", (5, 8, 6)), ("b", (4, 9, 5))):
        for side in "im":
            Path(side).mkdir(exist_ok=True)
            np.savez(f"{side}/{name}.npz", x=np.ones(size, np.uint8))
    return ["--format", "npz", "--images", "i/*.npz:x", "--masks", "m/*.npz:x", "-o", "axes=DHW"]


def kinds():
    picture("i/b.png", IMAGE[:, :, 0])
    picture("m/b.png", IDS)
    return pictures()


def lone():
    picture("i/b.png", IMAGE)
    return pictures()


def one_folder():
    picture("i/a.png", IMAGE)
    picture("i/a_mask.png", IDS)
    return ["--images", "i", "--masks", "i"]


def several_masks():
    for end in ("color", "ids"):
        picture(f"m/a_{end}.png", IDS)
        picture(f"m/b_{end}.png", IDS)
    for name in "ab":
        picture(f"i/{name}.png", IMAGE)
    return FOLDERS


def stacks():
    for folder, top in (("i", 255), ("m", 3)):
        Path(folder).mkdir()
        values = RNG.integers(0, top, (3, *SIZE), np.uint8)
        tifffile.imwrite(f"{folder}/a.tif", values, photometric="minisblack")
    return FOLDERS


def pixels_of_pages():
    Path("i").mkdir()
    tifffile.imwrite("i/a.tif", RNG.integers(0, 255, (5, *SIZE), np.uint8),
                     planarconfig="separate", photometric="minisblack")  # fmt: skip
    tifffile.imwrite("m.tif", RNG.integers(0, 3, (5, *SIZE), np.uint8), photometric="minisblack")
    return ["--format", "tiff", "--images", "i/a.tif", "--masks", "m.tif"]


def bands():
    return [*pictures(image=RNG.integers(0, 9, (*SIZE, 12), np.uint8), end="tif"), "--color", "rgb"]


def packed_already():
    assert not convert(*pictures(), "--seed", "0")
    picture("m/a.png", np.zeros(SIZE, np.uint8))
    picture("i/b.png", IMAGE)
    picture("m/b.png", IDS)
    return FOLDERS


def voc():
    Path("ImageSets/Segmentation").mkdir(parents=True)
    Path("ImageSets/Segmentation/val.txt").write_text("a\n")
    picture("JPEGImages/a.jpg", IMAGE)
    picture("SegmentationClass/a.png", IDS)
    return ["--format", "voc", "--images", "."]


def table(**columns):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), "a.parquet")
    return ["--format", "parquet", "--images", "a.parquet"]


def encoded(values):
    picture("x.png", values)
    return Path("x.png").read_bytes()


def volumes():
    nib = pytest.importorskip("nibabel")
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 2), np.uint8), np.eye(4)), "i.nii")
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 2), np.uint8), 3 * np.eye(4)), "m.nii")
    return ["--format", "nifti", "--images", "i.nii", "--masks", "m.nii"]


def rgba():
    mask = np.zeros((*SIZE, 4), np.uint8)
    mask[:4, :, 3] = 255
    return pictures(mask)


HOT = np.eye(4, dtype=np.uint8)[RNG.integers(0, 4, (3, *SIZE))]
COLORS = np.zeros((*SIZE, 3), np.uint8)
COLORS[:4] = (255, 0, 0)
COLORS[4:] = (0, 0, 255)
NONE_IS_BACKGROUND = HOT[..., 1:]

# What is made, the advice as it is said, and as it is followed where it leaves a choice.
CASES = {
    "sizes": (sizes, "--size HxW --fit resize", "--size 8x8 --fit resize"),
    "sizes, padded": (sizes, "--fit resize, crop or pad", "--size 8x8 --fit pad --ignore 255"),
    "sizes, tiled": (sizes, "or --tile HxW", "--tile 4x4"),
    "padding": (lambda: [*sizes(), "--size", "8x8", "--fit", "pad"], "--ignore", "--ignore 9"),
    "crop": (lambda: [*sizes(), "--size", "8x8", "--fit", "crop"], "--fit resize", None),
    "pad": (
        lambda: [*sizes(), "--size", "4x4", "--fit", "pad", "--ignore", "9"],
        "--fit resize or crop",
        "--fit crop",
    ),
    "no size": (lambda: [*sizes(), "--fit", "resize"], "needs --size HxW", "--size 8x8"),
    "kinds": (kinds, "--color grey, rgb or rgba", "--color rgb"),
    "255": (lambda: pictures(IDS + 253 * (IDS > 1)), "--ignore 255", None),
    "binary": (
        lambda: [*pictures(255 * (IDS > 1)), "--classes", "a,b"], "--mask-map 255=1", None,
    ),
    "7": (lambda: [*pictures(IDS + 5 * (IDS > 1)), "--classes", "a,b"], "--ignore 7", None),
    "7, mapped": (
        lambda: [*pictures(IDS + 5 * (IDS > 1)), "--classes", "a,b,c"],
        "--mask-map 7=ID",
        "--mask-map 7=2",
    ),
    "65535": (
        lambda: pictures((IDS > 1) * np.uint16(65535), mask_end="tif"), "--mask-map 65535=1", None,
    ),
    "soft": (lambda: pictures(SOFT, np.zeros((64, 64), np.uint8)), "'128..255=1,*=0'", None),
    "soft, ignored": (
        lambda: [*pictures(SOFT, np.zeros((64, 64), np.uint8)), "--ignore", "255"],
        "--mask-map '128..255=1,*=0'",
        None,
    ),
    "soft, named": (
        lambda: [*pictures(SOFT, np.zeros((64, 64), np.uint8)), "--classes", "a,b"],
        "--mask-map '128..255=1,*=0'",
        None,
    ),
    "jpeg": (
        lambda: pictures(SOFT, np.zeros((64, 64), np.uint8), mask_end="jpg"),
        "--mask-map '128..255=1,*=0'",
        None,
    ),
    "colours": (
        lambda: pictures(COLORS),
        "--mask-map '#0000FF=0,#FF0000=1,…'",
        "--mask-map #0000FF=0,#FF0000=1",
    ),
    "a colour": (
        lambda: [*pictures(COLORS), "--mask-map", "#0000FF=0"],
        "*=ID",
        "--mask-map '#0000FF=0,*=1'",
    ),
    "alpha": (rgba, "--mask-map alpha", None),
    "-1": (lambda: arrays(RNG.integers(-1, 3, (3, *SIZE))), "--mask-map -1=255 --ignore 255", None),
    "nan": (
        lambda: arrays(np.where(HOT[..., 0], np.nan, 1.0)), "--mask-map nan=255 --ignore 255", None,
    ),
    "70000": (lambda: arrays(70000 * HOT[..., 0].astype(int)), "'*=0'", "--mask-map '0=0,*=1'"),
    "fractions": (lambda: arrays(HOT[..., 0] * 0.9 + 0.1), "--mask-map '0.5..1=1,*=0'", None),
    "colours that overlap": (
        lambda: pictures(255 * SEVERAL[0]), "--mask-map multi-hot", None,
    ),
    "volumes, padded": (
        lambda: [*scans(), "--size", "6x6x6", "--fit", "pad", "--ignore", "9"],
        "or --size 6x9x6 --fit pad",
        "--size 6x9x6",
    ),
    "volumes, cropped": (
        lambda: [*scans(), "--size", "6x6x6", "--fit", "crop"],
        "or --size 4x6x5 --fit crop",
        "--size 4x6x5",
    ),
    "one-hot": (lambda: arrays(HOT), "--mask-map one-hot=0", None),
    "one-hot, no background": (lambda: arrays(NONE_IS_BACKGROUND), "'one-hot=1,*=0'", None),
    "one-hot, asked for": (
        lambda: [*arrays(NONE_IS_BACKGROUND), "-o", "one_hot=yes"],
        "--mask-map 'one-hot=1,*=0'",
        None,
    ),
    "multi-hot": (lambda: arrays(SEVERAL), "--mask-map multi-hot", None),
    "multi-hot, not one-hot": (
        lambda: [*arrays(SEVERAL), "-o", "one_hot=no", "--mask-map", "one-hot=0"],
        "use --mask-map multi-hot",
        "--mask-map multi-hot",
    ),
    "multi-hot, 3 classes": (
        lambda: [*arrays(SEVERAL), "--mask-map", "multi-hot", "--classes", "a,b"],
        "a name for each of the 3 channels",
        "--classes a,b,c",
    ),
    "channels": (
        lambda: arrays(np.zeros((3, *SIZE), np.uint8), np.zeros((3, 3, *SIZE), np.uint8)),
        "--option channels_first=yes",
        None,
    ),
    "lone": (lone, "--on-error skip", None),
    "one folder": (one_folder, "--mask-suffix _mask", None),
    "several masks": (several_masks, "--mask-suffix _color", None),
    "stacks": (stacks, "--format tiff", None),
    "pages": (pixels_of_pages, "--option axis=S", None),
    "affine": (volumes, "--geometry warn", None),
    "again": (packed_already, "--overwrite", None),
    "subset": (voc, "choose from val", "-o subset=val"),
    "column": (
        lambda: table(image=[encoded(IMAGE)], label=[encoded(IDS)]),
        "-o mask=COLUMN",
        "-o mask=label",
    ),
    "shape": (
        lambda: [*table(image=[[1] * 64], m=[[1] * 64]), "-o", "mask=m"],
        "-o shape=HxW",
        "-o shape=8x8",
    ),
    "array": (
        lambda: [*arrays(HOT[..., 0])[:2], "--images", "a.npz", "--masks", "a.npz:y"],
        "add it, like a.npz:x",
        "--images a.npz:x",
    ),
}  # fmt: skip

# What is to be left out, as an option and its value.
LEFT_OUT = {
    "bands": (bands, "leave --color out", 2),
    "masks": (
        lambda: [*voc(), "-o", "subset=val", "--masks", "SegmentationClass"],
        "leave --masks out",
        2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_advice_that_is_followed_packs(case):
    make, said, followed = CASES[case]
    words = make()
    message = convert(*words)
    assert said in message, message or "it packed"
    more = shlex.split(followed or said)
    if "--mask-map" not in more and "=" in more[0]:
        more = ["--mask-map", *more]
    assert convert(*words, *more) == ""


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        (["--size", "4x4", "--fit", "pad"], ", or --tile 4x4 without --size and --fit"),
        (["--size", "4x4", "--fit", "tile"], "use --tile 4x4 without --size and --fit"),
        (["--size", "4x4"], "or --tile HxW instead of --size"),
        (["--overlap", "1"], "use --tile HxW, or DxHxW for volumes, without it"),
    ],
)
def test_tiles_take_the_place_of_a_size_and_a_fit(fit, said):
    words = [*sizes(), "--ignore", "9"]
    assert said in convert(*words, *fit)
    assert convert(*words, "--tile", "4x4") == ""


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_is_to_be_left_out_is_in_the_way_of_nothing_else(case):
    make, said, count = LEFT_OUT[case]
    words = make()
    assert said in convert(*words)
    assert convert(*words[:-count]) == ""


def test_the_limit_that_a_message_names_is_enough():
    words = [*pictures(), "--max-sample-size", "64"]
    advice = re.search(r"allow it by (--max-sample-size \S+)", convert(*words))
    assert advice is not None
    assert convert(*words[:-2], *advice[1].split()) == ""


@pytest.mark.parametrize("images", ["a.npz:x", "a.npz", "*.npz", "."])
def test_the_format_that_files_have_is_suggested(images):
    arrays(IDS, IMAGE)
    message = convert("--images", images, "--masks", "a.npz:y")
    assert message.endswith("; did you mean --format npz? (look up: no-files)"), message
    assert convert(*NPZ) == ""


def test_numbers_that_are_measured_are_no_masks():
    depth = RNG.random((3, *SIZE)).astype(np.float32)
    assert "use --field depth=target:… instead of --masks" in convert(*arrays(depth))
    assert convert(*NPZ[:4], "--field", "depth=target:a.npz:y") == ""


def test_bands_that_no_color_converts_are_not_told_to_be_converted():
    picture("i/b.tif", RNG.integers(0, 9, (*SIZE, 12), np.uint8))
    picture("m/b.png", IDS)
    message = convert(*pictures())
    assert "1 of 12 channels, such as i/b.tif, 1 of RGB, such as i/a.png; pack those of" in message
    assert "--color" not in message


def test_a_glob_that_the_shell_expanded_is_quoted_as_the_message_says():
    picture("i/b.png", IMAGE)
    picture("m/b.png", IDS)
    pictures()
    message = convert("--images", "i/a.png", "i/b.png", "--masks", "m")
    advice = re.search(r"put it in quotes: (--images '[^']*')", message)
    assert advice is not None, message
    assert convert(*shlex.split(advice[1]), "--masks", "m") == ""


def test_followed_advice_packs_the_right_ids():
    ids = HOT.argmax(-1)
    words = [*arrays(NONE_IS_BACKGROUND), "--order", "source"]
    assert convert(*words, "--mask-map", "one-hot=1,*=0") == ""
    np.testing.assert_array_equal(zarr.open_group("o.zarr", mode="r")["s/mask"][:], ids)


def external():
    h5py = pytest.importorskip("h5py")
    RNG.integers(0, 255, (3, *SIZE, 3), np.uint8).tofile("x.raw")
    with h5py.File("a.h5", "w") as file:
        raw = [("x.raw", 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("x", (3, *SIZE, 3), np.uint8, external=raw)
        file["y"] = RNG.integers(0, 3, (3, *SIZE), np.uint8)
    return ["--format", "hdf5", "--images", "a.h5:x", "--masks", "a.h5:y"]


def bare_numbers():
    tf = pytest.importorskip("tensorflow")
    image, mask = (
        tf.train.Feature(bytes_list=tf.train.BytesList(value=[values.tobytes()]))
        for values in (IMAGE, IDS)
    )
    example = tf.train.Example(features=tf.train.Features(feature={"image": image, "mask": mask}))
    with tf.io.TFRecordWriter("a.tfrecord") as writer:
        writer.write(example.SerializeToString())
    places = ["-o", "image=image", "-o", "mask=mask", "-o", "shape=8x8x3"]
    return ["--format", "tfrecord", "--images", "a.tfrecord", *places]


def pyramid():
    image = zarr.open_group("a.zarr", mode="w", zarr_format=2)
    labels = image.create_group("labels")
    labels.attrs["labels"] = ["cells"]
    for group, top in ((image, 255), (labels.create_group("cells"), 3)):
        group.create_array("0", data=RNG.integers(0, top, SIZE, np.uint8))
        scale = [{"type": "scale", "scale": [1.0, 1.0]}]
        axes = [{"name": name, "type": "space"} for name in "yx"]
        datasets = [{"path": "0", "coordinateTransformations": scale}]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return ["--format", "ome-zarr", "--images", "a.zarr", "-o", "level=1"]


FURTHER = {
    "external": (external, "add --allow-external", "--allow-external"),
    "bare numbers": (
        bare_numbers,
        "-o dtype=uint8, for masks -o mask_dtype=uint8",
        "-o dtype=uint8 -o mask_dtype=uint8",
    ),
    "wide numbers": (
        lambda: [*table(image=[[300] * 64], m=[[1] * 64]), "-o", "mask=m", "-o", "shape=8x8"],
        "like -o dtype=uint16",
        "-o dtype=uint16",
    ),
}


@pytest.mark.parametrize("case", FURTHER)
def test_advice_of_one_format_that_is_followed_packs(case):
    make, said, followed = FURTHER[case]
    words = make()
    message = convert(*words)
    assert said in message, message or "it packed"
    assert convert(*words, *shlex.split(followed)) == ""


def test_a_level_that_there_is_packs():
    words = pyramid()
    assert "found levels 0 … 0; use another --option level=" in convert(*words)
    assert convert(*words[:-2], "--option", "level=0") == ""


@pytest.mark.parametrize("way_out", ["--prefix-keys", "--keys"])
def test_two_ways_to_merge_splits_of_one_name_are_those_of_the_message(way_out):
    picture("i/b.png", IMAGE)
    picture("m/b.png", IDS)
    words = pictures()
    assert convert(*words) == ""
    repack = ["repack", "o.zarr/s", "o.zarr/t", "p.zarr", "--split", "s", "--workers", "1"]
    done = CliRunner().invoke(app, ["convert", "o.zarr", "--split", "t", "--workers", "1", *words])
    assert done.exit_code == 0, done.output
    message = str(CliRunner().invoke(app, repack).exception)
    assert "leave them out with --keys, or distinguish the splits with --prefix-keys" in message
    more = ["--prefix-keys"]
    if way_out == "--keys":
        Path("keys.txt").write_text("a\n")
        repack[2], more = "o.zarr/s", ["--keys", "keys.txt"]
        del repack[2]
    done = CliRunner().invoke(app, [*repack, *more])
    assert done.exit_code == 0, (done.output, done.exception)
