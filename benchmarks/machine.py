"""Describe the machine of a measurement."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = (
    "zarrfeed", "numpy", "numcodecs", "zarr", "keras", "tensorflow", "tensorflow-cpu", "jax",
    "torch", "tensorstore", "zarrs", "h5py", "grain", "array-record", "mosaicml-streaming",
    "litdata", "webdataset", "annbatch", "insitubatch", "monai", "torchio", "nnunetv2",
)  # fmt: skip


def machine() -> str:
    """Describe this machine and the installed packages in one line."""
    memory = psutil.virtual_memory().total >> 30
    return (
        f"{cores()} cores ({_processor()}), {memory} GiB, {platform.system()} {platform.release()} "
        f"{platform.machine()}, Python {platform.python_version()}, {_packages()}{_commit()}"
    )


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> str:
    """Return the load average as text; it should be near 0 before a benchmark."""
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _packages() -> str:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _commit() -> str:
    """Return the commit, with + if files have been changed since; empty outside of a clone."""
    here = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"],
            cwd=here, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f", commit {commit}"
