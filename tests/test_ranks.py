"""Several processes share the data by themselves: in step, without loss, and without being told."""

from __future__ import annotations

import importlib.util
import json
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinds import ids_of
from scripts import environment, run_together
from stores import traced_pixels, write_split
from zarrfeed import FrontEnd, ZarrSequence
from zarrfeed.order.ranks import DetectedRank
from zarrfeed.order.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from fork_server import ForkServers

CLIENT = Path(__file__).with_name("ranks_client.py")
SAMPLES = 21
ONCE = [1] * SAMPLES
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
# Way: package, Keras backend, processes, ranks that share the data, environment.
WAYS: dict[str, tuple[str, str, int, int, dict[str, str]]] = {
    "torch": ("torch", "torch", 2, 2, {}),
    "jax": ("jax", "jax", 2, 2, {}),
    "jax-model": ("jax", "jax", 2, 1, TWO_DEVICES),
    "jax-devices": ("jax", "jax", 1, 1, TWO_DEVICES),
    "mirrored": ("tensorflow", "tensorflow", 1, 1, {}),
    "legacy": ("tf_keras", "tensorflow", 2, 1, {}),
}

# What is said to those who take a batch before the processes have found each other.
DOUBTS = {
    "torch": ["torchrun started 2 processes: call torch.distributed.init_process_group first"],
    "jax": [
        "JAX runs in 2 processes: set a keras.distribution, or give rank and world_size",
        "keras.distribution.DataParallel has auto_shard_dataset=False: give rank and world_size",
    ],
}

# -- real processes -----------------------------------------------------------------------------


def free_ports(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def run_way(
    way: str, store: Path, folder: Path, servers: ForkServers | None
) -> list[dict[str, Any]]:
    """Run the processes of one way, and return what each has found."""
    _, backend, processes, _, variables = WAYS[way]
    ports = ",".join(free_ports(2 if way == "legacy" else 1))
    outs = [folder / f"{way}{rank}.json" for rank in range(processes)]
    commands = [
        [str(CLIENT), way, str(store), str(rank), ports, str(out)] for rank, out in enumerate(outs)
    ]
    each = [environment(KERAS_BACKEND=backend, CUDA_VISIBLE_DEVICES="", **variables)] * processes
    run_together(commands, each, folder=folder, servers=servers)
    return [json.loads(out.read_text()) for out in outs]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every pixel is the sample's id, so that a model's input tells what it is."""
    ids = np.arange(SAMPLES, dtype=np.uint8)
    pixels = {
        "image": np.tile(ids[:, None, None, None], (1, 8, 6, 3)),
        "mask": np.tile(ids[:, None, None], (1, 8, 6)),
    }
    return write_split(tmp_path_factory.mktemp("ranks") / "s", pixels)


class Run:
    """What the processes of one way found."""

    def __init__(self, way: str, store: Path, folder: Path, servers: ForkServers | None) -> None:
        self.way, self.ranks = way, WAYS[way][3]
        self.size = 2 if way == "mirrored" else 4
        self.each = run_way(way, store, folder, servers)
        self.first = self.each[0]

    def met(self, what: Callable[[dict[str, Any]], list[int]]) -> list[int]:
        """How often all models together met each sample; JAX and TensorFlow add up themselves."""
        if self.way != "torch":
            assert all(what(found) == what(self.first) for found in self.each)
            return what(self.first)
        return [int(n) for n in np.sum([what(found) for found in self.each], axis=0)]


@pytest.fixture(scope="module", params=list(WAYS))
def run(
    request: pytest.FixtureRequest,
    store: Path,
    tmp_path_factory: pytest.TempPathFactory,
    imported: ForkServers | None,
) -> Run:
    package = WAYS[request.param][0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    return Run(request.param, store, tmp_path_factory.mktemp("found"), imported)


def test_no_sample_is_trained_on_twice_in_an_epoch(run: Run) -> None:
    size = run.ranks * run.size
    whole = 20 if run.way == "torch" else SAMPLES // size * size
    for epoch in range(2):
        met = run.met(lambda found, epoch=epoch: found["fit"][epoch])  # type: ignore[misc]
        assert max(met) == 1
        assert sum(met) == whole
    assert run.first["fit"][0] != run.first["fit"][1]
    assert all(found["state"]["epoch"] == 2 for found in run.each)


def test_evaluation_counts_every_sample_exactly_once(run: Run) -> None:
    assert run.met(lambda found: found["evaluate"]) == ONCE


def test_all_processes_have_equally_many_full_batches(run: Run) -> None:
    assert len({tuple(found["len"]) for found in run.each}) == 1
    assert run.first["len"][1] == {1: 6, 2: 3}[run.ranks]
    assert run.first["rows"] == {"torch": 12}.get(run.way, 24)


def test_processes_may_find_each_other_after_the_sequence_was_made(run: Run) -> None:
    assert all(found["len before"][1] == 6 for found in run.each)
    shares = {(found["state"]["schedule"]["rank"], run.ranks) for found in run.each}
    assert shares == {(rank, run.ranks) for rank in range(run.ranks)}


def test_predictions_are_those_of_the_samples_that_count(run: Run) -> None:
    if "predict" not in run.first:
        pytest.skip("Keras gathers no predictions of several processes")
    for found in run.each:
        assert len(found["predict"]) == found["samples"]
        keys = [key for batch in found["keys"] for key in batch]
        assert keys == [f"sample {sample}" for sample in found["predict"]]
    assert sorted(s for found in run.each for s in found["predict"]) == list(range(SAMPLES))


def test_the_share_is_said_once(run: Run) -> None:
    who = {
        "torch": "torch.distributed",
        "jax": "keras.distribution.DataParallel",
        "jax-devices": "keras.distribution.DataParallel",
        "jax-model": "keras.distribution.ModelParallel",
    }.get(run.way, "no other process was found")
    for found in run.each:
        rank = found["state"]["schedule"]["rank"]
        said = [line for line in found["log"] if f"rank {rank} of {run.ranks} ({who})" in line]
        sequences = 3 if "predict" in found else 2
        assert len(said) == sequences
        doubts = [line for line in found["log"] if "this process reads all samples, but" in line]
        assert len(doubts) == len(DOUBTS.get(run.way, ()))
        for line, doubt in zip(doubts, DOUBTS.get(run.way, ()), strict=True):
            assert line.startswith("WARNING")
            assert doubt in line
        left_out = [line for line in found["log"] if "left out of every epoch" in line]
        assert len(left_out) == (1 if run.ranks > 1 else 0)


def test_statistics_count_the_samples_of_the_share(run: Run) -> None:
    for found in run.each:
        batches = found["len"][0]
        samples = 10 if run.way == "torch" else run.size * batches
        assert found["stats"] == [[batches, samples]] * 2
        assert found["monitored"] == 2


def test_what_would_lose_samples_or_fail_in_the_framework_is_refused(run: Run) -> None:
    expected = {
        "legacy": ["world_size=2, but under tf.distribute's MultiWorkerMirroredStrategy"],
        "jax": ["Keras would shard a tf.data.Dataset of this process's share once more"],
        "jax-devices": [
            "JAX cannot split the last batch, of 1, over 2 devices: give pad_remainder=True",
            "JAX cannot split batch_size=5 over 2 devices: needed a multiple of 2",
        ],
    }.get(run.way, [])
    for found in run.each:
        refused = found.get("refused", [])
        assert len(refused) == len(expected)
        assert all(part in message for part, message in zip(expected, refused, strict=True))


# -- one process that is told what it found -----------------------------------------------------


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[DetectedRank], None]:
    """Let every sequence find this from now on."""
    now = [DetectedRank()]
    for kind in (FrontEnd, ZarrSequence):
        monkeypatch.setattr(kind, "_detect_rank", staticmethod(lambda: now[0]))
    return lambda other: now.__setitem__(0, other)


PAIR = DetectedRank(1, 2, "torch.distributed")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_share_holds_from_the_next_pass_on(
    split: Path, found: Callable[[DetectedRank], None], workers: int
) -> None:
    with (
        ZarrSequence(split, 4, shuffle=False, workers=workers) as seq,
        ZarrSequence(split, 4, shuffle=False, rank=1, world_size=2) as second,
    ):
        under_way = iter(seq)
        seen = ids_of(next(under_way))
        found(PAIR)
        assert len(seq) == 6
        seen += [sample for batch in under_way for sample in ids_of(batch)]
        assert seen == list(range(22))
        assert len(seq) == 3
        assert [ids_of(batch) for batch in seq] == [ids_of(batch) for batch in second]
        assert ids_of(seq[0]) == [1, 3, 5, 7]
        assert seq.batch_keys(0) == [f"sample {i}" for i in (1, 3, 5, 7)]


def test_a_stale_pass_keeps_its_own_share(
    split: Path, found: Callable[[DetectedRank], None]
) -> None:
    with ZarrSequence(split, 4, shuffle=False) as seq:
        stale = iter(seq)
        seen = ids_of(next(stale))
        found(PAIR)
        assert ids_of(next(iter(seq))) == [1, 3, 5, 7]
        seen += [sample for batch in stale for sample in ids_of(batch)]
        assert seen == list(range(22))


@pytest.mark.parametrize("given", [(0, 1), (0, 2), (1, 3)])
def test_explicit_values_win_and_a_contradiction_warns_once(
    split: Path, found: Callable[[DetectedRank], None], given: tuple[int, int]
) -> None:
    found(PAIR)
    rank, world_size = given
    with ZarrSequence(split, 4, shuffle=False, rank=rank, world_size=world_size) as seq:
        with pytest.warns(UserWarning, match=r"torch\.distributed says 1 of 2") as warned:
            seen = [sample for batch in seq for sample in ids_of(batch)]
        assert len(warned) == 1
        assert seen == list(range(rank, 22 // world_size * world_size, world_size))
        assert len(list(seq)) == len(seq)


def test_what_agrees_does_not_warn(split: Path, found: Callable[[DetectedRank], None]) -> None:
    found(PAIR)
    for arguments in ({"rank": 1, "world_size": 2}, {"world_size": 2}, {"rank": 1}, {}):
        with ZarrSequence(split, 4, shuffle=False, **arguments) as seq:  # type: ignore[arg-type]
            assert ids_of(next(iter(seq))) == [1, 3, 5, 7]


def test_half_an_answer_is_completed_or_named(
    split: Path, found: Callable[[DetectedRank], None]
) -> None:
    with (
        ZarrSequence(split, 4, world_size=2) as seq,
        pytest.warns(UserWarning, match="world_size=2 without a rank"),
    ):
        next(iter(seq))
    with (
        ZarrSequence(split, 4, rank=1) as seq,
        pytest.raises(ValueError, match="rank must be below world_size, not 1 of 1"),
    ):
        len(seq)


def test_a_doubt_is_said_aloud(
    split: Path, found: Callable[[DetectedRank], None], caplog: pytest.LogCaptureFixture
) -> None:
    found(DetectedRank(warning="JAX runs in 2 processes: set a keras.distribution"))
    with ZarrSequence(split, 4) as seq:
        list(seq)
        list(seq)
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "this process reads all samples, but JAX runs in 2 processes" in warnings[0]


@pytest.mark.parametrize(
    ("environment", "launcher"),
    [
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}, "srun"),
        ({"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2"}, "torchrun"),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, "mpirun"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, ""),  # a job's script, outside of srun
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, ""),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "TF_CONFIG": "{}"}, ""),
    ],
    ids=str,
)
def test_processes_that_do_not_know_of_each_other_are_told(
    split: Path,
    environment: dict[str, str],
    launcher: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for arguments in ({}, {"rank": 0, "world_size": 1}):  # whoever gives both means it
        with FrontEnd(split, 4, **arguments) as seq:  # type: ignore[arg-type]
            assert len(list(seq)) == 6
    doubts = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(doubts) == bool(launcher)
    assert all(f"all samples, but {launcher} started 2 processes: call" in d for d in doubts)


def test_who_takes_batches_by_their_index_is_told_too(
    split: Path, found: Callable[[DetectedRank], None], caplog: pytest.LogCaptureFixture
) -> None:
    found(PAIR)
    caplog.set_level(logging.INFO, logger="zarrfeed")
    with ZarrSequence(split, 4) as seq:
        assert [len(seq[i][0]) for i in range(len(seq))] == [4, 4, 3]
    said = [r.getMessage() for r in caplog.records]
    assert len([line for line in said if "rank 1 of 2 (torch.distributed): 11 of 22" in line]) == 1


def test_too_few_samples_for_the_ranks_are_named_with_the_remedy(
    split: Path, found: Callable[[DetectedRank], None]
) -> None:
    found(DetectedRank(3, 4, "torch.distributed"))
    with (
        ZarrSequence(split, 4, subset=slice(3)) as seq,
        pytest.raises(ValueError, match=r"3 samples over 4 ranks .*pad_remainder=True"),
    ):
        next(iter(seq))
    with ZarrSequence(split, 4, subset=slice(3), pad_remainder=True) as seq:
        ((_, _, weights),) = list(seq)
        assert weights.shape == (4, 8, 6)
        assert not weights.any()
        assert (seq.samples, seq.batch_keys(0)) == (0, [])


def test_a_position_of_one_rank_is_that_of_all(
    split: Path, found: Callable[[DetectedRank], None]
) -> None:
    with ZarrSequence(split, 4, rank=0, world_size=2) as first:
        next(passed := iter(first))
        state = json.loads(json.dumps(first.state_dict()))
        passed.close()
    found(PAIR)
    with ZarrSequence(split, 4) as second:
        order = [ids_of(batch) for batch in second]
        second.load_state_dict(state)
        assert [ids_of(batch) for batch in second] == order[1:]
    found(DetectedRank(1, 3, "torch.distributed"))
    with ZarrSequence(split, 4) as third:
        third.load_state_dict(state)  # 14 of 22 samples are left, 4 for each of three
        assert (third.epoch, third.batch, len(third)) == (0, 1, 2)
        assert len(ids_of(next(iter(third)))) == 4


# -- padding ------------------------------------------------------------------------------------


@given(
    st.integers(1, 60),
    st.integers(1, 9),
    st.integers(1, 7),
    st.sampled_from([True, False, "block"]),
)
def test_padded_ranks_see_every_sample_once_in_full_batches(
    samples: int, batch_size: int, world_size: int, shuffle: Any
) -> None:
    seen: list[int] = []
    lengths = set()
    for rank in range(world_size):
        schedule = Schedule(
            ids=range(samples), batch_size=batch_size, shuffle=shuffle, block=4, seed=1,
            drop_remainder=False, rank=rank, world_size=world_size, pad_remainder=True,
        )  # fmt: skip
        lengths.add(schedule.batches)
        share: list[int] = []
        for batch in range(schedule.batches):
            ids = schedule.batch_ids(3, batch)
            assert ids.size == batch_size
            share += ids[: schedule.real_rows(3, batch)].tolist()
        assert len(share) == schedule.samples
        seen += share
    assert sorted(seen) == list(range(samples))
    assert len(lengths) == 1


@pytest.mark.parametrize(
    "workers",
    [{"workers": 0}, {"workers": 2}, {"workers": 2, "use_multiprocessing": True}],
    ids=str,
)
def test_rows_that_are_padding_weigh_nothing(split: Path, workers: dict[str, Any]) -> None:
    with ZarrSequence(split, 4, shuffle=False, pad_remainder=True, **workers) as seq:
        assert (seq.has_partial_batch, seq.samples, len(seq)) == (False, 22, 6)
        for _ in range(2):  # slots are used again
            weights = [(image.shape, weight.copy()) for image, _, weight in seq]
            assert all(shape == (4, 8, 6, 3) for shape, _ in weights)
            assert all((weight == 1).all() for _, weight in weights[:-1])
            assert weights[-1][1][:, 0, 0].tolist() == [1, 1, 0, 0]
            assert weights[-1][1].shape == (4, 8, 6)
        assert seq[5][2][:, 0, 0].tolist() == [1, 1, 0, 0]
        assert seq.batch_keys(5) == ["sample 20", "sample 21"]
        assert sum(stats.samples for stats in seq.stats()) == 44


def test_class_weights_are_0_in_the_padding_alone(split: Path) -> None:
    with ZarrSequence(
        split, 4, shuffle=False, class_weight={20: 3.0}, pad_remainder=True, workers=1
    ) as seq:
        assert [weight[:, 0, 0].tolist() for *_, weight in seq][-1] == [3, 1, 0, 0]


@pytest.mark.parametrize(
    ("shape", "dtype", "weights"),
    [
        ((), np.int64, ()),  # labels
        ((8, 6, 1), np.uint8, (8, 6, 1)),
        ((8, 6, 5), np.uint8, (8, 6)),  # a channel for each class
        ((8, 6), np.float32, (1, 1)),
        ((8, 6, 2), np.float32, (1, 1, 1)),
    ],
)
def test_weights_fit_what_losses_and_metrics_make_of_a_target(
    tmp_path: Path, shape: tuple[int, ...], dtype: Any, weights: tuple[int, ...]
) -> None:
    pixels = {**traced_pixels(5), "y": np.ones((5, *shape), dtype)}
    write_split(tmp_path / "s", pixels)
    with ZarrSequence(tmp_path / "s", 4, fields=("image", "y"), pad_remainder=True) as seq:
        last = list(seq)[-1]
    assert last[2].shape == (4, *weights)
    assert last[2].reshape(4, -1)[:, 0].tolist() == [1, 0, 0, 0]


def test_one_field_has_no_weights_and_a_third_is_taken_as_them(tmp_path: Path) -> None:
    pixels = {**traced_pixels(5), "w": np.full((5, 8, 6), 7, np.float32)}
    write_split(tmp_path / "s", pixels)
    arguments: dict[str, Any] = {"shuffle": False, "pad_remainder": True}
    with ZarrSequence(tmp_path / "s", 4, fields="image", **arguments) as seq:
        assert [len(batch) for batch in seq] == [1, 1]
    with ZarrSequence(tmp_path / "s", 4, fields=("image", "mask", "w"), **arguments) as seq:
        assert list(seq)[-1][2][:, 0, 0].tolist() == [7, 0, 0, 0]
    write_split(tmp_path / "t", {**pixels, "image2": pixels["image"]})
    with pytest.raises(ValueError, match=r"at most three arrays.* got image, mask, w, image2"):
        ZarrSequence(tmp_path / "t", 4, fields=("image", "mask", "w", "image2"), **arguments)


def test_to_fill_a_batch_and_to_drop_it_is_a_contradiction(split: Path) -> None:
    with pytest.raises(ValueError, match="drop_remainder leaves out the last batch, pad_remainder"):
        ZarrSequence(split, 4, drop_remainder=True, pad_remainder=True)
