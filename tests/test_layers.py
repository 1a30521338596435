"""An import may only point down, and each outside world has one module that knows it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import zarrfeed_convert

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
LOADER = ROOT / "loader" / "zarrfeed"

LAYERS = [
    {"errors", "address", "schema", "claims", "array_metadata", "attributes", "index_shuffle",
     "block_order", "order", "plan", "schedule", "slot", "lookahead", "forks", "living", "choice",
     "ranks", "state", "stats", "report", "passes", "spelling"},
    {"store", "files", "descriptors", "nodes", "truncation", "codecs", "chunk_table", "shards",
     "flat", "direct", "grid", "indirect", "reader", "pixel_statistics", "tiles"},
    {"arena", "memory", "workers", "workers.recipe", "workers.copies", "workers.references",
     "workers.inline", "workers.threads", "workers.wire", "workers.process",
     "workers.worker_process", "workers.processes"},
    {"feeder", "arguments", "request", "sharing", "stream", "opening"},
    {"tfdata", "torchdata", "distribution", "front", "adapting", "sequence", "legacy", "callbacks"},
]  # fmt: skip
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}

# The rooms of the converter: packages and modules, from the ground up.
CONVERTER = ROOT / "converters" / "zarrfeed_convert"
FLOORS = [
    {"source", "failures", "geometry", "decoding", "shards", "supervision"},
    {"labels", "mask_map", "mask_ids"},
    {"planning", "crews", "sources", "formats", "facts"},
    {"report", "splits"},
    {"verification"},
    {"conversion", "repacking"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Outside world -> the only modules that may import it.
WORLDS = {
    "keras": {"sequence", "callbacks", "distribution"},  # the last for old ones alone
    "jax": {"distribution"},
    "tf_keras": {"legacy", "callbacks"},
    "tensorflow": {"tfdata", "front", "sequence", "legacy"},  # but for tfdata, for typing alone
    "torch": {"torchdata", "sequence"},
    "zarr": {"indirect"},
    "numcodecs": {"codecs"},
    "google_crc32c": {"codecs"},
    "psutil": {"memory"},
    "resource": {"descriptors", "store", "workers.recipe"},
    "cloudpickle": {"workers.process", "workers.processes"},
    "socket": {"workers.wire", "workers.process", "workers.worker_process"},
    "mmap": {"arena", "slot", "shards", "flat", "truncation"},
    "ctypes": {"truncation"},
}

# Public modules of the loader that the other packages may name: its page and its pure layer.
PUBLIC = {
    "zarrfeed", "zarrfeed.address", "zarrfeed.errors", "zarrfeed.schema",
    "zarrfeed.array_metadata", "zarrfeed.nodes", "zarrfeed.order", "zarrfeed.spelling",
}  # fmt: skip


def modules(package: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        yield name.removesuffix(".__init__").replace("__init__", ""), path


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at any depth, also for type checking."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imports_when_loaded(path: Path) -> Iterator[str]:
    """Every module that a file imports when it is loaded itself: not later, not for types alone."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("module", "path"), [m for m in modules(CONVERTER) if m[0]], ids=str)
def test_the_converters_rooms_stand_on_each_other(module: str, path: Path) -> None:
    room = module.split(".")[0]
    assert room in FLOOR, f"{room} has no floor yet"
    for imported in imports_when_loaded(path):
        package, _, below = imported.partition(".")
        other = below.split(".")[0]
        if package == "zarrfeed_convert" and other in FLOOR:
            assert FLOOR[other] <= FLOOR[room], f"{module} imports {imported} from above"


@pytest.mark.parametrize(("module", "path"), [m for m in modules(LOADER) if m[0]], ids=str)
def test_imports_point_down(module: str, path: Path) -> None:
    assert module in LEVEL, f"{module} has no layer yet"
    for imported in imports(path):
        target = imported.removeprefix("zarrfeed.")
        if imported.startswith("zarrfeed.") and target in LEVEL:
            assert LEVEL[target] <= LEVEL[module], f"{module} imports {target} from above"


@pytest.mark.parametrize(("module", "path"), list(modules(LOADER)), ids=str)
def test_each_outside_world_has_its_own_module(module: str, path: Path) -> None:
    for imported in {name.split(".")[0] for name in imports(path)}:
        if imported in WORLDS:
            assert module in WORLDS[imported], f"{module} imports {imported}"
        assert imported not in {"zarrfeed_convert", "zarrfeed_tools"}


@pytest.mark.parametrize("package", ["zarrfeed_convert", "zarrfeed_tools"])
def test_other_packages_use_the_public_page(package: str) -> None:
    folder = next(ROOT.glob(f"*/{package}"))
    for module, path in modules(folder):
        used = {name for name in imports(path) if name.split(".")[0] == "zarrfeed"}
        outside = {
            name for name in used if not (name in PUBLIC or name.rpartition(".")[0] in PUBLIC)
        }
        assert not outside, f"{package}.{module} imports {outside}"
        if package == "zarrfeed_convert":
            assert not any(name.startswith("zarrfeed_tools") for name in imports(path))


def test_the_front_page_does_not_load_keras() -> None:
    assert "zarrfeed.sequence" not in {
        name
        for node in ast.parse((LOADER / "__init__.py").read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", "")]
    }


def test_the_converters_page_imports_what_is_asked_for_alone():
    script = "import sys, zarrfeed_convert; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", zarrfeed_convert.__all__)
def test_every_name_of_the_converters_page_is_there(name):
    assert name in dir(zarrfeed_convert)
    getattr(zarrfeed_convert, name)
