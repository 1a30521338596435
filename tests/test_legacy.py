"""tf_keras, which takes the workers in ``fit``: exact, and without its forked pool."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from scripts import output_on
from stores import traced_pixels, write_split
from zarrfeed import ZarrSequence

if TYPE_CHECKING:
    from fork_server import ForkServers

CLIENT = Path(__file__).with_name("legacy_client.py")

if importlib.util.find_spec("tf_keras") is None:
    pytest.skip("tf_keras is not installed", allow_module_level=True)


class Run(Protocol):
    """Runs a script with tf_keras."""

    def __call__(self, script: str, *arguments: Path) -> str:
        """Return what it printed."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, imported: ForkServers | None) -> Run:
    path = tmp_path_factory.mktemp("scripts") / "script.py"

    def run(script: str, *arguments: Path) -> str:
        path.write_text(script)
        return output_on("tf_keras", path, *arguments, servers=imported)

    return run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_split(tmp_path_factory.mktemp("legacy") / "s", traced_pixels(22))


@pytest.fixture(scope="module")
def found(store: Path, imported: ForkServers | None) -> dict[str, Any]:
    return dict(json.loads(output_on("tf_keras", CLIENT, store, servers=imported)))


@pytest.fixture(scope="module")
def order(store: Path) -> list[list[int]]:
    with ZarrSequence(store, 4, seed=1, workers=0) as seq:
        return [mask[:, 0, 0].tolist() for _ in range(3) for _, mask in seq]


@pytest.mark.parametrize("workers", ["alone", "threads", "processes"])
class TestEveryWayOfWorking:
    def test_fit_sees_the_batches_of_the_seed_in_order(
        self, found: dict[str, Any], order: list[list[int]], workers: str
    ) -> None:
        assert found[f"{workers}: fit"] == order[:12]

    def test_every_epoch_begins_anew_with_fewer_steps(
        self, found: dict[str, Any], order: list[list[int]], workers: str
    ) -> None:
        assert found[f"{workers}: steps_per_epoch=2"] == order[0:2] + order[6:8] + order[12:14]

    def test_predictions_stand_in_order(self, found: dict[str, Any], workers: str) -> None:
        assert found[f"{workers}: predict"]

    def test_no_process_is_forked(self, found: dict[str, Any], workers: str) -> None:
        expected = ["worker"] if workers == "processes" else []
        assert found[f"{workers}: children"] == expected


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_sequence_around_ours_has_the_epochs_of_keras(
    found: dict[str, Any], order: list[list[int]], shuffle: bool
) -> None:
    for epoch in range(3):
        ours = found[f"around, shuffle={shuffle}"][6 * epoch : 6 * epoch + 6]
        right = order[6 * epoch : 6 * epoch + 6]
        assert sorted(ours) == sorted(right) if shuffle else ours == right


@pytest.mark.parametrize(
    ("argument", "instead"),
    [
        ("y", r"`y` should not be passed.*fields="),
        ("sample_weight", r"`sample_weight` should not be passed.*class_weight="),
        ("class_weight", r"`class_weight` should not be passed.*ZarrSequence\(class_weight="),
        ("validation_data", r"`y` should not be passed"),
    ],
)
def test_arguments_that_would_not_be_used_are_refused(
    found: dict[str, Any], argument: str, instead: str
) -> None:
    assert re.search(instead, found["refusals"][argument])


PLAIN = """
import sys
import tf_keras
from tf_keras.src.engine import data_adapter
kept = list(data_adapter.ALL_ADAPTER_CLS)
from traced_model import traced_model
from zarrfeed import ZarrSequence
with ZarrSequence(sys.argv[1], 4) as seq:
    data_adapter.ALL_ADAPTER_CLS[:] = kept  # as if it could not be reached
    log = []
    traced_model(tf_keras, log).fit(seq, epochs=2, verbose=0, workers=2)
    print(sorted(sum(log[:6], [])), sorted(sum(log[6:], [])), sep=";")
"""


def test_a_tf_keras_that_keeps_its_adapters_to_itself_is_as_exact(run: Run, store: Path) -> None:
    first, second = run(PLAIN, store).strip().split(";")
    assert first == second == str(list(range(22)))


OTHER = """
import numpy as np
import tf_keras
import zarrfeed
zarrfeed.ZarrSequence  # from now on our adapter stands in the list

class Mine(tf_keras.utils.Sequence):
    def __len__(self):
        return 3
    def __getitem__(self, index):
        return np.full((2, 1), index, np.float32), np.zeros((2, 1), np.float32)

model = tf_keras.Sequential([tf_keras.Input((1,)), tf_keras.layers.Lambda(lambda x: x)])
print(model.predict(Mine(), verbose=0, workers=2).ravel().tolist())
"""


def test_other_sequences_go_their_usual_way(run: Run) -> None:
    assert run(OTHER).strip() == "[0.0, 0.0, 1.0, 1.0, 2.0, 2.0]"


MONITOR = """
import sys
import tf_keras
from traced_model import traced_model
from zarrfeed import FeedMonitor, ResumeCallback, ZarrSequence
with ZarrSequence(sys.argv[1], 4) as seq:
    lines = []
    traced_model(tf_keras, []).fit(
        seq, epochs=2, verbose=0, workers=2, callbacks=[FeedMonitor(seq, lines.append)]
    )
    print([line.split(",")[0].split(": ")[0] for line in lines])
    try:
        ResumeCallback(seq, "journal")
    except NotImplementedError as error:
        print(error)
"""


def test_the_feed_monitor_watches_tf_keras_and_resuming_says_that_it_cannot(
    run: Run, store: Path
) -> None:
    lines, error = run(MONITOR, store).strip().split("\n")
    assert lines == "['epoch 1', 'epoch 2']"
    assert error.startswith("ResumeCallback needs Keras 3")
