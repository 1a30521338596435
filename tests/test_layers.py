"""An import may only point down, and each outside world has one module that knows it.

Every import counts: at the top of a module, in a function, for type checking alone.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import itertools
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
CONVERTER = ROOT / "converters" / "zarrfeed_convert"
TOOLS = ROOT / "tools" / "zarrfeed_tools"
BENCHMARKS = ROOT / "benchmarks"

# The rooms of a package are its folders and the modules beside them; "" is its page. Here the main
# ones stand in their order, from the ground up. Where the others stand follows from their imports.
LAYERS = {
    LOADER: ["errors", "store", "feed", "fronts", ""],
    CONVERTER: [
        "source", "decoding", "sources", "executors", "shards", "planning", "splits",
        "verification", "repacking", "",
    ],
    TOOLS: ["terminal", "bench", "cli"],
}  # fmt: skip

# Outside world -> the only modules that may import it.
WORLDS = {
    # jax_distribution for old versions alone
    "keras": {
        "fronts.keras_sequence",
        "fronts.keras_outputs",
        "fronts.callbacks",
        "fronts.jax_distribution",
    },
    "jax": {"fronts.jax_distribution"},
    "tf_keras": {"fronts.tf_keras_sequence", "fronts.callbacks"},
    "tensorflow": {
        "fronts.tf_dataset",
        "fronts.datasets",
        "fronts.keras_sequence",
        "fronts.tf_keras_sequence",  # types alone
    },
    "grain": {"fronts.grain_source", "fronts.datasets"},
    "torch": {"fronts.torch_loader", "fronts.keras_sequence"},
    "zarr": {"store.zarr_python_reader", "store.shard_writer"},  # reads; writes predictions
    "numcodecs": {"store.codecs", "store.shard_file"},  # decodes; encodes predictions
    "google_crc32c": {"store.codecs", "store.shard_file"},
    "psutil": {"machine_memory"},
    "resource": {"store.file_limits", "machine_memory", "feed.workers.batch_maker"},
    "cloudpickle": {"feed.workers.process_main", "feed.workers.process_handle"},
    "socket": {
        "feed.workers.wire",
        "feed.workers.process_main",
        "feed.workers.process_handle",
        "feed.fetching.main",
        "store.mirror.connection",
        "store.mirror.fetcher_process",
        "store.mirror.messages",
    },
    "mmap": {
        "feed.arena",
        "feed.slot",
        "store.mapped_files",
        "store.mapped_shards",
        "store.truncation",
        "store.mirror.block_table",
    },
    "ctypes": {"store.truncation", "feed.fetching.holes"},
    "PIL": {"pictures.picture_files"},
    "obstore": {
        "store.objects.errors",
        "store.objects.options",
        "store.objects.object_transfers",
    },
}

# Public modules of the loader that the other packages may name: its page and its pure layer.
PUBLIC = {
    "zarrfeed", "zarrfeed.store.address", "zarrfeed.errors", "zarrfeed.store.schema",
    "zarrfeed.store.array_metadata", "zarrfeed.store.node_metadata", "zarrfeed.order.shuffle",
    "zarrfeed.spelling", "zarrfeed.machine_memory", "zarrfeed.store.tile_grid",
    "zarrfeed.store.tile_arrays", "zarrfeed.store.names", "zarrfeed.store.case_table",
    "zarrfeed.store.ome_metadata", "zarrfeed.store.ome_places", "zarrfeed.pictures.palette",
    "zarrfeed.pictures.windows", "zarrfeed.pictures.thumbnails", "zarrfeed.pictures.overlays",
    "zarrfeed.pictures.planes", "zarrfeed.pictures.picture_files",
    "zarrfeed.views.stored_views", "zarrfeed.views.drawn_arrays", "zarrfeed.views.chosen",
    "zarrfeed.views.conditions", "zarrfeed.fronts.sequence_views",
    "zarrfeed.pictures.large_images", "zarrfeed.store.objects.errors",
    "zarrfeed.store.objects.stored_object", "zarrfeed.store.objects.part_digest",
    "zarrfeed.store.objects.object_transfers", "zarrfeed.store.mirror.origin",
    "zarrfeed.store.split_opening",  # of what has an address, as all commands open it
}  # fmt: skip


def modules(package: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        yield name.removesuffix(".__init__").replace("__init__", ""), path


def imports(path: Path) -> set[str]:
    """Every module, and every name of one, that a file imports."""
    return imports_of(path.read_text("utf-8"), path)


@functools.cache
def imports_of(text: str, path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: {ast.unparse(node)} does not say from where"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def graph_of(package: Path) -> dict[str, set[str]]:
    """Which modules of a package does each of them import? "" is the package itself."""
    known = dict(modules(package))
    found = {module: set[str]() for module in known}
    for module, path in known.items():
        for name in imports(path):
            if package != BENCHMARKS:  # whose modules are imported by their own names
                above, _, name = name.partition(".")
                if above != package.name:
                    continue
            # A module, or a name of one.
            target = name if name in known else name.rpartition(".")[0]
            if target in known and target != module and (name or package != BENCHMARKS):
                found[module].add(target)
    return found


def rooms_of(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    rooms: dict[str, set[str]] = {}
    for module, targets in graph.items():
        room = module.split(".")[0]
        rooms.setdefault(room, set()).update({t.split(".")[0] for t in targets} - {room})
    return rooms


def in_order(graph: dict[str, set[str]]) -> list[str]:
    """Sort what imports each other from the ground up; a circle is an error that names it."""
    return list(graphlib.TopologicalSorter(graph).static_order())


def below(room: str, rooms: dict[str, set[str]]) -> set[str]:
    """All that a room stands on."""
    found: set[str] = set()
    left = [room]
    while left:
        new = rooms[left.pop()] - found
        found |= new
        left += new
    return found


@pytest.mark.parametrize("package", [LOADER, CONVERTER, TOOLS, BENCHMARKS], ids=lambda p: p.name)
def test_no_imports_go_in_circles(package: Path) -> None:
    graph = graph_of(package)
    assert len(in_order(graph)) == len(graph)
    if package != BENCHMARKS:
        assert in_order(rooms_of(graph))


@pytest.mark.parametrize("package", LAYERS, ids=lambda p: p.name)
def test_imports_point_down(package: Path) -> None:
    rooms = rooms_of(graph_of(package))
    assert set(LAYERS[package]) <= set(rooms)
    for lower, higher in itertools.combinations(LAYERS[package], 2):
        assert higher not in below(lower, rooms), f"{lower} imports {higher}, if not directly"


def test_every_folder_of_the_loader_is_a_layer() -> None:
    rooms = rooms_of(graph_of(LOADER))
    folders = {path.parent.name for path in LOADER.glob("*/__init__.py")}
    assert folders == {"store", "order", "feed", "fronts", "evaluation", "pictures", "views"}
    assert not below("order", rooms) & folders, "order is pure"
    assert not below("pictures", rooms), "pictures are pure, and know of no store"
    assert below("views", rooms) & folders == {"pictures", "store"}
    assert "order" not in below("store", rooms)
    assert below("evaluation", rooms) & folders == {"store"}
    for room in rooms.keys() - folders - {""}:
        assert not below(room, rooms) & folders, f"{room}.py stands beside the folders, not above"


@pytest.mark.parametrize(
    "line",
    [
        "import zarrfeed",
        "import zarrfeed as z",
        "from zarrfeed import FrontEnd",
        "def later():\n    from zarrfeed.feed import stream",
        "if TYPE_CHECKING:\n    from zarrfeed.fronts.front_end import FrontEnd",
    ],
)
def test_no_way_to_import_from_above_is_overlooked(line: str, tmp_path: Path) -> None:
    house = tmp_path / "zarrfeed"
    for path in ("store", "feed", "fronts"):
        (house / path).mkdir(parents=True)
        (house / path / "__init__.py").write_text("")
    (house / "__init__.py").write_text("from zarrfeed.fronts.front_end import FrontEnd\n")
    (house / "fronts/front_end.py").write_text("from zarrfeed.feed.stream import Stream\n")
    (house / "feed/stream.py").write_text("from zarrfeed.store import reader\n")
    (house / "store/reader.py").write_text("")
    assert in_order(rooms_of(graph_of(house))) == ["store", "feed", "fronts", ""]
    (house / "store/reader.py").write_text(line + "\n")
    with pytest.raises(graphlib.CycleError):
        in_order(rooms_of(graph_of(house)))


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


def test_the_front_page_has_the_errors_without_an_import_of_them():
    script = "import sys, zarrfeed; zarrfeed.errors.StoreError; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_converters_page_imports_what_is_asked_for_alone():
    script = "import sys, zarrfeed_convert; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", zarrfeed_convert.__all__)
def test_every_name_of_the_converters_page_is_there(name):
    assert name in dir(zarrfeed_convert)
    getattr(zarrfeed_convert, name)
