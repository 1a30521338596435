"""Subjects are found by their names, and numbers of images are not taken for subjects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odd_samples import pack_cases, pack_samples, striped, textured
from zarrfeed_tools.report.collection import collect_facts
from zarrfeed_tools.report.subjects import parts_of, subject_of, subject_parts


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("patient_07_slice_3", "patient_07"),
        ("patient 7/slice 3", "patient 7"),
        ("P07_S3", "P07"),
        ("patient_07_left", "patient_07"),
        ("p/Case07-od", "p/Case07"),
        ("case_00012/img_3", "case_00012"),
        ("volume-3_slice_45", "volume-3"),
        ("LIDC-IDRI-0001_slice_3", "LIDC-IDRI-0001"),
        ("TCGA_CS_4941_19960909_1", "TCGA_CS_4941"),
        ("0016E5_00390", "0016E5"),  # CamVid: frames of one film
        ("aachen_000000_000019", "aachen_000000"),  # Cityscapes
        ("2011_09_26_drive_0001_sync_0000000005", "2011_09_26_drive_0001"),  # KITTI
        ("GOPR0384_11_00-000001", "GOPR0384"),
        ("train/p07/3", "p07"),
        ("Straße_12_bild_3", "Straße_12"),
        ("\u0130_12_3", "\u0130_12"),  # its lower case has two letters
    ],
)
def test_a_subject_is_the_part_of_a_name_before_the_number_of_its_images(name, subject):
    assert subject_of(name) == subject
    assert subject_parts(name)


@pytest.mark.parametrize(
    "name",
    [
        "image_001", "img001", "0001", "000000000139", "liver_3", "scan_12", "town/images/1", "",
        "2007_000027", "IMG_20190131_123456", "train2017_000123", "20190131T120000_3", "12_3",
        "tile_3_7", "x_12_y_30", "img_1024x768_3", "lat_12.34_lon_56.78", "fold_1_img_003",
        "T1w_001", "S2A_3_1", "P07S3", "_", "###", "\x1b[m_1", "\udcff_1_",
        "isic_0024306", "crop_2_of_3", "batch 3/0007", "test/0001", "v2_0003",
    ],
)  # fmt: skip
def test_numbers_dates_and_places_are_no_subjects(name):
    assert subject_of(name) == ""
    assert subject_parts(name) == ()


def test_what_all_names_share_is_no_subject():
    assert subject_of("BraTS20_Training_001_12") == "BraTS20"
    shared = {"brats20", "training"}
    assert subject_of("BraTS20_Training_001_12", shared) == "BraTS20_Training_001"
    assert subject_of("MOD09_0001", {"mod09"}) == ""


@settings(max_examples=50)
@given(st.text(max_size=20), st.text("01_a/-", max_size=12), st.booleans())
def test_a_subject_is_the_beginning_of_any_name(name, more, also):
    name = f"{name}{more}"
    shared = frozenset(parts_of(name)[:1]) if also else frozenset()
    subject = subject_of(name, shared)
    assert subject in name
    assert tuple(parts_of(subject)) == subject_parts(name, shared)


def leaks(store):
    leakage = collect_facts(store).leakage
    names = [
        sorted(group.what for group in grouping.groups)
        for grouping in (leakage.same_keys, leakage.same_prefixes)
    ]
    assert leakage.count == sum(map(len, names))
    return *names, leakage.numbered


def pack(store, **splits):
    """Pack splits of different images with the given keys."""
    for number, (split, keys) in enumerate(splits.items()):
        pixels = {
            key: (textured(100 * number + place), striped([0, 1, 2]))
            for place, key in enumerate(keys)
        }
        pack_samples(store, split, pixels)
    return store


def test_images_of_one_patient_in_two_splits_are_leakage(tmp_path):
    store = pack(
        tmp_path / "o.zarr",
        train=["patient_07_slice_3", "patient_07_slice_4", "patient_08_slice_1"],
        val=["patient_07_slice_9", "patient_09_slice_1"],
    )
    assert leaks(store) == ([], ["patient_07"], ())
    [group] = collect_facts(store).leakage.same_prefixes.groups
    assert group.splits == {"train": 2, "val": 1}
    assert {(unit.split, unit.key) for unit in group.units} == {
        ("train", "patient_07_slice_3"), ("train", "patient_07_slice_4"),
        ("val", "patient_07_slice_9"),
    }  # fmt: skip


def test_groups_come_in_the_order_of_the_store(tmp_path):
    train, val = ([f"p{number:02}_{slice_}" for number in range(12)] for slice_ in (1, 2))
    facts = collect_facts(pack(tmp_path / "o.zarr", train=train, val=val))
    numbers = [group.units[0].number for group in facts.leakage.same_prefixes.groups]
    assert numbers == list(range(12))


def test_numbered_images_are_no_leakage(tmp_path):
    store = pack(
        tmp_path / "o.zarr",
        train=["image_001", "image_003", "image_004"],
        val=["image_002", "image_005"],
    )
    assert leaks(store) == ([], [], ())


def test_splits_that_are_numbered_anew_are_told_but_do_not_leak(tmp_path):
    store = pack(
        tmp_path / "o.zarr",
        train=[f"img_{number}" for number in range(6)],
        val=[f"img_{number}" for number in range(3)],
        test=["img_2", "img_1_a"],
    )
    same, subjects, [remark] = leaks(store)
    assert (same, subjects) == (["img_2"], [])  # the test split does not begin at 0
    assert remark.startswith("train and val have 3 names in common, such as img_0,")


def test_scenes_that_are_numbered_anew_do_not_leak_either(tmp_path):
    keys = [f"scene_{scene}/{frame:02}" for scene in range(2) for frame in range(3)]
    store = pack(tmp_path / "o.zarr", train=[*keys, "scene_5/00"], val=keys)
    assert leaks(store)[:2] == ([], [])


@pytest.mark.parametrize(
    ("train", "val", "same"),
    [
        (["patient_1", "patient_2"], ["patient_1"], ["patient_1"]),  # a word for subjects
        (["liver_0", "liver_1", "liver_3"], ["liver_3"], ["liver_3"]),  # not from the start
        (["a", "b", "c"], ["b", "x", "y"], ["b"]),
    ],
)
def test_one_key_in_two_splits_is_leakage(tmp_path, train, val, same):
    assert leaks(pack(tmp_path / "o.zarr", train=train, val=val)) == (same, [], ())


def test_one_key_with_one_content_is_leakage_however_it_is_numbered(tmp_path):
    pixels = {f"{number}": (textured(number), striped([0, 1])) for number in range(4)}
    pack_samples(tmp_path / "o.zarr", "train", pixels)
    some = {key: pixels[key] for key in ("0", "1")}
    pack_samples(tmp_path / "o.zarr", "val", some | {"2": (textured(50), striped([0, 1]))})
    assert leaks(tmp_path / "o.zarr")[0] == ["0", "1", "2"]


def test_one_case_in_two_splits_is_leakage(tmp_path):
    cases = {
        f"case_{number}": (textured(number, (20, 30)), striped([0, 1], (20, 30)))
        for number in range(3)
    }
    pack_cases(tmp_path / "o.zarr", "train", cases, (16, 16))
    other = {"case_2": (textured(9, (30, 20)), striped([0, 1], (30, 20)))}
    pack_cases(tmp_path / "o.zarr", "val", other, (16, 16))
    assert leaks(tmp_path / "o.zarr")[0] == ["case_2"]
    [group] = collect_facts(tmp_path / "o.zarr").leakage.same_keys.groups
    assert [(unit.split, unit.key) for unit in group.units] == [
        ("train", "case_2"), ("val", "case_2")
    ]  # fmt: skip


def test_one_split_leaks_nowhere(tmp_path):
    store = pack(tmp_path / "o.zarr", train=["a", "b"])
    assert collect_facts(store).leakage is None
    assert collect_facts(store / "train").leakage is None


@given(st.lists(st.lists(st.integers(0, 5), unique=True, min_size=1), min_size=2, max_size=4))
def test_names_in_several_splits_are_those_that_sets_say(of_splits):
    from zarrfeed_tools.report.leakage import _across, _without
    from zarrfeed_tools.report.population import Population

    class Some:
        def __init__(self, count):
            self.count = count

        def __len__(self):
            return self.count

    population = Population(tuple(Some(len(split)) for split in of_splits))
    names = np.array([name + 1 for split in of_splits for name in split])
    groups = _across(names, population)
    ends = np.split(groups.members, groups.starts[1:]) if len(groups) else []
    found = {int(names[group[0]]) - 1 for group in ends}
    everywhere = [name for split in of_splits for name in split]
    assert found == {name for name in everywhere if everywhere.count(name) > 1}
    anew = np.zeros((len(of_splits),) * 2, bool)
    anew[0, 1] = anew[1, 0] = True
    left = _without(groups, population, anew)
    kept = {int(names[left.members[start]]) - 1 for start in left.starts.tolist()}
    others = list(map(set, of_splits))
    assert kept == {
        name for name in found
        if not (name in others[0] and name in others[1]
                and not any(name in other for other in others[2:]))
    }  # fmt: skip
