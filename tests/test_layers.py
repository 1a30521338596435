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

# The loader's layers are its folders, from the ground up; the modules beside them are the ground,
# and the public page stands on all of them.
LAYERS = ["", "store", "order", "feed", "fronts", "page"]

# The rooms of the converter: packages and modules, from the ground up.
CONVERTER = ROOT / "converters" / "zarrfeed_convert"
FLOORS = [
    {"atomic_files", "locks"},
    {"source", "failures", "geometry", "decoding", "shards", "supervision"},
    {"labels", "mask_map", "mask_ids"},
    {"planning", "executors", "sources", "formats", "split_summary"},
    {"report", "splits"},
    {"verification"},
    {"conversion_plan", "repacking"},
    {"conversion"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Outside world -> the only modules that may import it.
WORLDS = {
    # jax_distribution for old versions alone
    "keras": {"fronts.keras_sequence", "fronts.callbacks", "fronts.jax_distribution"},
    "jax": {"fronts.jax_distribution"},
    "tf_keras": {"fronts.tf_keras_sequence", "fronts.callbacks"},
    "tensorflow": {
        "fronts.tf_dataset",
        "fronts.front_end",
        "fronts.keras_sequence",
        "fronts.tf_keras_sequence",  # types alone
    },
    "torch": {"fronts.torch_loader", "fronts.keras_sequence"},
    "zarr": {"store.zarr_python_reader"},
    "numcodecs": {"store.codecs"},
    "google_crc32c": {"store.codecs"},
    "psutil": {"machine_memory"},
    "resource": {"store.file_limits", "machine_memory", "feed.workers.batch_maker"},
    "cloudpickle": {"feed.workers.process_main", "feed.workers.worker_process"},
    "socket": {"feed.workers.wire", "feed.workers.process_main", "feed.workers.worker_process"},
    "mmap": {
        "feed.arena",
        "feed.slot",
        "store.mapped_files",
        "store.mapped_shards",
        "store.truncation",
    },
    "ctypes": {"store.truncation"},
}

# Public modules of the loader that the other packages may name: its page and its pure layer.
PUBLIC = {
    "zarrfeed", "zarrfeed.store.address", "zarrfeed.errors", "zarrfeed.store.schema",
    "zarrfeed.store.array_metadata", "zarrfeed.store.node_metadata", "zarrfeed.order.sample_order",
    "zarrfeed.spelling",
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


def layer_of(module: str) -> str:
    """Name the layer of a module of the loader, by its folder; "page" for the package itself."""
    return module.rpartition(".")[0].split(".")[0] or ("" if module else "page")


def test_every_folder_of_the_loader_is_a_layer() -> None:
    assert {path.name for path in LOADER.iterdir() if (path / "__init__.py").exists()} == {
        *LAYERS[1:-1]
    }


@pytest.mark.parametrize(("module", "path"), list(modules(LOADER)), ids=str)
def test_imports_point_down(module: str, path: Path) -> None:
    known = {name for name, _ in modules(LOADER)}
    for imported in imports(path):
        package, _, target = imported.partition(".")
        if package != "zarrfeed" or target not in known or not module:
            continue
        # A folder's own page belongs to the layer, and `import zarrfeed` to the page.
        layer = target.split(".")[0] if target in LAYERS else layer_of(target)
        assert LAYERS.index(layer) <= LAYERS.index(
            module if module in LAYERS else layer_of(module)
        ), f"{module} imports {imported} from above"


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
    assert "zarrfeed.fronts.keras_sequence" not in {
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
