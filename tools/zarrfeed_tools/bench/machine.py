"""On what is it measured?"""

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
    """What this process sees of its machine.

    Attributes
    ----------
    cores
        That this process may use.
    processor
        Its name, as far as it is known.
    memory
        Bytes of it.
    system
        Operating system and architecture.
    python, packages
        Versions.
    """

    cores: int
    processor: str
    memory: int
    system: str
    python: str
    packages: dict[str, str]


def describe_machine() -> Machine:
    """Look at the machine."""
    return Machine(
        cores=usable_cores(),
        processor=_processor(),
        memory=int(psutil.virtual_memory().total),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: found for name in _PACKAGES if (found := _version(name))},
    )


def usable_cores() -> int:
    """Count the cores that this process may use."""
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
