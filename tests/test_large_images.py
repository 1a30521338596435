"""Images of any size are shrunk in bounded memory, and what their axes mean is told right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.pictures import large_images
from zarrfeed.pictures.large_images import PlaneOf, fit_image, fit_mask
from zarrfeed.pictures.palette import Palette
from zarrfeed.pictures.planes import middle_planes
from zarrfeed.pictures.thumbnails import edges_of, pick, pick_present, shrink
from zarrfeed.views.drawn_arrays import Drawing, draw
from zarrfeed.views.field_roles import Axes, Roles, find_roles, image_axes, mask_axes

BYTE = np.dtype("uint8")


class Computed:
    """An image without memory: every pixel is its column. It notes what is read."""

    def __init__(self, shape, dtype="uint16"):
        self.shape, self.dtype, self.boxes = shape, np.dtype(dtype), []

    def __getitem__(self, index):
        rows, columns = (
            np.arange(*each.indices(n)) for each, n in zip(index, self.shape, strict=False)
        )
        box = np.broadcast_to(columns[:, None], (len(rows), len(columns), *self.shape[2:]))
        self.boxes.append(box.size * self.dtype.itemsize)
        return box.astype(self.dtype)


def test_no_more_than_a_block_is_read_at_once():
    shape = (6_000, 8_000, 1)
    image = Computed(shape)
    small = fit_image(image, (32, 48))
    assert max(image.boxes) <= 32 << 20
    assert sum(image.boxes) == np.prod(shape) * 2
    middles = (np.arange(48) + 0.5) * shape[1] / 48
    assert np.abs(small[0, :, 0] - middles).max() < 2


@given(
    st.tuples(*[st.integers(1, 40)] * 2), st.tuples(*[st.integers(1, 60)] * 2),
    st.integers(50, 4000),
)  # fmt: skip
def test_blocks_give_what_the_whole_gives(shape, size, nbytes):
    rng = np.random.default_rng(sum(shape))
    image, mask = rng.random((*shape, 2)), rng.integers(0, 3, shape)
    small = [min(new, old) for new, old in zip(size, shape, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_images, "_BLOCK_NBYTES", nbytes)
        np.testing.assert_allclose(fit_image(image, size), pick(shrink(image, small), size))
        expected = pick(pick_present(mask, edges_of(shape, small), 0), size)
        np.testing.assert_array_equal(fit_mask(mask, size, 0), expected)


@given(st.integers(0, 80), st.integers(0, 80))
def test_a_spot_of_a_twentieth_of_a_picture_pixel_stays_visible(row, column):
    mask = np.zeros((90, 90), np.uint8)
    mask[row : row + 9, column : column + 9] = 3
    edges = edges_of((90, 90), (4, 4))
    assert (pick_present(mask, edges, 0) == 3).any()
    assert (pick_present(mask[..., None] > 0, edges, None)).any()
    assert pick_present(mask, edges, None).shape == (4, 4)


def test_planes_of_a_volume_are_read_one_by_one():
    volume = np.random.default_rng(0).random((5, 6, 7, 2))
    for plane in middle_planes(volume.shape[:3]):
        cut = PlaneOf(volume, plane)
        assert cut.shape == volume[plane.cut].shape
        np.testing.assert_array_equal(cut[1:4, 2:5], volume[plane.cut][1:4, 2:5])


@pytest.mark.parametrize(
    ("shape", "mask", "spatial", "axes"),
    [
        ((64, 80), None, None, Axes(2, None)),
        ((64, 80, 3), (64, 80), None, Axes(2, 2)),
        ((3, 64, 80), (64, 80), None, Axes(2, 0)),
        ((64, 80, 200), (64, 80), None, Axes(2, 2)),
        ((30, 64, 80), None, None, Axes(3, None)),
        ((30, 64, 80), (30, 64, 80), None, Axes(3, None)),
        ((30, 64, 80, 1), (30, 64, 80), None, Axes(3, 3)),
        ((1, 30, 64, 80), None, None, Axes(3, 0)),
        ((30, 64, 80, 4), None, 3, Axes(3, 3)),
        ((2, 30, 64, 80), None, 3, Axes(3, 3)),
        ((8, 8, 3), None, 2, Axes(2, 2)),
        ((3, 64, 80), (64, 80, 5), 2, Axes(2, 0)),
    ],
)
def test_axes_are_told_by_shapes(shape, mask, spatial, axes):
    assert image_axes(shape, mask, spatial) == axes


def test_axes_of_masks_are_told_by_their_images_and_classes():
    three = Palette(("a", "b", "c"))
    assert mask_axes((9, 8), 2, three) == Axes(2, None)
    assert mask_axes((9, 8, 1), 2, three) == Axes(2, 2)
    assert mask_axes((3, 9, 8), 2, three) == Axes(2, 0)
    assert mask_axes((9, 8, 3), 2, three) == Axes(2, 2)
    assert mask_axes((9,), 2, three) is None


@pytest.mark.parametrize(
    ("shapes", "roles"),
    [
        ({"image": (9, 9, 3), "mask": (9, 9), "depth": (9, 9)}, Roles("image", "mask")),
        ({"x": (9, 9, 3), "y": (9, 9)}, Roles("x", "y")),
        ({"photo": (9, 9), "weights": (9, 9)}, Roles("photo", None)),
        ({"segmentation": (9, 9)}, Roles(None, "segmentation")),
        ({"label": (), "vector": (9,)}, Roles(None, None)),
        ({"empty": (0, 9)}, Roles(None, None)),
    ],
)
def test_fields_are_told_by_names_and_shapes(shapes, roles):
    assert find_roles({name: (shape, BYTE) for name, shape in shapes.items()}) == roles


@given(st.data())
def test_whatever_a_batch_holds_is_drawn(data):
    extents = st.integers(1, 20)
    image = data.draw(
        st.none() | st.lists(extents, min_size=2, max_size=4).map(tuple), label="image"
    )
    mask = data.draw(
        (st.none() if image is not None else st.nothing())
        | st.lists(extents, min_size=2, max_size=4).map(tuple),
        label="mask",
    )
    palette = data.draw(st.sampled_from([Palette(), Palette(("a", "b"), 255, multi_hot=True)]))
    dtype = data.draw(st.sampled_from(["float32", "uint8", "bool", "int16"]))
    arrays = [None if shape is None else np.ones(shape, dtype) for shape in (image, mask)]
    drawing = Drawing(palette, most=16, slices=3)
    view = draw(*arrays, drawing, title="any")
    assert len(view.panels) in (1, 3)
    for panel in (*view.panels, *view.slices):
        assert max(panel.picture.shape) <= 16
        assert panel.overlay is None or panel.overlay.shape == panel.picture.shape
