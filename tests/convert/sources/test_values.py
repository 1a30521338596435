"""Numbers are packed as they are, or refused; never clipped or wrapped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.class_channels import ids_of_one_hot
from zarrfeed_convert.sources.read_errors import naming_errors
from zarrfeed_convert.sources.rescale import rescaled, rescaled_dtype
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.values import fitted, packable, packed_dtype

NUMBERS = hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.unsigned_integer_dtypes()


PACKED = {
    f"{kind}int{bits}": f"{kind}int{min(bits, 32)}"
    for kind in ("", "u")
    for bits in (8, 16, 32, 64)
} | {"bool": "uint8", "float16": "float16", "float32": "float32", "float64": "float64"}


@given(values=hnp.arrays(NUMBERS | hnp.floating_dtypes(), (3, 4)))
def test_packable_values_are_equal_or_refused(values):
    try:
        packed = packable(values, "a")
    except SourceError as error:
        limits = np.iinfo(PACKED[values.dtype.newbyteorder("=").name])
        assert int(values.min()) < limits.min or int(values.max()) > limits.max
        assert str(error).startswith(f"a: needed integers that {limits.dtype} holds")  # noqa: PT017
        return
    np.testing.assert_array_equal(packed, values)
    name = values.dtype.newbyteorder("=").name
    assert str(packed.dtype) == packed_dtype(values.dtype, "a") == PACKED[name]
    assert packed.dtype.isnative


@given(values=hnp.arrays(np.float64, (3, 4)))
def test_floats_that_fewer_bits_hold_are_rounded_or_refused(values):
    try:
        packed = fitted(values, "float32", "a")
    except SourceError as error:
        assert np.nanmax(np.abs(values[np.isfinite(values)])) > 3e38
        assert str(error).startswith("a: needed values that float32 holds")  # noqa: PT017
        return
    np.testing.assert_allclose(packed, values, rtol=1e-7, atol=1e-38)


def test_floats_wider_than_64_bits_are_rounded_or_refused():
    wide = np.array([[1, np.longdouble(1) / 3]])
    assert packable(wide, "a").dtype == np.float64
    np.testing.assert_array_equal(packable(wide, "a"), [[1, 1 / 3]])
    if np.finfo(np.longdouble).max > np.finfo(np.float64).max:
        with pytest.raises(SourceError, match="a: needed values that float64 holds"):
            packable(np.array([[np.finfo(np.longdouble).max]]), "a")


@given(
    st.sampled_from(["int8", "int16", "int32", "uint8", "uint16", "uint32"]).flatmap(
        lambda dtype: hnp.arrays(dtype, (2, 3))
    ),
    st.integers(-(2**17), 2**17) | st.sampled_from([0.5, 1.0, -1.0]),
    st.integers(-(2**31), 2**31) | st.sampled_from([0.0, -1024.0, 0.25]),
)
def test_rescaled_integers_are_exact_where_their_dtype_is_of_integers(stored, slope, intercept):
    dtype = rescaled_dtype(stored.dtype, slope, intercept, "a")
    meant = stored.astype(object) * slope + intercept
    values = rescaled(stored, slope, intercept, dtype)
    if dtype == "int16" and (values.min() < -(2**15) or values.max() >= 2**15):
        assert (stored.dtype.itemsize, slope) == (2, 1)  # shifted beyond what CT scanners use
        assert -(2**15) <= intercept < 0
        with pytest.raises(SourceError, match="a: needed integers that int16 holds"):
            fitted(values, dtype, "a")
        return
    found = fitted(values, dtype, "a")  # anything else is never refused
    assert found.dtype == dtype
    expected = meant.astype(np.float64).astype(np.float32) if dtype == "float32" else meant
    np.testing.assert_array_equal(found, expected)


@given(
    values=st.sampled_from(sorted(set(PACKED.values()))).flatmap(
        lambda dtype: hnp.arrays(
            dtype, (2, 3, 3),
            elements=None if "int" in dtype else st.floats(-1e4, 1e4, width=int(dtype[5:])),
        )
    )
)  # fmt: skip
def test_grey_is_the_luma_of_numbers_of_every_kind(values):
    grey = ValueOptions.of("grey", "").image(values, name="a")
    assert (grey.dtype, grey.shape) == (values.dtype, (2, 3, 1))
    luma = values.astype(np.float64) @ [0.299, 0.587, 0.114]
    if "int" in grey.dtype.name:
        limit = 0.5 + 2e-5 * np.abs(values.astype(np.float64)).max()
    else:
        limit = 4 * np.finfo(grey.dtype).eps * np.abs(values.astype(np.float64)).max() + 1e-7
    assert (np.abs(grey[..., 0].astype(np.float64) - luma) <= limit).all()


@pytest.mark.parametrize("dtype", sorted(set(PACKED.values())))
def test_a_new_alpha_is_the_highest_value_or_1_of_floats(dtype):
    image = ValueOptions.of("rgba", "").image(np.arange(6).reshape(2, 3).astype(dtype), name="a")
    top = 1 if dtype.startswith("float") else np.iinfo(dtype).max
    assert image.dtype == dtype
    np.testing.assert_array_equal(image[..., 3], top)
    np.testing.assert_array_equal(image[..., 1], np.arange(6).reshape(2, 3))


IDS = hnp.arrays(NUMBERS | hnp.floating_dtypes(), (3, 4)) | hnp.arrays(
    hnp.integer_dtypes() | hnp.floating_dtypes(), (3, 4), elements=st.integers(0, 100)
)


def mask_of(values, text=""):
    return ValueOptions.of("auto", text).mask(values, name="m")


@given(values=IDS)
def test_masks_stay_equal_or_are_refused(values):
    try:
        ids = mask_of(values)
    except SourceError:
        numbers = values.astype(np.float64)
        whole = numbers == np.trunc(numbers)
        assert not (whole & (numbers >= 0) & (numbers <= 65535)).all()
        return
    assert ids.dtype.kind == "u"
    np.testing.assert_array_equal(ids, values)


@given(values=IDS, odd=st.sampled_from(["", ",-1=9", ",nan=9", ",0.25..0.5=9"]))
def test_a_mask_map_means_the_same_for_numbers_of_every_kind(values, odd):
    """Each pixel alone, by comparing it, is the oracle."""
    ids = mask_of(values, f"3=7,200..300=5,*=1{odd}")
    for value, number in zip(values.ravel().tolist(), ids.ravel().tolist(), strict=True):
        is_odd = {
            "": False,
            ",-1=9": value == -1,
            ",nan=9": value != value,
            ",0.25..0.5=9": 0.25 <= value <= 0.5,
        }[odd]
        known = 7 if value == 3 else 5 if 200 <= value <= 300 else 1
        assert number == (9 if is_odd else known)


@pytest.mark.parametrize("dtype", ["complex64", "U3", "O", "M8[s]", "V4"])
def test_what_is_no_number_is_refused(dtype):
    def masks(values, _):
        return mask_of(values)

    def multi_hot(values, _):
        return mask_of(values, "multi-hot")

    for law in (packable, masks, multi_hot, ids_of_one_hot):
        with pytest.raises(SourceError, match=r"^[am]: needed an array of numbers, found"):
            law(np.zeros((2, 2, 2), dtype), "a")


@given(
    ids=hnp.arrays(np.int64, (4, 5), elements=st.integers(0, 6)),
    top=st.sampled_from([np.bool_(True), np.uint8(1), np.uint8(255), np.float32(1)]),
)
def test_one_hot_masks_give_their_ids_back(ids, top):
    hot = (np.eye(7)[ids] * top).astype(top.dtype)
    np.testing.assert_array_equal(ids_of_one_hot(hot, "m"), ids)


@given(ids=hnp.arrays(np.int64, (4, 5), elements=st.integers(0, 6)))
def test_background_without_a_channel_is_what_the_map_says(ids):
    hot = np.eye(7, dtype=np.uint8)[ids][:, :, 1:]
    if (ids == 0).any():
        with pytest.raises(SourceError, match=r"use --mask-map 'one-hot=1,\*=0' \("):
            mask_of(hot, "one-hot=1")
    np.testing.assert_array_equal(mask_of(hot, "one-hot=1,*=0"), ids)
    np.testing.assert_array_equal(mask_of(hot, "one-hot=0,*=255"), np.where(ids, ids - 1, 255))


@given(
    ones=hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5)),
    top=st.sampled_from([np.bool_(True), np.uint8(255), np.uint16(65535), np.float64(1)]),
)
def test_multi_hot_masks_give_their_ones_back(ones, top):
    found = mask_of(ones * top, "multi-hot")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, ones)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0, 2], "values like 2"),
        ([0, 1, 255], "besides 0 both 1 and 255"),
        ([0, -1], "values like -1"),
        ([0, np.nan], "values like nan"),
        ([0, 0.5, 1], r"values like 0\.5"),
    ],
)
def test_what_is_not_multi_hot_is_refused(values, said):
    with pytest.raises(SourceError, match=rf"^m: needed a multi-hot mask, .*found {said}"):
        mask_of(np.array(values)[:, np.newaxis, np.newaxis], "multi-hot")


def test_what_is_not_one_hot_is_refused():
    hot = np.eye(3)[[[0, 1, 2]]]
    hot[0, 0] = 0
    with pytest.raises(SourceError, match="found 1 pixels of no class and 0 of several"):
        ids_of_one_hot(hot, "m")
    hot[0, 0] = [1, 1, 0]
    with pytest.raises(SourceError, match="found 0 pixels of no class and 1 of several"):
        ids_of_one_hot(hot, "m")
    hot[0, 0] = [0.7, 0.3, 0]
    with pytest.raises(SourceError, match=r"values like 0\.3 besides 0 and 1"):
        ids_of_one_hot(hot, "m")
    with pytest.raises(SourceError, match="values like nan"):
        ids_of_one_hot(np.full((1, 1, 2), np.nan), "m")


def test_whatever_a_library_raises_names_what_was_read():
    cannot = r"^f:x\[3\]: cannot be read: no such key; the file"
    with pytest.raises(SourceError, match=cannot), naming_errors("f:x[3]"):
        raise RuntimeError("no\n such  key")
    with pytest.raises(SourceError, match=r"^mine$"), naming_errors("f"):
        raise SourceError("mine")
