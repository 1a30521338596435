"""The scripts of the guides to strategies run in real processes, and print what the guides show."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from doc_blocks import fits
from fork_server import write_client
from scripts import environment, run_together
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_tools.cells import write_cells

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from fork_server import ForkServers

    class Run(Protocol):
        """Runs a script in several processes, each with its variables."""

        def __call__(
            self, command: Sequence[str], each: Sequence[dict[str, str]], *, status: int = 0
        ) -> list[str]:
            """Return what each has printed."""


GUIDES = Path(__file__).resolve().parents[1] / "docs/guides/distributed"
TWO_DEVICES = "--xla_force_host_platform_device_count=2"
LEGACY = {"KERAS_BACKEND": "tensorflow"}  # tf_keras' scripts ask for it themselves

# Runs a script until it has trained on 7 batches, and leaves without a word.
KILLED = """
import os, runpy, sys
import zarrfeed

ends, seen = zarrfeed.ResumeCallback.on_train_batch_end, []

def die(self, batch, logs=None):
    ends(self, batch, logs)
    seen.append(batch)
    if len(seen) == 7:
        os._exit(9)

zarrfeed.ResumeCallback.on_train_batch_end = die
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# Runs a script of tf_keras until it has trained on $KILL batches, or tells which epochs were read.
KILLED_TF_KERAS = """
import os, runpy, sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"
import tf_keras
import zarrfeed

class Backup(tf_keras.callbacks.BackupAndRestore):
    seen = 0

    def _implements_train_batch_hooks(self):
        return True  # or only ends of epochs would be told

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.seen == int(os.environ["KILL"]):
            os._exit(9)

class Told(zarrfeed.ZarrSequence):
    def close(self):
        print("read", [(each.epoch, each.batches) for each in self.stats()], flush=True)
        super().close()

tf_keras.callbacks.BackupAndRestore = Backup
zarrfeed.ZarrSequence = Told
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# Runs a script as if the machine had two devices.
TWO_CPUS = """
import functools, runpy, sys
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = functools.partial(tf.distribute.MirroredStrategy, ["CPU:0", "CPU:1"])
tf.distribute.MirroredStrategy = strategy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# Runs a batch script, in which `python` comes to the server that has forked this.
BATCH = """
import subprocess, sys

sys.exit(subprocess.run(["bash", sys.argv[1]]).returncode)
"""

SCRIPTS = {
    "killed.py": KILLED,
    "killed_tf_keras.py": KILLED_TF_KERAS,
    "two_cpus.py": TWO_CPUS,
    "batch.py": BATCH,
}

# What srun does: it starts the tasks, and kills the others if one fails.
SRUN = f"""#!{sys.executable}
import os, subprocess, sys, time

command = sys.argv[1:]
while command[0].startswith("--"):
    command = command[1:]
count = int(os.environ["SLURM_NTASKS"])
step = {{"SLURM_STEP_NUM_TASKS": str(count), "SLURM_STEP_NODELIST": "127.0.0.1"}}
tasks = []
try:
    for rank in range(count):
        own = {{"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}}
        tasks.append(subprocess.Popen(command, env={{**os.environ, **step, **own}}))
    while any(task.poll() is None for task in tasks):
        if any(task.poll() for task in tasks):
            sys.exit(1)
        time.sleep(0.05)
finally:
    for task in tasks:
        task.kill()
        task.wait()
sys.exit(any(task.returncode for task in tasks))
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the guides begin with: cells.zarr, with 40 samples to train on and 10 to evaluate."""
    folder = tmp_path_factory.mktemp("cells")
    for split, count in (("train", 40), ("val", 10)):
        write_cells(folder / split, count, size=64, seed=len(split))
        pairs = PairedFolders(folder / split / "images", folder / split / "masks")
        convert(pairs, folder / "cells.zarr", split=split, workers=1)
    return folder / "cells.zarr"


@pytest.fixture
def folder(cells: Path, tmp_path: Path) -> Path:
    """A folder with the scripts of all guides, those above, and the store."""
    shutil.copytree(GUIDES, tmp_path, dirs_exist_ok=True)
    (tmp_path / "cells.zarr").symlink_to(cells)
    for name, text in SCRIPTS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def require(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install -e '.[backends]'")


def free_port(first: int = 20000, last: int = 39999) -> int:
    for port in range(first + os.getpid() % 1000, last):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


@pytest.fixture
def run(folder: Path, imported: ForkServers | None) -> Run:
    """What runs a script in several processes, each with its variables."""

    def run(
        command: Sequence[str], each: Sequence[dict[str, str]], *, status: int = 0
    ) -> list[str]:
        settings = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
        return run_together(
            [command] * len(each), [environment(**settings, **variables) for variables in each],
            folder=folder, servers=imported, status=status,
        )  # fmt: skip

    return run


def run_batch(folder: Path, run: Run, name: str, backend: str, job: int, tasks: int) -> str:
    """Run a batch script as SLURM does, on this machine."""
    tools = folder / "bin"
    tools.mkdir()
    if sys.platform == "linux":
        write_client(tools / "python", "script")
    for tool, text in (("srun", SRUN), ("scontrol", "#!/bin/sh\necho 127.0.0.1\n")):
        (tools / tool).write_text(text)
        (tools / tool).chmod(0o755)
    variables = {
        "KERAS_BACKEND": backend,
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(job),
        "SLURM_JOB_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": str(tasks),
        "SLURM_PROCID": "0",  # SLURM sets it outside of srun, too
        "EPOCHS": "2",
    }
    (output,) = run(["batch.py", name], [variables])
    return output


def require_shown(guide: str, outputs: Sequence[str]) -> None:
    """Compare what processes have printed with what a guide shows, whose lines have any order."""
    (shown,) = re.findall(r"```console\n(.*?)```", (GUIDES / guide).read_text("utf-8"), re.DOTALL)
    # Two processes may begin a line of one file at the same time.
    printed = re.sub(r"(?<=.)(?=rank \d: )", "\n", "\n".join(outputs)).splitlines()
    for line in shown.splitlines():
        assert any(fits(one, line) for one in printed), f"{line!r} is not in\n" + "\n".join(printed)


# Ends a script of Keras: tells which weights the process has, at once, since others write, too.
DIGEST = """
import hashlib, sys

weights = b"".join(weight.tobytes() for weight in model.get_weights())
sys.stdout.write(f"rank {rank}: weights {hashlib.sha256(weights).hexdigest()}\\n")
sys.stdout.flush()
"""


def require_equal_weights(output: str, processes: int) -> None:
    digests = dict(re.findall(r"rank (\d+): weights (\w{64})", output))
    assert len(digests) == processes, output
    assert len(set(digests.values())) == 1, digests


# Of 40 samples, one process has trained on 16 when the backup is made, in 4 steps of 4. Two have 3
# batches to go: 24 samples.
GOES_ON = "ResumeCallback goes on after step 4 with epoch 1, batch 3 of 5"


def jax_tasks(count: int) -> list[dict[str, str]]:
    address = f"127.0.0.1:{free_port()}"
    return [
        {
            "KERAS_BACKEND": "jax",
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
            "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
            "KERAS_DISTRIBUTION_PROCESS_ID": str(rank),
        }
        for rank in range(count)
    ]


@pytest.mark.soak
def test_jax_goes_on_within_an_epoch_with_more_processes_that_slurm_starts(
    folder: Path, run: Run
) -> None:
    require("jax")
    killed = ["killed.py", "jax_data_parallel.py", "2"]
    run(killed, jax_tasks(1), status=9)
    output = run_batch(folder, run, "jax.sbatch", "jax", free_port(61440, 65535) - 61440, 2)
    require_shown("jax-data-parallel.md", [output])
    assert output.count(GOES_ON) == 2
    assert not list((folder / "backup").glob("*"))


@pytest.mark.soak
def test_torch_goes_on_within_an_epoch_with_more_processes_that_slurm_starts(
    folder: Path, run: Run
) -> None:
    require("torch")
    with (folder / "torch_ddp.py").open("a") as script:
        script.write(DIGEST)
    port = free_port()
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    killed = ["killed.py", "torch_ddp.py", "2"]
    first = {"KERAS_BACKEND": "torch", "MASTER_PORT": str(port), **alone}
    run(killed, [first], status=9)
    output = run_batch(folder, run, "torch.sbatch", "torch", free_port() - 20000, 2)
    require_shown("torch-ddp.md", [output])
    assert output.count(GOES_ON) == 2
    require_equal_weights(output, 2)


def test_torch_processes_train_one_model_though_they_begin_with_other_weights(
    folder: Path, run: Run
) -> None:
    require("torch")
    with (folder / "torch_ddp.py").open("a") as script:
        script.write(DIGEST)
    common = {"KERAS_BACKEND": "torch", "MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2"}
    port = str(free_port())
    each = [
        {**common, "MASTER_PORT": port, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        for rank in range(2)
    ]
    outputs = run(["torch_ddp.py", "1"], each)
    require_equal_weights("".join(outputs), 2)


@pytest.mark.soak
def test_parts_of_a_model_are_trained_in_several_processes(run: Run) -> None:
    require("jax")
    script = ["jax_model_parallel.py", "2"]
    tasks = [{**task, "XLA_FLAGS": TWO_DEVICES} for task in jax_tasks(2)]
    require_shown("jax-model-parallel.md", run(script, tasks))


def test_devices_of_one_process_share_every_batch(run: Run) -> None:
    script = ["two_cpus.py", "mirrored.py", "2"]
    require_shown("mirrored.md", run(script, [{"KERAS_BACKEND": "tensorflow"}]))


def test_tf_keras_divides_every_batch_among_workers(run: Run) -> None:
    require("tf_keras")
    hosts = [f"127.0.0.1:{free_port(20000)}", f"127.0.0.1:{free_port(30000)}"]
    tasks = [
        json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}})
        for index in range(2)
    ]
    script = ["multi_worker_mirrored.py", "2"]
    outputs = run(script, [{**LEGACY, "TF_CONFIG": task} for task in tasks])
    require_shown("multi-worker-mirrored.md", outputs)


@pytest.mark.soak  # for the time that TensorFlow takes to start
def test_tf_keras_begins_the_killed_epoch_again_in_its_order(run: Run) -> None:
    require("tf_keras")
    script = ["killed_tf_keras.py", "multi_worker_mirrored.py", "3"]
    cluster = {"worker": [f"127.0.0.1:{free_port()}"]}
    task = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}})
    run(script, [{**LEGACY, "TF_CONFIG": task, "KILL": "8"}], status=9)
    (output,) = run(script, [{**LEGACY, "TF_CONFIG": task, "KILL": "0"}])
    assert "Epoch 1/3" not in output
    assert "read [(1, 5), (2, 5)]" in output
