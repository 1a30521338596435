"""Volumes and images of any size that a program has in hand are packed as cases, with affines."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cases import pair, put_together
from source_contract import require_windows
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, verify
from zarrfeed_convert.sources.iterables.spool import source_of_samples

AFFINE = [[0, 0.1, 0.7, -20], [0, 0.7, -0.1, 31.5], [2.5, 0, 0, 7], [0, 0, 0, 1]]  # oblique
SPACED = np.array([[0, 0, 0.7, 0], [0, 0.8, 0, 0], [2.5, 0, 0, 0], [0, 0, 0, 1]])


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def case(size, seed=0, **more):
    return pair(size, seed, channels=2, dtype="int16") | more


def test_cases_of_a_generator_are_stored_with_their_affines():
    given = [
        case((5, 9, 11), 0, key="a", affine=AFFINE),
        case((1, 20, 3), 1, key="b", spacing=(2.5, 0.8, 0.7)),
        case((8, 4, 4), 2, key="c"),
    ]
    convert((each for each in given), "o.zarr", split="t", tile=(4, 4, 8), classes=3, workers=1)
    assert verify("o.zarr").ok
    group = zarr.open_group("o.zarr/t", mode="r")
    keys = [bytes(row).rstrip(b"\0").decode() for row in group["case_key"][:]]
    order = [keys.index(each["key"]) for each in given]
    for each in given:
        for name in ("image", "mask"):
            np.testing.assert_array_equal(put_together("o.zarr/t", each["key"], name), each[name])
    affines = group["case_affine"][:][order]
    np.testing.assert_array_equal(affines[0], AFFINE)
    np.testing.assert_array_equal(affines[1], SPACED)
    assert np.isnan(affines[2]).all()
    spacings = group["case_spacing"][:][order]
    np.testing.assert_allclose(spacings[0], np.linalg.norm(np.array(AFFINE)[:3, :3], axis=0))
    np.testing.assert_allclose(spacings[1], [2.5, 0.8, 0.7])
    again = convert(iter(given), "o.zarr", split="t", tile=(4, 4, 8), classes=3, workers=1)
    assert again.status == "already packed"


def test_images_of_any_size_are_cases():
    given = [case((30, 7), 0, key="a"), case((4, 50), 1, key="b", spacing=[0.5, 0.25])]
    convert(given, "o.zarr", split="t", tile=(16, 16), classes=3, workers=1)
    for each in given:
        np.testing.assert_array_equal(put_together("o.zarr/t", each["key"]), each["image"])
    group = zarr.open_group("o.zarr/t", mode="r")
    assert sorted(map(tuple, group["case_size"][:].tolist())) == [(4, 50), (30, 7)]
    assert [0.5, 0.25] in group["case_spacing"][:].tolist()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=3),
    st.sampled_from(["uint8", "int16", ">u2", "float32"]),
    st.sampled_from("CF"),
    st.booleans(),
)
def test_law_windows_are_parts_of_samples(size, dtype, order, masked):
    rng = np.random.default_rng(0)
    image = np.asarray(rng.integers(0, 200, (*size, 2)), dtype, order=order)
    sample = {"image": image, "depth": rng.random(size)}
    if masked:
        sample["mask"] = rng.integers(0, 3, size)
    with source_of_samples([sample] * 2, ".", axes=len(size)) as source:
        assert source.reads_windows(1)
        for number in range(2):
            require_windows(source, number)
        np.testing.assert_array_equal(source.read(1)[0], image)


def test_the_digest_changes_with_the_affine_alone():
    def digest(**more):
        with source_of_samples([case((2, 3, 4), **more)], ".") as source:
            return source.describe()["facts"]["digest"]

    digests = [digest(), digest(affine=None), digest(spacing=(1, 1, 2)), digest(affine=np.eye(4))]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    # SPACED as an affine is the same as the spacing it has.
    assert digest(affine=SPACED) == digest(spacing=(2.5, 0.8, 0.7))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"affine": np.eye(3)}, r"affine: needed a \(4, 4\) matrix .* found the shape \(3, 3\)"),
        ({"affine": np.array(AFFINE).T}, "needed .* as the last row"),
        ({"affine": np.diag([1, 1, 0, 1])}, "needed finite numbers that an inverse matrix has"),
        ({"affine": np.full((4, 4), np.nan)}, "as the last row"),
        ({"affine": np.diag([np.inf, 1, 1, 1])}, "needed finite numbers"),
        ({"affine": "RAS"}, "affine: needed numbers, found str 'RAS'"),
        ({"spacing": (1, 2)}, r"spacing: needed 3 distances of pixels, along \(D, H, W\)"),
        ({"spacing": (1, 0, 2)}, "needed 3 distances"),
        ({"spacing": 0.5}, "needed 3 distances"),
        ({"spacing": (1, 1, 1), "affine": np.eye(4)}, "needed affine or spacing, found both"),
    ],
)
def test_what_is_no_affine_is_refused(more, said):
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(SourceError, match=rf"samples\[0\].*{said}"),
        source_of_samples([case((2, 3, 4), **more)], "."),
    ):
        pass
