"""Training that was killed goes on with the very next batch."""

from __future__ import annotations

import importlib.util
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinds import ids_of
from scripts import backends, environment, run_together
from stores import traced_pixels, write_split
from traced_model import traced_model
from zarrfeed import ResumeCallback, ZarrSequence
from zarrfeed.order.resume_state import ResumeJournal, saved_schedule, state_of
from zarrfeed.order.schedule import Schedule

if TYPE_CHECKING:
    from fork_server import ForkServers

Servers: TypeAlias = "ForkServers | None"
CLIENT = Path(__file__).with_name("resume_client.py")
BATCHES = 6  # of 4, the last of 2: 22 samples


# -- by hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "workers",
    [{"workers": 0}, {"workers": 2}, {"workers": 2, "use_multiprocessing": True}],
    ids=str,
)
@pytest.mark.parametrize("consumed", [1, 4, 6, 8])
def test_another_sequence_goes_on_with_the_very_next_batch(
    split: Path, workers: dict[str, Any], consumed: int
) -> None:
    with ZarrSequence(split, 4, seed=2, **workers) as first:
        everything = [ids_of(batch) for _ in range(3) for batch in first]
        first.set_epoch(0)
        states = [first.state_dict() for _ in range(2) for _ in first]
    with ZarrSequence(split, 4, seed=2, **workers) as second:
        second.load_state_dict(states[consumed - 1])
        rest = [ids_of(batch) for batch in second]
        assert second.epoch == (consumed // BATCHES) + 1
        rest += [ids_of(batch) for batch in second]
    assert rest == everything[consumed : consumed + len(rest)]
    assert len(rest) == 2 * BATCHES - consumed % BATCHES


def test_a_pass_that_is_given_up_after_resuming_begins_there_again(split: Path) -> None:
    with ZarrSequence(split, 4, workers=2) as seq:
        order = [ids_of(batch) for batch in seq]
        seq.set_epoch(0)
        next(passed := iter(seq))
        state = seq.state_dict()
        passed.close()
        seq.load_state_dict(state)
        assert ids_of(next(iter(seq))) == order[1]
        assert ids_of(next(iter(seq))) == order[1]
        seq.set_epoch(0)
        assert ids_of(next(iter(seq))) == order[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"shuffle": False, "seed": 2}, "shuffle was True and is False; seed was 0 and is 2"),
        ({"subset": slice(4)}, "samples was 22 and is 4"),
    ],
)
def test_a_state_of_other_batches_is_refused(
    split: Path, arguments: dict[str, Any], message: str
) -> None:
    state = ZarrSequence(split, 4).state_dict()
    other = ZarrSequence(split, **{"batch_size": 4, **arguments})
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(state)


@pytest.mark.parametrize("subset", [slice(4, 10), [0, 1, 2, 3, 5, 4], [0, 1, 2, 3, 4, 6]])
def test_a_state_of_as_many_other_samples_is_refused(split: Path, subset: Any) -> None:
    state = ZarrSequence(split, 4, subset=slice(0, 6)).state_dict()
    other = ZarrSequence(split, 4, subset=subset)
    with pytest.raises(ValueError, match=r"order of samples: subset chose other samples\. Use"):
        other.load_state_dict(state)
    ZarrSequence(split, 4, subset=[*range(6)]).load_state_dict(state)
    del state["schedule"]["subset"]  # as older versions saved it
    other.load_state_dict(state)


@pytest.mark.parametrize("state", [{}, {"version": 1}, {"version": 1, "epoch": "x"}])
def test_what_is_no_state_is_named(split: Path, state: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needed a state from ZarrSequence"):
        ZarrSequence(split, 4).load_state_dict(state)


def test_a_batch_that_does_not_exist_is_named(split: Path) -> None:
    seq = ZarrSequence(split, 4)
    with pytest.raises(
        ValueError, match=r"batch 6 of epoch 0, at place 24 of 22: needed .* 0 to 5"
    ):
        seq.load_state_dict({**seq.state_dict(), "batch": 6})


def test_a_state_of_another_order_is_refused() -> None:
    """Small orders have not changed since states were first written: those go on exactly."""
    small, large = schedule(BATCHES), replace(schedule(BATCHES), in_memory=BATCHES - 1)
    state = state_of(small, 3, 4)
    older = {**state, "schedule": {n: v for n, v in state["schedule"].items() if n != "order"}}
    assert position_of(small, state) == position_of(small, older) == (3, 4)
    for other in (state, older):
        with pytest.raises(ValueError, match="order was 1 and is 2"):
            position_of(large, other)
    assert position_of(large, state_of(large, 3, 4)) == (3, 4)


def position_of(schedule: Schedule, state: dict[str, Any]) -> tuple[int, int]:
    rest = saved_schedule(schedule, state).rest
    assert rest is not None
    return rest.epoch, replace(schedule, rest=rest).grid(rest.epoch).first


# -- the journal --------------------------------------------------------------------------------


def schedule(batches: int) -> Schedule:
    return Schedule(
        ids=range(batches), batch_size=1, shuffle=True, block=1, seed=0,
        drop_remainder=False, rank=0, world_size=1,
    )  # fmt: skip


@given(st.integers(1, 5), st.lists(st.integers(0, 4), max_size=6), st.data())
def test_weights_of_any_step_find_their_next_batch(
    batches: int, kills: list[int], data: st.DataObject
) -> None:
    """Train; at each kill go back to the weights of some earlier step, and on from there."""
    plan = schedule(batches)
    journal = ResumeJournal()
    step = 0
    for backwards in [*kills, 0]:
        restored = max(0, step - backwards)
        found = journal.look_up(restored, plan)
        if restored or journal.entries:
            assert found is not None
            run_epoch, state = found
            assert (run_epoch, state["batch"]) == divmod(restored, batches)
            assert position_of(plan, state) == (run_epoch, restored % batches)
        step = restored
        for _ in range(data.draw(st.integers(1, 7))):  # batches until the next kill
            epoch, batch = divmod(step, batches)
            if step == restored or batch == 0:
                journal.note(step, epoch, batches - batch, state_of(plan, epoch, batch))
            step += 1


def test_a_journal_that_does_not_reach_says_nothing() -> None:
    journal = ResumeJournal()
    assert journal.look_up(3, schedule(6)) is None
    journal.note(10, 0, 6, state_of(schedule(6), 0, 0))
    assert journal.look_up(9, schedule(6)) is None
    assert journal.look_up(17, schedule(6)) is None
    assert journal.look_up(16, schedule(6)) == (1, state_of(schedule(6), 1, 0))


# -- Keras --------------------------------------------------------------------------------------


def train(
    backend: str, store: Path, folder: Path, kill_after: int, save_freq: str, servers: Servers
) -> None:
    folder.mkdir(exist_ok=True)
    command = [str(CLIENT), str(store), str(folder), str(kill_after), save_freq]
    run_together(
        [command], [environment(KERAS_BACKEND=backend)],
        folder=folder, servers=servers, status=-9 if kill_after else 0,
    )  # fmt: skip


def train_ranks(
    backend: str,
    store: Path,
    run: Path,
    kill_after: int,
    batch_size: int,
    world_size: int,
    servers: Servers,
) -> list[list[int]]:
    """Let every rank go on with the weights and the journal of the run before.

    Returns
    -------
    list
        The samples of each step, of all ranks.
    """
    folders = [run / f"{rank} of {world_size}" for rank in range(world_size)]
    for folder in folders:
        folder.mkdir(parents=True)
        if (run / "backup").exists():
            shutil.copytree(run / "backup", folder / "backup")
    commands = [
        [str(CLIENT), str(store), str(folder), str(kill_after), "1",
         str(batch_size), str(rank), str(world_size)]
        for rank, folder in enumerate(folders)
    ]  # fmt: skip
    run_together(
        commands, [environment(KERAS_BACKEND=backend)] * world_size,
        folder=run, servers=servers, status=-9 if kill_after else 0,
    )  # fmt: skip
    if kill_after:
        shutil.rmtree(run / "backup", ignore_errors=True)
        shutil.copytree(folders[-1] / "backup", run / "backup")
    steps = zip(*map(lines, folders), strict=True)
    return [[int(sample) for share in step for sample in share.split()] for step in steps]


def lines(folder: Path) -> list[str]:
    return (folder / "seen").read_text().splitlines()


@pytest.fixture(scope="module", params=backends("tensorflow", "torch", soak=("jax",)))
def uninterrupted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, imported: Servers
) -> tuple[str, Path, Path]:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    store = write_split(folder / "s", traced_pixels(22))
    train(request.param, store, folder / "whole", 0, "epoch", imported)
    assert len(lines(folder / "whole")) == 3 * BATCHES
    return request.param, store, folder


@pytest.mark.parametrize(
    ("save_freq", "kills"), [("1", [4, 1, 5]), ("4", [7, 6]), ("epoch", [8])], ids=str
)
def test_training_that_was_killed_sees_every_batch_and_ends_with_the_same_weights(
    uninterrupted: tuple[str, Path, Path], save_freq: str, kills: list[int], imported: Servers
) -> None:
    backend, store, folder = uninterrupted
    if backend != "tensorflow" and save_freq != "1":
        pytest.skip("the journal is the same on every backend")
    if backend != "tensorflow":
        kills = kills[:1]
    run = folder / f"save every {save_freq}"
    for kill in kills:
        train(backend, store, run, kill, save_freq, imported)
    train(backend, store, run, 0, save_freq, imported)
    expected = lines(folder / "whole")
    saved_every = BATCHES if save_freq == "epoch" else int(save_freq)
    told: list[str] = []
    at = 0
    for kill in kills:
        told += expected[at : at + kill]
        at = (at + kill) // saved_every * saved_every
    told += expected[at:]
    assert lines(run) == told
    weights = np.load(run / "weights.npy")
    assert np.array_equal(weights, np.load(folder / "whole" / "weights.npy"))
    assert not (run / "backup").exists()


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
@pytest.mark.soak
def test_two_processes_that_were_killed_are_followed_by_three_and_by_one(
    tmp_path: Path, imported: Servers
) -> None:
    """Within one epoch of 22 samples: 4 by two ranks, 6 by three, and the rest by one."""
    store = write_split(tmp_path / "s", traced_pixels(22))
    run = tmp_path / "run"
    steps = train_ranks("torch", store, run, 1, batch_size=2, world_size=2, servers=imported)
    steps += train_ranks("torch", store, run, 1, batch_size=2, world_size=3, servers=imported)
    steps += train_ranks("torch", store, run, 0, batch_size=7, world_size=1, servers=imported)
    sizes = [4, 6, 7, 5, *[7, 7, 7, 1] * 2]  # of three epochs
    assert [len(step) for step in steps] == sizes
    for epoch in (steps[:4], steps[4:8], steps[8:]):
        assert sorted(sample for step in epoch for sample in step) == list(range(22))


# Keras' own saving of weights, on TensorFlow.
saves = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class InterruptedFitError(RuntimeError):
    pass


def adam_model() -> keras.Model:
    model = keras.Sequential([keras.Input((8, 6, 3)), keras.layers.Conv2D(22, 1)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def fit(split: Path, folder: Path, stop_after: int | None) -> tuple[int, np.ndarray]:
    """Train a compiled model with Adam, perhaps until it is interrupted."""
    keras.utils.set_random_seed(1)
    model = adam_model()

    def interrupt(batch: int, logs: Any) -> None:
        if stop_after == batch:
            raise InterruptedFitError

    with ZarrSequence(split, 4, seed=3, workers=1) as seq:
        model.fit(
            seq,
            epochs=3,
            verbose=0,
            validation_data=ZarrSequence(split, 4, shuffle=False, workers=0),
            callbacks=[
                keras.callbacks.BackupAndRestore(str(folder), save_freq=1),
                ResumeCallback(seq, folder),
                keras.callbacks.LambdaCallback(on_train_batch_end=interrupt),
            ],
        )
        assert seq.epoch == 3
    return int(model.optimizer.iterations.numpy()), model.get_weights()[0]


@saves
def test_a_short_epoch_takes_no_step_without_a_batch(
    split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TensorFlow counts a step that finds no batch, and Adam then takes other ones."""
    steps, weights = fit(split, tmp_path / "whole", None)
    with pytest.raises(InterruptedFitError):
        fit(split, tmp_path / "backup", 3)
    assert capsys.readouterr().out == ""
    resumed, same = fit(split, tmp_path / "backup", None)
    assert capsys.readouterr().out == (
        "ResumeCallback goes on after step 4 with epoch 1, batch 5 of 6\n"
    )
    assert steps == resumed == 3 * BATCHES
    assert np.array_equal(weights, same)


@saves
@pytest.mark.parametrize("stops", [[(4, 2)], [(4, 2), (3, 1)], [(2, 9), (4, 5)]], ids=str)
def test_a_run_of_other_batches_goes_on_within_the_epoch(
    split: Path, tmp_path: Path, stops: list[tuple[int, int]]
) -> None:
    """The last batch of this epoch is partial; those of the others are full."""
    log: list[list[int]] = []
    for batch_size, stop_after in [*stops, (5, 0)]:
        keras.utils.set_random_seed(1)
        model = traced_model(keras, log)
        steps = 0

        def interrupt(batch: int, logs: Any, stop_after: int = stop_after) -> None:
            nonlocal steps
            steps += 1
            if steps == stop_after:
                raise InterruptedFitError

        with (
            ZarrSequence(split, batch_size, seed=3, subset=slice(20), workers=1) as seq,
            pytest.raises(InterruptedFitError) if stop_after else nullcontext(),
        ):
            history = model.fit(
                seq,
                epochs=3,
                verbose=0,
                callbacks=[
                    keras.callbacks.BackupAndRestore(str(tmp_path), save_freq=1),
                    ResumeCallback(seq, tmp_path),
                    keras.callbacks.LambdaCallback(on_train_batch_end=interrupt),
                ],
            )
            assert seq.epoch == 3
            assert len(history.epoch) == 2 if stops[0] == (2, 9) else 3
    samples = [sample for batch in log for sample in batch]
    assert len(samples) == 60
    for epoch in range(3):
        assert sorted(samples[20 * epoch :][:20]) == list(range(20))
    assert int(model.optimizer.iterations.numpy()) == len(log)


@saves
def test_a_callback_that_wants_to_stop_in_a_short_epoch_is_heard(
    split: Path, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedFitError):
        fit(split, tmp_path, 3)
    model = adam_model()

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = True

    with ZarrSequence(split, 4, seed=3, workers=1) as seq:
        callbacks = [
            Stop(),
            keras.callbacks.BackupAndRestore(str(tmp_path), save_freq=1),
            ResumeCallback(seq, tmp_path),
        ]
        history = model.fit(seq, epochs=3, verbose=0, callbacks=callbacks)
    assert history.epoch == [0]


@saves
def test_a_journal_of_other_batches_is_named_with_its_file(split: Path, tmp_path: Path) -> None:
    with pytest.raises(InterruptedFitError):
        fit(split, tmp_path, 3)
    model = adam_model()
    with (
        ZarrSequence(split, 4, seed=5) as seq,
        pytest.raises(
            ValueError, match=r"zarrfeed.json: .*seed was 3 and is 5.*remove this"
        ) as failed,
    ):
        model.fit(
            seq,
            verbose=0,
            callbacks=[
                keras.callbacks.BackupAndRestore(str(tmp_path)),
                ResumeCallback(seq, tmp_path),
            ],
        )
    assert str(failed.value).count("look up") == 1
    with pytest.raises(TypeError, match=r"needs the path of its journal.*not 3"):
        ResumeCallback(seq, 3)  # type: ignore[arg-type]


@saves
def test_a_wrong_order_of_callbacks_is_named(split: Path, tmp_path: Path) -> None:
    with pytest.raises(InterruptedFitError):
        fit(split, tmp_path, 3)
    model = adam_model()
    with (
        ZarrSequence(split, 4, seed=3) as seq,
        pytest.raises(RuntimeError, match="list ResumeCallback after BackupAndRestore"),
    ):
        model.fit(
            seq,
            verbose=0,
            callbacks=[
                ResumeCallback(seq, tmp_path),
                keras.callbacks.BackupAndRestore(str(tmp_path)),
            ],
        )


def fit_without_backup(
    split: Path, folder: Path, stop_after: int, weights: Path | None = None
) -> int:
    """Train with ResumeCallback alone until interrupted; the user keeps the weights, or nobody."""
    model = adam_model()
    steps = 0
    if weights is not None and weights.exists():
        model.optimizer.build(model.trainable_variables)
        model.load_weights(weights)

    def interrupt(batch: int, logs: Any) -> None:
        nonlocal steps
        steps += 1
        if weights is not None:
            model.save_weights(weights)
        if steps == stop_after:
            raise InterruptedFitError

    with ZarrSequence(split, 4, seed=3, workers=1) as seq, pytest.raises(InterruptedFitError):
        model.fit(
            seq,
            epochs=3,
            verbose=0,
            callbacks=[
                ResumeCallback(seq, folder),
                keras.callbacks.LambdaCallback(on_train_batch_end=interrupt),
            ],
        )
    return int(model.optimizer.iterations.numpy())


@saves
def test_weights_that_nobody_restores_are_told_once(
    split: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "zarrfeed"):
        fit_without_backup(split, tmp_path, BATCHES + 2)
    assert "saves only the position in the data" in caplog.text
    said = r"begins anew: .*zarrfeed\.json had come to step 6, .* at step 0.*BackupAndRestore bef"
    with pytest.warns(UserWarning, match=said) as told:
        assert fit_without_backup(split, tmp_path, BATCHES + 2) == BATCHES + 2
    assert len([one for one in told if "ResumeCallback" in str(one.message)]) == 1


@saves
def test_weights_that_the_user_restores_are_followed(split: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.weights.h5"
    fit_without_backup(split, tmp_path, BATCHES + 2, kept)
    assert fit_without_backup(split, tmp_path, 2, kept) == BATCHES + 4


@saves
def test_steps_per_epoch_take_no_harm(split: Path, tmp_path: Path) -> None:
    """Keras then goes on with its iterator: two passes in four epochs of three steps."""
    log: list[list[int]] = []
    model = traced_model(keras, log)
    with ZarrSequence(split, 4, seed=3, workers=1) as seq:
        model.fit(
            seq,
            epochs=4,
            steps_per_epoch=3,
            verbose=0,
            callbacks=[ResumeCallback(seq, tmp_path)],
        )
    assert len(log) == 12
    for one_pass in (log[:6], log[6:]):
        assert sorted(sample for batch in one_pass for sample in batch) == list(range(22))
