"""What is a folder and a subset to the user is the right pairs, ids and names to the packer."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import zarr
from PIL import Image

from zarrfeed.errors import SourceError
from zarrfeed_convert import convert
from zarrfeed_convert.formats import open_source, source_of
from zarrfeed_convert.source import IMAGES_ONLY, PAIR
from zarrfeed_convert.sources.class_files import voc_color
from zarrfeed_convert.sources.image_files.camvid import CAMVID_COLORS, CamVid
from zarrfeed_convert.sources.image_files.cityscapes import CITYSCAPES_19, CITYSCAPES_34, Cityscapes
from zarrfeed_convert.sources.image_files.voc import Voc

SIZE = (6, 8)
# trainId of every id from 0 on, as cityscapesscripts.helpers.labels lists them.
TRAIN_IDS = [
    *[255] * 7, 0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
    255, 255, 16, 17, 18,
]  # fmt: skip


def save(path, values, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette is not None:
        image.putpalette(palette)
    image.save(path)
    return values


def photo(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def ids_up_to(count, seed=0):
    ids = np.random.default_rng(seed).integers(0, count, SIZE).astype(np.uint8)
    ids.flat[:count] = range(count)
    return ids


def channels_of(colors):
    return np.array([[color >> 16, color >> 8 & 255, color & 255] for color in colors], np.uint8)


def require_same(source, again):
    assert again.describe() == source.describe()
    assert list(again.keys) == list(source.keys)
    assert (again.classes, again.ignore) == (source.classes, source.ignore)
    for sample in range(len(source.keys)):
        assert again.names(sample) == source.names(sample)
        assert again.probe(sample) == source.probe(sample)


def require_alone(source, images):
    """Require that a source has these images, and nothing else of them."""
    assert (source.fields, source.classes, source.ignore) == (IMAGES_ONLY, None, None)
    assert source.left_out == []
    for sample, image in enumerate(images):
        (found,) = source.read(sample)
        np.testing.assert_array_equal(found, image)
        assert source.probe(sample).mask is None
    require_travels(source)


def require_travels(source):
    require_same(source, source_of(source.describe()))
    require_same(source, pickle.loads(pickle.dumps(source)))


class TestCamVid:
    @pytest.fixture
    def root(self, tmp_path):
        self.colors = channels_of([*CAMVID_COLORS.values(), 0])
        for name in ("b", "a"):
            save(tmp_path / f"segnet/val/{name}.png", photo())
            save(tmp_path / f"segnet/valannot/{name}.png", ids_up_to(12))
            for images, masks in (("train", "train_labels"), ("701_StillsRaw_full",) * 2):
                masks = masks.replace("701_StillsRaw_full", "LabeledApproved_full")
                folder = tmp_path / ("kaggle" if images == "train" else "full")
                save(folder / images / f"{name}.png", photo())
                save(folder / masks / f"{name}_L.png", self.colors[ids_up_to(32)])
        return tmp_path

    def test_index_masks_are_11_classes_and_one_to_ignore(self, root):
        source = CamVid(root / "segnet", subset="val")
        assert source.keys == ["a", "b"]
        assert source.classes is not None
        assert (len(source.classes), source.classes[10], source.ignore) == (11, "Bicyclist", 11)
        image, mask = source.read(0)
        np.testing.assert_array_equal(image, photo())
        np.testing.assert_array_equal(mask, ids_up_to(12))
        require_travels(source)

    @pytest.mark.parametrize(("folder", "subset"), [("kaggle", "train"), ("full", "all")])
    def test_colour_masks_are_31_classes_and_void(self, root, folder, subset):
        source = CamVid(root / folder, subset=subset)
        expected = ids_up_to(32)
        expected[expected == 31] = 255
        np.testing.assert_array_equal(source.read_mask(1), expected)
        assert source.classes == tuple(CAMVID_COLORS)
        assert source.ignore == 255
        require_travels(source)

    def test_test_sets_without_masks_are_images_alone(self, root):
        for folder in ("segnet", "kaggle"):
            save(root / folder / "test/c.png", photo(3))
            require_alone(CamVid(root / folder, subset="test"), [photo(3)])
            with pytest.raises(SourceError, match="needed test/, testannot/ or test/, test_lab"):
                CamVid(root / folder, subset="test", mask_map="1=0")
        save(root / "segnet/testannot/c.png", ids_up_to(12))
        assert CamVid(root / "segnet", subset="test").fields == PAIR
        for folder, subset in (("segnet", "val"), ("kaggle", "train"), ("full", "all")):
            require_alone(CamVid(root / folder, "none", subset=subset), [photo()] * 2)

    def test_its_own_colours_are_those_of_its_list(self):
        assert len(set(CAMVID_COLORS.values())) == 31
        assert list(CAMVID_COLORS) == sorted(CAMVID_COLORS, key=str.lower)
        assert channels_of([CAMVID_COLORS["Bicyclist"]]).tolist() == [[0, 128, 192]]

    def test_a_mask_map_stands_in_for_what_is_known(self, root):
        source = CamVid(root / "kaggle", mask_map="#804080=1,*=0", color="grey")
        road = list(CAMVID_COLORS).index("Road")
        np.testing.assert_array_equal(source.read_mask(0), ids_up_to(32) == road)
        assert (source.classes, source.ignore) == (None, None)
        assert source.probe(0).channels == 1
        require_travels(source)

    def test_what_is_not_there_is_named_with_what_is(self, root):
        with pytest.raises(SourceError, match=r"trainannot/ or train/, train_labels/, found val/"):
            CamVid(root / "segnet")
        with pytest.raises(SourceError, match=f"it lies in {root / 'segnet'}: give that"):
            CamVid(root, subset="val")
        with pytest.raises(SourceError, match="found no folder nowhere"):
            CamVid("nowhere")
        with pytest.raises(SourceError, match="option subset: needed all, found 'train'"):
            CamVid(root / "full")
        with pytest.raises(SourceError, match="option subset: needed one of train, val, test, all"):
            CamVid(root, subset="validation")
        with pytest.raises(SourceError, match="leave --masks out"):
            CamVid(root / "segnet", "masks", subset="val")

    def test_files_without_partner_and_damaged_ones_are_named(self, root):
        (root / "segnet/valannot/a.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
        source = CamVid(root / "segnet", subset="val")
        for read in (source.probe, source.read, source.read_mask):
            with pytest.raises(SourceError, match=r"^[^:]*valannot/a\.png: cannot be decoded"):
                read(0)
        (root / "segnet/valannot/a.png").unlink()
        alone = CamVid(root / "segnet", subset="val")
        assert alone.keys == ["b"]
        assert alone.left_out == [(str(root / "segnet/val/a.png"), "this image has no mask")]

    def test_the_real_one_is_what_pillow_reads(self, camvid, tmp_path):
        source = CamVid(camvid, subset="val")
        assert len(source.keys) == 101
        for sample in range(0, 101, 20):
            image, mask = source.read(sample)
            for values, path in zip((image, mask), source.names(sample), strict=True):
                np.testing.assert_array_equal(values, np.array(Image.open(path)))
            assert source.probe(sample).size[0] == mask.shape[0] == 360


class TestCityscapes:
    @pytest.fixture
    def root(self, tmp_path):
        for city, name in (("bonn", "bonn_0_1"), ("ulm", "ulm_0_2")):
            save(tmp_path / f"leftImg8bit/train/{city}/{name}_leftImg8bit.png", photo())
            masks = tmp_path / f"gtFine/train/{city}"
            save(masks / f"{name}_gtFine_labelIds.png", ids_up_to(34))
            save(masks / f"{name}_gtFine_color.png", photo())
            save(masks / f"{name}_gtFine_instanceIds.png", ids_up_to(40).astype(np.uint16))
            (masks / f"{name}_gtFine_polygons.json").write_text("{}")
        return tmp_path

    def test_label_ids_become_the_19_train_ids(self, root):
        source = Cityscapes(root)
        assert source.keys == ["bonn/bonn_0_1", "ulm/ulm_0_2"]
        np.testing.assert_array_equal(
            source.read_mask(0), np.array(TRAIN_IDS, np.uint8)[ids_up_to(34)]
        )
        assert (source.classes, source.ignore) == (CITYSCAPES_19, 255)
        assert source.describe()["facts"] == {"masks": "gtFine_labelIds"}
        require_travels(source)

    def test_names_go_with_ids(self):
        trained = [number for number in range(34) if TRAIN_IDS[number] != 255]
        assert tuple(CITYSCAPES_34[number] for number in trained) == CITYSCAPES_19

    def test_train_ids_are_read_where_all_masks_have_them(self, root):
        ready = np.full(SIZE, 18, np.uint8)
        save(root / "gtFine/train/bonn/bonn_0_1_gtFine_labelTrainIds.png", ready)
        assert Cityscapes(root).read_mask(0)[0, 0] == 255
        save(root / "gtFine/train/ulm/ulm_0_2_gtFine_labelTrainIds.png", ready)
        source = Cityscapes(root)
        np.testing.assert_array_equal(source.read_mask(0), ready)
        assert source.names(0)[1].endswith("_gtFine_labelTrainIds.png")

    def test_all_ids_are_kept_when_asked_for(self, root):
        source = Cityscapes(root, labels="all")
        np.testing.assert_array_equal(source.read_mask(1), ids_up_to(34))
        assert (source.classes, source.ignore) == (CITYSCAPES_34, None)
        require_travels(source)

    def test_coarse_annotations_have_a_folder_of_their_own(self, root):
        for city, name in (("bonn", "bonn_0_1"), ("ulm", "ulm_0_2")):
            path = root / f"gtCoarse/train/{city}/{name}_gtCoarse_labelIds.png"
            save(path, np.full(SIZE, 7, np.uint8))
        source = Cityscapes(root, annotations="gtCoarse")
        assert source.read_mask(0).tolist() == np.zeros(SIZE, int).tolist()
        require_travels(source)

    def test_test_sets_without_masks_are_images_alone(self, root):
        save(root / "leftImg8bit/test/berlin/berlin_0_1_leftImg8bit.png", photo(3))
        alone = Cityscapes(root, subset="test")
        require_alone(alone, [photo(3)])
        assert (alone.keys, alone.remarks) == (["berlin/berlin_0_1"], ())
        dummy = np.zeros(SIZE, np.uint8)
        save(root / "gtFine/test/berlin/berlin_0_1_gtFine_labelIds.png", dummy)
        packed = Cityscapes(root, subset="test")
        assert packed.read_mask(0).min() == packed.ignore
        [(what, _, why)] = packed.remarks
        assert (what, "--masks none" in why) == ("masks of test", True)
        require_alone(Cityscapes(root, "none", subset="test"), [photo(3)])

    def test_what_is_not_there_is_named(self, root):
        with pytest.raises(SourceError, match="needed leftImg8bit/val/, gtFine/val/"):
            Cityscapes(root, subset="val")
        with pytest.raises(SourceError, match="option labels: needed one of train, all"):
            Cityscapes(root, labels="19")
        (root / "gtFine/train/ulm/ulm_0_2_gtFine_labelIds.png").unlink()
        [(name, _)] = Cityscapes(root).left_out
        assert name.endswith("ulm_0_2_leftImg8bit.png")


class TestVoc:
    palette = bytes(channels_of(map(voc_color, range(256))).ravel())

    @pytest.fixture
    def root(self, tmp_path):
        root = tmp_path / "VOCdevkit/VOC2012"
        ids = ids_up_to(21)
        ids[-1] = 255
        for name in ("2007_2", "2007_1", "unlisted"):
            save(root / f"JPEGImages/{name}.jpg", photo())
            save(root / f"SegmentationClass/{name}.png", ids, self.palette)
        lists = root / "ImageSets/Segmentation"
        lists.mkdir(parents=True)
        (lists / "val.txt").write_text("2007_2\n2007_1\n\n2007_1 \n")
        self.ids = ids
        return root

    def test_palette_masks_are_their_indices(self, root):
        source = Voc(root, subset="val")
        assert source.keys == ["2007_1", "2007_2"]
        image, mask = source.read(1)
        np.testing.assert_array_equal(mask, self.ids)
        np.testing.assert_array_equal(image, np.array(Image.open(source.names(1)[0])))
        assert source.classes is not None
        assert (len(source.classes), source.classes[15], source.ignore) == (21, "person", 255)
        assert source.left_out == []
        require_travels(source)

    def test_grey_and_colour_masks_mean_the_same(self, root):
        path = root / "SegmentationClass/2007_1.png"
        save(path, self.ids)
        np.testing.assert_array_equal(Voc(root, subset="val").read_mask(0), self.ids)
        colors = np.frombuffer(self.palette, np.uint8).reshape(256, 3)[self.ids]
        save(path, colors)
        np.testing.assert_array_equal(Voc(root, subset="val").read_mask(0), self.ids)

    def test_files_that_are_not_there_are_left_out(self, root):
        (root / "JPEGImages/2007_2.jpg").unlink()
        source = Voc(root, subset="val")
        assert source.keys == ["2007_1"]
        [(name, why)] = source.left_out
        assert name == str(root / "JPEGImages/2007_2.jpg")
        assert why == "val.txt names it, but the file is missing"
        (root / "SegmentationClass/2007_1.png").unlink()
        with pytest.raises(SourceError, match=r"found none .* missing is .*2007_2\.jpg"):
            Voc(root, subset="val")

    def test_test_sets_without_masks_are_images_alone(self, root):
        save(root / "JPEGImages/2008_1.jpg", photo())
        (root / "ImageSets/Segmentation/test.txt").write_text("2008_1\n")
        shown = np.array(Image.open(root / "JPEGImages/2008_1.jpg"))
        require_alone(Voc(root, subset="test"), [shown])
        require_alone(Voc(root, "none", subset="val"), [shown] * 2)
        for mask in (root / "SegmentationClass").iterdir():
            mask.unlink()
        (root / "SegmentationClass").rmdir()
        require_alone(Voc(root, subset="test"), [shown])
        with pytest.raises(SourceError, match="needed JPEGImages/, SegmentationClass/, ImageSets"):
            Voc(root, subset="val")
        save(root / "SegmentationClass/2008_1.png", self.ids)
        assert Voc(root, subset="test").fields == PAIR

    def test_lists_of_sbd_name_paths(self, root):
        lists = root / "ImageSets/Segmentation"
        (lists / "aug.txt").write_text("/JPEGImages/2007_1.jpg /SegmentationClassAug/2007_1.png\n")
        save(root / "SegmentationClassAug/2007_1.png", np.full(SIZE, 20, np.uint8))
        source = Voc(root, subset="aug", annotations="SegmentationClassAug")
        assert source.read_mask(0).min() == 20
        require_travels(source)

    def test_what_is_not_there_is_named(self, root):
        with pytest.raises(SourceError, match=r"found 'train', .*-o subset=…, choose from val"):
            Voc(root)
        with pytest.raises(SourceError, match=r"it lies in .*VOC2012: give that"):
            Voc(root.parent)
        (root / "ImageSets/Segmentation/none.txt").touch()
        with pytest.raises(SourceError, match="found an empty list"):
            Voc(root, subset="none")

    def test_a_file_that_has_gone_since_is_named(self, root):
        source = Voc(root, subset="val")
        (root / "JPEGImages/2007_1.jpg").unlink()
        for read in (source.probe, source.read):
            with pytest.raises(SourceError, match=r"^[^:]*2007_1\.jpg: cannot be decoded"):
                read(0)

    def test_it_packs(self, root, tmp_path):
        source = open_source("voc", {"images": str(root), "subset": "val"})
        convert(source, tmp_path / "o", split="val", workers=1)
        root_attributes = zarr.open_group(str(tmp_path / "o"), mode="r").attrs["zarrfeed"]
        assert root_attributes["classes"] == list(source.classes)
        assert root_attributes["ignore"] == 255
        split = zarr.open_group(str(tmp_path / "o/val"), mode="r")
        np.testing.assert_array_equal(split["mask"][:], [self.ids] * 2)
