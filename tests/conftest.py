"""Fixtures that many tests share."""

from __future__ import annotations

import gc
import locale
import os
import shutil
import signal
import ssl
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from fork_server import ForkServers
from servers.fixtures import bucket, fault_proxy, published, s3, web  # noqa: F401  pytest finds them
from stores import Pixels, traced_pixels, write_split

if TYPE_CHECKING:
    from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Tests run side by side, and torch's threads would spin while they wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# XLA would optimise what runs a few times only for longer than it runs.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Hundreds of short processes would compile zarrfeed anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Timings never decide a test: Hypothesis would fail an example that a busy machine slowed down.
# Half of its examples are enough for every day; `pytest --hypothesis-profile=thorough` tries more.
settings.register_profile("suite", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("suite")

# A small conversion waits for the disk longer than it works: it calls fsync some fifty times. In
# memory that is free. With TMPDIR=/tmp the tests run on a disk.
MEMORY = Path("/dev/shm")
SCRATCH: Path | None = None  # of this run, in the process that starts the others
if "TMPDIR" not in os.environ:
    in_memory = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 << 30
    # A short name, because those of sockets may have 107 characters.
    SCRATCH = Path(tempfile.mkdtemp(prefix="zf", dir=MEMORY if in_memory else None))
    os.environ["TMPDIR"] = str(SCRATCH)
    tempfile.tempdir = None  # so that TMPDIR is looked at again

CAMVID = Path(__file__).resolve().parents[2] / "shared" / "data" / "camvid"


# A shell that runs the tests in the background has them ignore Ctrl-C, and their children, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep the million objects of imported packages out of every later collection.

    These come less often than Python's 700 new objects would have them: that saves 4 % of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    """Remove what processes that tests have killed have left, and keep folders of failed tests."""
    if SCRATCH is not None:
        for entry in SCRATCH.iterdir():
            if not exitstatus or not entry.name.startswith("pytest-of-"):
                shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink()
        with suppress(OSError):
            SCRATCH.rmdir()


@pytest.fixture(scope="session")
def of_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the processes of pytest-xdist share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def _compiled_once(of_all_workers: Path) -> None:
    """Keep what JAX has compiled, which takes two thirds of a short script, for other processes."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(of_all_workers / "jax")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


@pytest.fixture(scope="session", autouse=True)
def _one_certificate(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Trust one authority: for every store, obstore would read all of the system's, in 10 ms.

    The servers of tests are on this machine, and have no certificates.
    """
    if found := ssl.create_default_context().get_ca_certs(binary_form=True):
        path = tmp_path_factory.mktemp("trusted") / "one.pem"
        path.write_text(ssl.DER_cert_to_PEM_cert(found[0]))
        os.environ["SSL_CERT_FILE"] = str(path)
        os.environ.pop("SSL_CERT_DIR", None)


@pytest.fixture(autouse=True)
def _same_locale() -> Iterator[None]:
    """Keep the locale, which SimpleITK sets to "C" when it writes VTK files."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.fixture(scope="session")
def camvid() -> Path:
    """The CamVid folder, where there is one."""
    if not CAMVID.is_dir():
        pytest.skip("needs CamVid beside the checkout, in ../shared/data/camvid")
    return CAMVID


@pytest.fixture(scope="session")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 samples of 8×6, one a chunk, four a shard: a ragged last shard and a ragged last batch."""
    return write_split(tmp_path_factory.mktemp("store") / "train", traced_pixels(22))


@pytest.fixture(scope="session")
def pixels() -> Pixels:
    """What `split` holds."""
    return traced_pixels(22)


@pytest.fixture(scope="session")
def imported(of_all_workers: Path) -> Iterator[ForkServers | None]:
    """What runs scripts and commands with Keras imported; None if not on Linux."""
    if sys.platform != "linux":
        yield None
        return
    with closing(ForkServers(of_all_workers / "servers")) as servers:
        yield servers
