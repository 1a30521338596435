"""Whatever a program has in hand becomes a source for as long as it is packed, and no longer."""

from __future__ import annotations

import os
import pickle
import platform
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_convert.formats import source_of
from zarrfeed_convert.header import Header
from zarrfeed_convert.sources.iterables.spool import source_of_samples

RNG = np.random.default_rng(9)
IMAGES = RNG.integers(0, 255, (5, 12, 10, 3), np.uint8)
MASKS = RNG.integers(0, 3, (5, 12, 10), np.uint8)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class ByNumber:
    """As a PyTorch dataset: it has a length, and no end."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index % len(self.samples)]


class Streaming(ByNumber):
    """As a PyTorch dataset that is iterated: what else it has is there to be asked in vain."""

    def __getitem__(self, index):
        raise NotImplementedError

    def __len__(self):
        raise TypeError("unknown length")

    def __iter__(self):
        yield from self.samples


def pairs():
    return list(zip(IMAGES, MASKS, strict=True))


def named():
    return [
        {"key": f"c{row}", "image": i, "mask": m, "city": "Ulm"}
        for row, (i, m) in enumerate(pairs())
    ]


def require_samples(source, images=IMAGES, masks=MASKS):
    assert len(source.keys) == len(images)
    again = pickle.loads(pickle.dumps(source))
    for sample in range(len(images)):
        image, mask = again.read(sample)
        np.testing.assert_array_equal(image, images[sample])
        np.testing.assert_array_equal(mask, masks[sample])
        np.testing.assert_array_equal(source.read_mask(sample), masks[sample])
        kinds = {"image": (image.shape, str(image.dtype)), "mask": (mask.shape, str(mask.dtype))}
        assert source.probe(sample) == Header(kinds)


@pytest.mark.parametrize(
    "samples",
    [
        pairs(),
        (sample for sample in pairs()),
        iter(pairs()),
        zip(IMAGES.tolist(), (MASKS > 5).tolist(), strict=True),
        ByNumber(pairs()),
        ByNumber(named()),
        Streaming(pairs()),
        [list(sample) for sample in pairs()],
        map(tuple, pairs()),
        [(f"c{row}", *sample) for row, sample in enumerate(pairs())],
        named(),
    ],
)
def test_any_sequence_iterable_or_dataset_is_taken(samples):
    with source_of_samples(samples, ".") as source:
        if source.keys[0] == "c0":
            assert source.keys == ["c0", "c1", "c2", "c3", "c4"]
            assert source.names(1) == ("samples[1] (c1) image", "samples[1] (c1) mask")
        else:
            assert source.keys[4] == "00000004"
            assert source.names(1) == ("samples[1] image", "samples[1] mask")
        if source.probe(0).image.dtype == "uint8":
            require_samples(source)
        else:
            require_samples(source, IMAGES, MASKS > 5)


def test_a_source_is_itself(save):
    save(Path("i/x.png"), IMAGES[0])
    save(Path("m/x.png"), MASKS[0])
    folders = PairedFolders("i", "m")
    with source_of_samples(folders, "none") as source:
        assert source is folders


def test_a_class_with_the_methods_of_a_source_is_told_to_be_one(tmp_path):
    class Cells:
        keys = probe = read = ()

    with pytest.raises(SourceError, match=r"write class Cells\(zarrfeed_convert.Source\)"):
        convert(Cells(), tmp_path / "o", split="s")


def test_iterables_are_packed_by_any_number_of_workers(tmp_path):
    for workers in (1, 2):
        with source_of_samples((sample for sample in named()), tmp_path) as source:
            convert(source, tmp_path / f"{workers}", split="s", workers=workers)
        split = zarr.open_group(str(tmp_path / f"{workers}" / "s"), mode="r")
        rows = [int(bytes(key).decode()[1]) for key in split["key"][:]]
        assert sorted(rows) == [0, 1, 2, 3, 4]
        np.testing.assert_array_equal(split["image"][:], IMAGES[rows])
        np.testing.assert_array_equal(split["mask"][:], MASKS[rows])


def test_the_spool_is_gone_when_the_conversion_ends_or_fails():
    with source_of_samples(pairs(), "not/there") as source:
        [spool] = Path().iterdir()
        assert spool.stat().st_size == IMAGES.nbytes + MASKS.nbytes
    assert not list(Path().iterdir())
    with pytest.raises(SourceError, match=r"^samples\[0\] image: cannot be read: .*No such file"):
        source.read(0)

    def failing():
        yield from pairs()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), source_of_samples(failing(), "."):
        pass
    with pytest.raises(ZeroDivisionError), source_of_samples(pairs(), "."):
        1 / 0  # noqa: B018
    assert not list(Path().iterdir())


def test_the_same_samples_are_the_same_source_and_others_are_not():
    def described(samples):
        with source_of_samples(samples, ".") as source:
            return source.describe()

    same = described(pairs())
    assert same == described(iter(pairs()))
    assert same["kind"] == "samples"
    assert same["facts"]["samples"] == 5
    changed = IMAGES.copy()
    changed[4, 11, 9, 2] ^= 1
    assert same != described(zip(changed, MASKS, strict=True))
    assert same != described([(f"{row}", *sample) for row, sample in enumerate(pairs())])
    with pytest.raises(SourceError, match="cannot be opened again"):
        source_of(same)


def test_samples_of_different_kinds_are_each_what_they_are():
    samples = [
        (np.zeros((4, 6)), np.ones((4, 6), bool)),
        (np.full((8, 2, 3), 300, np.int32), np.full((8, 2, 1), 400)),
        (np.full((2, 2, 1), 70, ">u2"), np.full((2, 2), 2.0)),
    ]
    with source_of_samples(samples, ".") as source:
        headers = [source.probe(sample) for sample in range(3)]
        assert headers == [
            Header({"image": ((4, 6, 1), "float64"), "mask": ((4, 6), "uint8")}),
            Header({"image": ((8, 2, 3), "int32"), "mask": ((8, 2), "uint16")}),
            Header({"image": ((2, 2, 1), "uint16"), "mask": ((2, 2), "uint8")}),
        ]
        assert [str(source.read_mask(sample).dtype) for sample in range(3)] == [
            "uint8",
            "uint16",
            "uint8",
        ]
        assert source.read(1)[0][7, 1, 2] == 300
        assert source.read_mask(1)[7, 1] == 400


def test_pillow_images_are_shown_and_palettes_of_masks_are_ids():
    palette = Image.fromarray(MASKS[0]).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    alpha = Image.fromarray(IMAGES[0]).convert("RGBA")
    samples = [
        (Image.fromarray(IMAGES[0]), palette),
        (palette, Image.fromarray(MASKS[0] > 0)),
        (Image.fromarray(IMAGES[0]).convert("CMYK"), Image.fromarray(MASKS[0])),
        (alpha, Image.fromarray(MASKS[0].astype(np.uint16))),
        (Image.fromarray(MASKS[0] > 0), MASKS[0]),
    ]
    with source_of_samples(samples, ".") as source:
        image, mask = source.read(0)
        np.testing.assert_array_equal(image, IMAGES[0])
        np.testing.assert_array_equal(mask, MASKS[0])
        image, mask = source.read(1)
        np.testing.assert_array_equal(image, np.array([10, 40, 70])[MASKS[0], None] + [0, 10, 20])
        np.testing.assert_array_equal(mask, MASKS[0] > 0)
        assert [source.probe(sample).channels for sample in range(5)] == [3, 3, 3, 4, 1]
        assert source.read(4)[0].max() == 255


def test_tensors_are_arrays():
    torch = pytest.importorskip("torch")
    samples = [(torch.tensor(image), torch.tensor(mask).long()) for image, mask in pairs()]
    with source_of_samples(ByNumber(samples), ".") as source:
        require_samples(source)
    first = torch.tensor(IMAGES[0]).permute(2, 0, 1)
    with (
        pytest.raises(
            SourceError, match=r"^samples\[0\] image: .*\(3, 12, 10\); put the channels l"
        ),
        source_of_samples([(first, samples[0][1])], "."),
    ):
        pass


GOOD = (IMAGES[0], MASKS[0])


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (
            (IMAGES[0],),
            "samples[1]: needed (image, mask), (key, image, mask) or {'image': …, 'mask",
        ),
        ((IMAGES[0],), "found tuple of 1; give an image without a mask as {'image': image}"),
        ((IMAGES[0], None), "samples[1] mask: needed an array, found None; if there are no masks,"),
        (("k", IMAGES[0], None), "samples[1] mask: needed an array, found None; if there are no"),
        ({"image": IMAGES[0], "mask": None}, "leave them out of every sample: {'image': image}"),
        ((1, 2, 3, 4), "found tuple of 4"),
        (IMAGES[0], "found ndarray; give an image without a mask as {'image': image}"),
        (
            {"image": IMAGES[0], "city": "Ulm"},
            "samples[1]: needed image, mask, as samples[0] has, found image",
        ),
        ((3, *GOOD), "samples[1]: needed a text as key, found int 3"),
        ((None, *GOOD), "needed a text as key, found None"),
        (("", *GOOD), "needed a text as key, found str ''"),
        (("00000000", *GOOD), "samples[1] (00000000): needed a key of its own, found '00000000' a"),
        (("k", IMAGES[0][:5], MASKS[0]), "samples[1] (k) image: needed 12x10 pixels as the mask h"),
        ((IMAGES[0][0, 0], MASKS[0]), "an image is (H, W) or (H, W, C)"),
        ((IMAGES[0][..., :0], MASKS[0]), "found the shape (12, 10, 0)"),
        (
            (IMAGES[0], IMAGES[0]),
            "samples[1] mask: needed class ids (H, W), found the shape (12, 1",
        ),
        ((IMAGES[0], MASKS[0][:0]), "found the shape (0, 10)"),
        ((IMAGES[0], MASKS[0] / 2), "samples[1] mask: needed a mask of class ids, found values l"),
        ((IMAGES[0], MASKS[0] * 70000.0), "samples[1] mask: needed mask values within 0 … 65535"),
        ((IMAGES[0] * 1j, MASKS[0]), "samples[1] image: needed an array of numbers, found complex"),
        (
            (IMAGES[0].astype(int) * 10**9, MASKS[0]),
            "samples[1] image: needed integers that int32 holds, found",
        ),
        (("a.png", "b.png"), "samples[1] image: needed an array, found str 'a.png'; decode it"),
        ((None, MASKS[0]), "samples[1] image: needed an array, found NoneType None"),
        (
            ([[1, 2], [3]], MASKS[0]),
            "samples[1] image: needed what numpy.asarray takes, found list",
        ),
    ],
)
def test_a_sample_that_is_none_is_named_at_once(sample, said):
    reached = []

    def samples():
        yield GOOD
        yield sample
        reached.append(1)

    with pytest.raises(SourceError) as error, source_of_samples(samples(), "."):
        pass
    assert said in str(error.value)
    assert not reached
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([], "samples: needed at least one, found none"),
        ("images", "found str 'images'; for folders of files use PairedFolders"),
        ({"a": GOOD}, "found dict"),
        (3, "found int"),
    ],
)
def test_what_holds_no_samples_is_refused(samples, said):
    with pytest.raises(SourceError) as error, source_of_samples(samples, "."):
        pass
    assert said in str(error.value)


def test_progress_is_told_after_every_sample():
    for samples, total in ((pairs(), [5] * 5), (iter(pairs()), [1, 2, 3, 4, 5])):
        told = []
        with source_of_samples(samples, ".", progress=lambda *said, told=told: told.append(said)):
            pass
        assert [done for _, done, _ in told] == [1, 2, 3, 4, 5]
        assert [all_of_them for _, _, all_of_them in told] == total
        assert {what for what, _, _ in told} == {"taking samples"}


def test_the_spool_of_a_run_that_was_killed_is_removed_by_the_next():
    left = Path(f".zarrfeed-spool-{platform.node()}-abc.spool")
    young, others = left.with_stem(left.stem + "d"), Path(".zarrfeed-spool-elsewhere-abc.spool")
    for path in (left, young, others):
        path.write_bytes(b"pixels")
    for path in (left, others):
        os.utime(path, (0, 0))
    with source_of_samples(pairs(), "."):
        assert {*Path().iterdir()} > {young, others}
        assert not left.exists()
        [mine] = {*Path().iterdir()} - {young, others}
        os.utime(mine, (0, 0))
        with source_of_samples(pairs(), ".") as source:  # at the same time
            assert mine.exists()
            source.read(0)
    assert {*Path().iterdir()} == {young, others}


def test_a_full_disk_is_an_error_that_says_where(monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    full = [(np.zeros((3000, 3000)), np.zeros((3000, 3000)))]

    def spool(*_):
        Path("spool").touch()
        return os.open("/dev/full", os.O_WRONLY), "spool"

    monkeypatch.setattr("tempfile.mkstemp", spool)
    with (
        pytest.raises(SourceError, match=r"^samples\[0\]: cannot be kept in .*: No space left"),
        source_of_samples(full, "."),
    ):
        pass


@given(
    shapes=st.sampled_from([2, 3]).flatmap(
        lambda axes: st.lists(
            st.tuples(*[st.integers(1, 9)] * axes, st.integers(1, 4)), min_size=1, max_size=9
        )
    ),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
)
def test_a_spool_gives_back_what_was_put_in(tmp_path_factory, shapes, dtype):
    rng = np.random.default_rng(len(shapes))
    images = [(rng.random(shape) * 200).astype(dtype) for shape in shapes]
    masks = [rng.integers(0, 4, shape[:-1], np.uint8) for shape in shapes]
    folder = tmp_path_factory.mktemp("spool")
    with source_of_samples(zip(images, masks, strict=True), folder) as source:
        require_samples(source, images, masks)
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "more", [np.zeros((4, 4), np.float32), [[0, 0, 3, 3]], Image.new("L", (4, 4))]
)
def test_arrays_that_are_no_maps_of_the_image_are_refused(tmp_path, more):
    sample = {"image": IMAGES[0], "mask": MASKS[0], "key": "a", "depth": more}
    with (
        pytest.raises(
            SourceError, match=r"samples\[0\] \(a\) depth: needed 12x10 pixels as the image"
        ),
        source_of_samples([sample], tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    "about", ["a.png", b"a.png", Path("a.png"), None, ["night", "rain"], (), ("night",)]
)
def test_texts_beside_the_arrays_are_left_out(tmp_path, about):
    sample = {"image": IMAGES[0], "mask": MASKS[0], "about": about}
    with source_of_samples([sample], tmp_path) as source:
        assert [field.name for field in source.fields] == ["image", "mask"]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.float32(2), "the number 2.0; give every pixel its number, like np.full(mask.shape, 2"),
        (3, "the number 3; give every pixel its number, like np.full(mask.shape, 3), or leave 'w'"),
        (True, "the number True;"),
        (np.array(1), "the number 1;"),
        ({"a": 1}, "dict; leave 'w' out of the mapping"),
        ({"night"}, "set; leave 'w' out of the mapping"),
    ],
)
def test_an_entry_that_cannot_be_packed_is_not_dropped(tmp_path, value, found):
    sample = {"image": IMAGES[0], "mask": MASKS[0], "w": value}
    with pytest.raises(SourceError) as error, source_of_samples([sample], tmp_path):
        pass
    assert str(error.value).startswith(
        f"samples[0] w: needed an array with the pixels of the image, found {found}"
    )


def test_the_advice_for_a_number_packs_it(tmp_path):
    sample = {"image": IMAGES[0], "w": 2.5}
    with pytest.raises(SourceError, match=r"like np.full\(image.shape\[:-1\], 2.5\)"):
        convert([sample], tmp_path / "o", split="s")
    image = sample["image"]
    convert([{**sample, "w": np.full(image.shape[:-1], 2.5)}], tmp_path / "o", split="s", workers=1)
    assert (zarr.open_group(str(tmp_path / "o/s"))["w"][:] == 2.5).all()


@pytest.mark.parametrize("name", ["masks", "Mask", "MASK", "mmask", "label", "labels"])
def test_another_name_of_the_mask_is_not_packed_as_something_else(tmp_path, name):
    sample = {"image": IMAGES[0], name: MASKS[0]}
    with (
        pytest.raises(SourceError, match=rf"found '{name}' and no 'mask': did you mean 'mask'\?"),
        source_of_samples([sample], tmp_path),
    ):
        pass
    with source_of_samples([sample | {"mask": MASKS[0]}], tmp_path) as source:
        assert [field.name for field in source.fields] == ["image", "mask", name]


def test_another_name_of_the_image_is_found(tmp_path):
    with (
        pytest.raises(SourceError, match="needed an entry 'image', found images, mask; rename 'im"),
        source_of_samples([{"images": IMAGES[0], "mask": MASKS[0]}], tmp_path),
    ):
        pass
