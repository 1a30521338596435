"""KITTI and Mapillary Vistas are read in the layouts in which they are published."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from annotated import HEIGHT, WIDTH, put, write_image
from source_contract import require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert.formats import open_source

IDS = np.random.default_rng(1).integers(0, 34, (HEIGHT, WIDTH)).astype(np.uint8)


def save(path, ids, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids)
    if palette is not None:
        image.putpalette(palette)
    image.save(path)


class TestKitti:
    @pytest.fixture
    def folder(self, tmp_path):
        self.image = write_image(tmp_path / "training/image_2/000000_10.png")
        save(tmp_path / "training/semantic/000000_10.png", IDS)
        write_image(tmp_path / "testing/image_2/000001_10.png", 1)
        return tmp_path

    def test_masks_are_train_ids(self, folder):
        source = open_source("kitti", {"images": str(folder)})
        mask = source.read_mask(0)
        assert source.classes[:2] == ("road", "sidewalk")
        assert source.ignore == 255
        # Of the official table of Cityscapes: id 7 is road (0), 26 is car (13), 0 is unlabelled.
        assert set(mask[IDS == 7].tolist()) == {0}
        assert set(mask[IDS == 26].tolist()) == {13}
        assert set(mask[IDS == 0].tolist()) == {255}

    def test_all_ids_can_be_kept(self, folder):
        source = open_source("kitti", {"images": str(folder), "labels": "all"})
        require_source(source, [self.image], [IDS])

    def test_the_test_set_has_images_alone(self, folder):
        source = open_source("kitti", {"images": str(folder), "subset": "test"})
        assert [field.name for field in source.fields] == ["image"]

    def test_a_list_of_colours_names_other_classes(self, folder):
        put(folder / "label_colors.txt", "0 0 0 background\n255 0 0 cell\n")
        save(folder / "training/semantic/000000_10.png", IDS % 2)
        source = open_source("kitti", {"images": str(folder)})
        assert source.classes == ("background", "cell")
        np.testing.assert_array_equal(source.read_mask(0), IDS % 2)

    def test_other_folders_are_refused(self, tmp_path):
        with pytest.raises(SourceError, match="needed training/image_2/, training/semantic/"):
            open_source("kitti", {"images": str(tmp_path)})


class TestMapillary:
    LABELS = (
        {"name": "animal--bird", "readable": "Bird", "color": [165, 42, 42], "instances": True},
        {"name": "void--car-mount", "readable": "Car Mount", "color": [32, 32, 32]},
        {"name": "void--unlabeled", "readable": "Unlabeled", "color": [0, 0, 0]},
    )
    COLORS = (165, 42, 42, 32, 32, 32, 0, 0, 0)

    @pytest.fixture
    def folder(self, tmp_path):
        self.image = write_image(tmp_path / "training/images/a.png")
        for version in ("v1.2", "v2.0"):
            listed = self.LABELS if version == "v2.0" else self.LABELS[1:]
            put(tmp_path / f"config_{version}.json", {"labels": list(listed), "version": "x"})
        save(tmp_path / "training/v2.0/labels/a.png", IDS % 3, self.COLORS)
        save(tmp_path / "training/v1.2/labels/a.png", IDS % 2, self.COLORS[3:])
        write_image(tmp_path / "testing/images/b.png")
        return tmp_path

    def test_indices_of_the_palette_are_ids(self, folder):
        source = open_source("mapillary", {"images": str(folder)})
        require_source(source, [self.image], [IDS % 3])
        assert source.classes == ("animal--bird", "void--car-mount")
        assert source.ignore == 2

    def test_an_older_version_can_be_chosen(self, folder):
        source = open_source("mapillary", {"images": str(folder), "version": "v1.2"})
        assert source.classes == ("void--car-mount",)
        np.testing.assert_array_equal(source.read_mask(0), IDS % 2)

    def test_the_layout_before_version_2_is_read(self, tmp_path):
        write_image(tmp_path / "validation/images/a.png")
        put(tmp_path / "config.json", {"labels": list(self.LABELS)})
        save(tmp_path / "validation/labels/a.png", IDS % 3, self.COLORS)
        source = open_source("mapillary", {"images": str(tmp_path), "subset": "val"})
        np.testing.assert_array_equal(source.read_mask(0), IDS % 3)

    def test_the_test_set_has_images_alone(self, folder):
        source = open_source("mapillary", {"images": str(folder), "subset": "test"})
        assert [field.name for field in source.fields] == ["image"]

    @pytest.mark.parametrize(
        "text",
        ["", "{}", '{"labels": []}', '{"labels": [{"name": "a"}]}',
         '{"labels": [{"name": "a", "color": [0, 0, 256]}]}',
         json.dumps({"labels": [{"name": "a", "color": [0, 0, 0]}] * 2})],
    )  # fmt: skip
    def test_damaged_lists_of_classes_are_refused_by_name(self, folder, text):
        put(folder / "config_v2.0.json", text)
        with pytest.raises(SourceError, match=r"config_v2.0.json"):
            open_source("mapillary", {"images": str(folder)})

    def test_a_version_that_is_not_there_is_refused(self, tmp_path):
        write_image(tmp_path / "training/images/a.png")
        with pytest.raises(SourceError, match=r"found no .*training/v2.0/labels"):
            open_source("mapillary", {"images": str(tmp_path), "version": "v2.0"})
