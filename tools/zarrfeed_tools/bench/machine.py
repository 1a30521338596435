"""Describe the machine of a measurement."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

_PACKAGES = ("zarrfeed", "numpy", "numcodecs", "zarr")


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine as this process sees it.

    Attributes
    ----------
    cores
        Number of cores that this process may use.
    processor
        Name of the processor; may be empty.
    memory
        Total memory in bytes.
    system
        Operating system and architecture.
    python, packages
        Version of Python, and versions of packages by name.
    """

    cores: int
    processor: str
    memory: int
    system: str
    python: str
    packages: dict[str, str]


def describe_machine() -> Machine:
    """Return a description of this machine."""
    return Machine(
        cores=usable_cores(),
        processor=_processor(),
        memory=int(psutil.virtual_memory().total),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: found for name in _PACKAGES if (found := _version(name))},
    )


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
