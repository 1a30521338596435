"""A sequence as a Grain dataset: the same samples, one by one, in any order and in any process."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from patch_stores import ct, write_classed_cases, write_classed_samples
from scripts import environment
from stores import traced_pixels, write_split
from zarrfeed import (
    Balanced,
    CoverPatches,
    FrontEnd,
    Mix,
    RandomPatches,
    ReadError,
    Weights,
    WorkerError,
)

if TYPE_CHECKING:
    from pathlib import Path

grain = pytest.importorskip("grain", reason="needs Grain: pip install -e '.[grain]'")

EPOCHS = 3


def noise(image: Any, mask: Any, rng: np.random.Generator) -> Any:
    return (image + rng.integers(0, 99, image.shape, np.int16)).astype(np.float32), mask


class Seeded:
    """An augmentation that keeps its generator, which threads must not share."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __call__(self, image: Any, mask: Any, rng: np.random.Generator) -> Any:
        self.rng = rng
        first = self.rng.integers(0, 99)
        for _ in range(50):
            assert self.rng is rng, "another thread has taken the generator"
        return image + np.uint8(first), mask


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | Mix]:
    folder = tmp_path_factory.mktemp("grain")
    cases = {name: ct((9, 14, 11), number, lesions=9) for number, name in enumerate("ab")}
    images = [ct((12, 15), number, lesions=9 * (number % 3 == 0)) for number in range(7)]
    classed = {name: np.stack([image[name] for image in images]) for name in images[0]}
    samples = write_split(folder / "samples", traced_pixels(22))
    return {
        "samples": samples,
        "classed": write_classed_samples(folder / "images/train", classed, chunk=2),
        "cases": write_classed_cases(folder / "ct/train", cases, (4, 6, 5)),
        "mixed": Mix(
            {samples: 3, write_split(folder / "more", traced_pixels(9), shard=None, chunk=3): 1}
        ),
    }


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "shuffled": ("samples", {}),
    "in blocks": ("samples", {"shuffle": "block"}),
    "in order": ("samples", {"shuffle": False}),
    "dropped": ("samples", {"drop_remainder": True}),
    "padded rank": ("samples", {"pad_remainder": True, "rank": 2, "world_size": 3}),
    "rank": ("samples", {"rank": 1, "world_size": 4}),
    "subset": ("samples", {"subset": [3, 1, 20, 7, 9]}),
    "transformed": ("samples", {"transform": noise}),
    "with state": ("samples", {"transform": Seeded(), "workers": 2}),
    "weighed": ("samples", {"class_weight": {3: 2.0}}),
    "named": ("classed", {"inputs": {"x": "image", "d": "depth"}, "targets": "mask"}),
    "one array": ("classed", {"fields": "depth"}),
    "balanced": ("classed", {"sampling": Balanced(per_epoch=17), "transform": noise}),
    "weighted": ("classed", {"sampling": Weights(np.arange(7)), "rank": 0, "world_size": 2}),
    "patches": (
        "cases",
        {
            "patches": RandomPatches((3, 6, 5), per_epoch=18, shares={"lesion": 1 / 3}, flips=True),
            "transform": noise,
            "rank": 1,
            "world_size": 2,
        },
    ),
    "mixed": ("mixed", {"transform": noise, "rank": 1, "world_size": 2}),
    "tiles of cases": ("cases", {"patches": CoverPatches((3, 6, 5), flips=True)}),
}


def require_equal(found: Any, right: Any) -> None:
    """Compare nested arrays, with their dtypes."""
    assert type(found) is type(right)
    if isinstance(right, dict):
        assert found.keys() == right.keys()
        found, right = tuple(found[key] for key in right), tuple(right.values())
    if isinstance(right, tuple):
        for one, other in zip(found, right, strict=True):
            require_equal(one, other)
    else:
        assert found.dtype == right.dtype
        np.testing.assert_array_equal(found, right)


def row_of(batch: Any, row: int) -> Any:
    if isinstance(batch, dict):
        return {name: array[row] for name, array in batch.items()}
    if isinstance(batch, tuple):
        return tuple(row_of(part, row) for part in batch)
    return batch[row]


@pytest.mark.parametrize("way", WAYS)
def test_elements_are_the_rows_of_the_batches_of_every_epoch(
    stores: dict[str, Path | Mix], way: str
) -> None:
    store, arguments = WAYS[way]
    with FrontEnd(stores[store], 4, seed=5, **arguments) as seq:
        dataset = seq.to_grain()
        batches = [batch for _ in range(EPOCHS) for batch in seq]
        options = grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)
        grains = dataset.batch(4).repeat(EPOCHS).to_iter_dataset(options)
        for found, right in zip(grains, batches, strict=True):
            require_equal(found, right)
        rows = [row_of(b, r) for b in batches for r in range(len(next(iter(leaves(b)))))]
        assert len(rows) == EPOCHS * len(dataset)
        for index in np.random.default_rng(0).permutation(len(rows)):
            require_equal(dataset[int(index)], rows[index])
        require_equal(dataset[-1], rows[len(dataset) - 1])


def leaves(batch: Any) -> Any:
    if isinstance(batch, dict | tuple):
        for part in batch.values() if isinstance(batch, dict) else batch:
            yield from leaves(part)
    else:
        yield batch


def test_slices_repeats_and_reads_of_several_keep_to_the_epochs(split: Path) -> None:
    with FrontEnd(split, 4) as seq:
        dataset = seq.to_grain()
        ids = [[int(dataset[22 * epoch + i][1][0, 0]) for i in range(22)] for epoch in range(2)]
        assert sorted(ids[0]) == sorted(ids[1]) == list(range(22))
        assert ids[0] != ids[1]
        masks = [int(sample[1][0, 0]) for sample in dataset[1::2].repeat(2)]
        assert masks == ids[0][1::2] + ids[1][1::2]
        same = [int(sample[1][0, 0]) for sample in dataset.repeat(2, reseed_each_epoch=False)]
        assert same == ids[0] * 2
        several = dataset._getitems([30, 31, 3, 45, 2, 31])
        for found, index in zip(several, [30, 31, 3, 45, 2, 31], strict=True):
            require_equal(found, dataset[index])


def test_a_position_of_the_sequence_and_its_workers_do_not_matter(split: Path) -> None:
    with FrontEnd(split, 4, workers=2) as seq:
        first = seq.to_grain()
        next(iter(seq))
        seq.set_epoch(7)
        require_equal(seq.to_grain()[3], first[3])
    require_equal(first[5], FrontEnd(split, 4).to_grain()[5])  # after close


def test_an_iterator_goes_on_where_its_state_was_saved(split: Path) -> None:
    def batches() -> Any:
        sequence = FrontEnd(split, 4, transform=noise)
        return iter(sequence.to_grain().batch(4).repeat(2).to_iter_dataset())

    first = batches()
    list(islice(first, 8))
    state = json.loads(json.dumps(first.get_state()))
    later = batches()
    later.set_state(state)
    left = list(later)
    assert len(left) == 4
    for found, right in zip(left, first, strict=True):
        require_equal(found, right)


def test_a_copy_carries_an_address_and_refuses_a_store_that_was_replaced(tmp_path: Path) -> None:
    path = write_split(tmp_path / "train", traced_pixels(2200), shard=None, chunk=100)
    dataset = FrontEnd(path, 4, rank=1, world_size=2).to_grain()
    right = dataset[1500]
    sent = pickle.dumps(dataset)
    assert len(sent) < 3000
    require_equal(pickle.loads(sent)[1500], right)
    assert str(dataset) == str(pickle.loads(sent))
    write_split(path, traced_pixels(2300), shard=None, chunk=100)
    with pytest.raises(ReadError, match="replaced"):
        pickle.loads(sent)
    with pytest.raises(ReadError, match="replaced"):
        list(dataset)


def test_functions_of_batches_are_refused_and_errors_of_transforms_arrive(split: Path) -> None:
    with (
        FrontEnd(split, 4, batch_transform=noise) as seq,
        pytest.raises(
            ValueError, match=r"need a transform of one sample, got batch_transform=noise"
        ),
    ):
        seq.to_grain()

    def fails(image: Any, mask: Any, rng: Any) -> Any:
        if mask[0, 0] == 9:
            raise KeyError("nine")
        return image, mask

    dataset = FrontEnd(split, 4, transform=fails, shuffle=False).to_grain()
    with pytest.raises(WorkerError, match=r"fails raised KeyError.*sample 9"):
        list(dataset)
    assert dataset[10][1][0, 0] == 10


SCRIPT = """
import sys
sys.modules["jax"] = None  # which Grain would import in every process, for seconds
import grain
from absl import flags
import zarrfeed

flags.FLAGS.mark_as_parsed()  # as absl.app.run does; Grain asks for it with processes

def augment(image, mask, rng):
    return image + rng.integers(0, 9, dtype="uint8"), mask

def loaded(batch):
    worlds = {"keras", "tensorflow", "torch"} & set(sys.modules)
    assert not worlds, worlds
    return batch

def main():
    with zarrfeed.FrontEnd(sys.argv[1], 4, transform=augment) as seq:
        right = [[array.copy() for array in batch] for _ in range(2) for batch in seq]
        dataset = seq.to_grain().batch(4).repeat(2).map(loaded)
    processes = grain.MultiprocessingOptions(num_workers=2, per_worker_buffer_size=2)
    batches = iter(dataset.to_iter_dataset().mp_prefetch(processes))
    for number, needed in enumerate(right[:9]):
        if number == 5:
            state = batches.get_state()
        require_same(next(batches), needed)
    batches.set_state(state)
    for found, needed in zip(batches, right[5:], strict=True):
        require_same(found, needed)
    batches.close()

def require_same(found, needed):
    for array, values in zip(found, needed, strict=True):
        assert (array == values).all()

if __name__ == "__main__":
    main()
    dataset = zarrfeed.FrontEnd(sys.argv[1], 4).to_grain()
    print(len(list(dataset)))  # and leave with everything open
"""


def test_worker_processes_of_grain_read_the_same_and_go_on(split: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(split)],
        capture_output=True, text=True, timeout=120, check=False, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "22\n"), done.stderr
    assert "zarrfeed" not in done.stderr  # Grain may say that it leaves shared memory behind
