"""What does it cost that a store is on a server, and not on this machine's disk?

    python benchmarks/remote.py --csv benchmarks/results/remote.csv
    python benchmarks/remote.py --rows first-batch --gbits 1 --rounds 5 --scratch /mnt/disk

The server is an nginx on loopback, which shares the cores with all that is measured. It is measured
as fast as it is, and with the speed of networks, by a loopback of its own that is shaped. All files
of the server are in the page cache. Ways take turns, the first round is dropped, and figures are
medians.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from belady import least_fetched
from figures import Figure, quantity, ratio, table, write_csv
from link import enter_namespace, set_speed
from machine import load_average, machine
from obstore_alone import CONCURRENCY, Range, fetch, fetch_in_new_process
from served import Work, pack, ranges_of, shards
from trial import take_turns
from web_server import serving
from workload import warm
from zarrfeed import ZarrSequence
from zarrfeed.store.mirror.file_table import BLOCK_NBYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from web_server import WebServer


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured.

    Attributes
    ----------
    work
        The samples.
    split
        Folder of the split, which the server serves.
    web
        The server.
    speed
        Its speed, in words.
    scratch
        Folder for caches.
    rounds
        Number of rounds; the first is dropped.
    """

    work: Work
    split: Path
    web: WebServer
    speed: str
    scratch: Path
    rounds: int

    @property
    def url(self) -> str:
        """Address of the split."""
        return f"{self.web.url}/{self.split.relative_to(self.web.root)}"

    def opened(self, cache: Path, **options: Any) -> ZarrSequence:
        """Open the split through a cache."""
        return ZarrSequence(self.url, self.work.batch_size, cache=cache, **options)

    def new_cache(self) -> Path:
        """Return the path of an empty cache. It lies on the same file system as all others."""
        return Path(tempfile.mkdtemp(prefix="cache-", dir=self.scratch))


def first_epoch(setting: Setting) -> Iterator[Figure]:
    """Row 1: a cold mirror, and obstore alone."""
    objects = shards(setting.split)
    nbytes = sum(each.stop for each in objects)
    found = take_turns(
        {
            "zarrfeed": partial(_cold_epoch, setting),
            "obstore": partial(_timed_fetch, setting, objects),
            "obstore to files": partial(_timed_files, setting, objects),
        },
        setting.rounds,
    )
    yield ratio(
        1, f"first epoch, {setting.speed}: zarrfeed / obstore alone", found["obstore"],
        found["zarrfeed"], at_least=0.9,
        how=f"{setting.work}; from the construction of the sequence, without a fetcher, to the "
        f"last batch, against obstore, which fetches the same shards, {CONCURRENCY} at once, and "
        "forgets them.",
    )  # fmt: skip
    yield ratio(
        1, f"first epoch, {setting.speed}: zarrfeed / obstore that writes files",
        found["obstore to files"], found["zarrfeed"],
    )  # fmt: skip
    for name, seconds in found.items():
        rates = [nbytes / each / 1e6 for each in seconds]
        yield quantity(1, f"first epoch, {setting.speed}: {name}", "MB/s", rates)


def _cold_epoch(setting: Setting) -> float:
    cache = setting.new_cache()
    began = time.perf_counter()
    with setting.opened(cache) as sequence:
        for _batch in sequence:
            pass
        seconds = time.perf_counter() - began
    _remove(cache)
    return seconds


def _timed_fetch(
    setting: Setting, ranges: list[Range], fetching: Callable[[str, list[Range]], int] = fetch
) -> float:
    began = time.perf_counter()
    fetched = fetching(setting.url, ranges)
    seconds = time.perf_counter() - began
    assert fetched == sum(each.stop - each.start for each in ranges)
    return seconds


def _timed_files(setting: Setting, ranges: list[Range]) -> float:
    folder = setting.new_cache()
    seconds = _timed_fetch(setting, ranges, partial(fetch, into=folder))
    shutil.rmtree(folder)
    return seconds


def _remove(cache: Path) -> None:
    """Remove a cache once its fetcher has ended, which waits a little for another client."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(3)
        shutil.rmtree(cache, ignore_errors=True)
        if not cache.exists():
            return
    raise RuntimeError(f"{cache} could not be removed: its fetcher still runs")


def later_epochs(setting: Setting) -> Iterator[Figure]:
    """Row 2: a warm mirror, and the local store."""
    cache = setting.new_cache()
    with (
        setting.opened(cache) as remote,
        ZarrSequence(setting.split, setting.work.batch_size) as local,
    ):
        ways = {"mirror": partial(_epoch, remote), "local": partial(_epoch, local)}
        found = take_turns(ways, setting.rounds + 1)  # whose first round fills the mirror
    _remove(cache)
    yield ratio(
        2, "second epoch: mirror / local store", found["local"], found["mirror"], at_least=0.97,
        how="both in the page cache, one worker thread, by hand.",
    )  # fmt: skip
    for name, seconds in found.items():
        rates = [len(local) / each for each in seconds]
        yield quantity(2, f"second epoch: {name}", "batches/s", rates)


def _epoch(sequence: ZarrSequence) -> float:
    began = time.perf_counter()
    for _batch in sequence:
        pass
    return time.perf_counter() - began


def first_batch(setting: Setting) -> Iterator[Figure]:
    """Row 3: the first batch of a cold mirror, and obstore, which fetches its ranges."""
    with ZarrSequence(setting.split, setting.work.batch_size) as local:
        samples = [int(key) for key in local.batch_keys(0, epoch=0)]
    ranges = ranges_of(setting.split, samples, setting.work)
    found = take_turns(
        {
            "zarrfeed": partial(_cold_batch, setting),
            "zarrfeed with a fetcher": partial(_cold_batch, setting, fetcher=True),
            "obstore": partial(_timed_fetch, setting, ranges),
            "obstore in a new process": partial(
                _timed_fetch, setting, ranges, fetch_in_new_process
            ),
        },
        setting.rounds,
    )
    nbytes = sum(each.stop - each.start for each in ranges)
    yield ratio(
        3, f"first batch, {setting.speed}: zarrfeed / obstore", found["zarrfeed"],
        found["obstore"], at_most=3.0,
        how=f"from the construction of the sequence to its first batch ({nbytes / 1e6:.0f} MB), "
        "against obstore, which knows the ranges and fetches nothing else; zarrfeed starts a "
        "fetcher, and fetches metadata and indexes. All is imported before.",
    )  # fmt: skip
    yield ratio(
        3, f"first batch, {setting.speed}: zarrfeed with a running fetcher / obstore",
        found["zarrfeed with a fetcher"], found["obstore"],
    )  # fmt: skip
    yield ratio(
        3, f"first batch, {setting.speed}: zarrfeed / obstore in a new process",
        found["zarrfeed"], found["obstore in a new process"],
        how="a Python that imports obstore and is told the ranges; zarrfeed's fetcher is a new "
        "process, too.",
    )  # fmt: skip
    for name, seconds in found.items():
        yield quantity(
            3, f"first batch, {setting.speed}: {name}", "ms", [1e3 * each for each in seconds]
        )


def _cold_batch(setting: Setting, *, fetcher: bool = False) -> float:
    """Take the first batch; of the seed that is used everywhere here, 0.

    A fetcher runs already if another sequence of the cache is open: of the same store behind
    another address, which is another mirror.
    """
    cache = setting.new_cache()
    if fetcher:
        other = setting.url.replace("127.0.0.1", "localhost")
        with ZarrSequence(other, 1, cache=cache, subset=slice(0, 1)) as before:
            next(iter(before))
            seconds = _time_of_batch(setting, cache)
    else:
        seconds = _time_of_batch(setting, cache)
    _remove(cache)
    return seconds


def _time_of_batch(setting: Setting, cache: Path) -> float:
    began = time.perf_counter()
    with setting.opened(cache) as sequence:
        next(iter(sequence))
        return time.perf_counter() - began


def limited(setting: Setting) -> Iterator[Figure]:
    """Row 4: what is fetched if half of the store fits, and the least that is possible."""
    nbytes = sum(each.stop for each in shards(setting.split))
    limit = nbytes // 2
    cache = setting.new_cache()
    fetched = []
    epochs = setting.rounds + 1
    asked = {"cache_limit": limit, "shuffle": "block", "max_queue_size": 4}
    with setting.opened(cache, **asked) as sequence:
        needed = _needed(setting, sequence, epochs)
        for _ in range(epochs):
            before = _sent(setting.web)
            for _batch in sequence:
                pass
            fetched.append(_sent(setting.web) - before)
    _remove(cache)
    counts = least_fetched(needed, limit // BLOCK_NBYTES)
    batches = len(counts) // epochs
    least = [sum(counts[batches * e : batches * (e + 1)]) * BLOCK_NBYTES for e in range(epochs)]
    # Whoever reads ahead fetches for the next epoch, too: all later epochs are taken together.
    yield Figure(
        4, "cache of half the store, block shuffle: bytes fetched / the least possible", "ratio",
        sum(fetched[1:]) / sum(least[1:]), None,
        tuple(a / b for a, b in zip(fetched[1:], least[1:], strict=True)), at_most=1.1,
        how=f"{epochs - 1} epochs after the first; the least by Belady's rule, of blocks of 256 "
        "KiB and batch after batch. The figure is of all these epochs together, because what is "
        "read ahead belongs to the next one.",
    )  # fmt: skip
    for name, sizes in (("fetched", fetched), ("least possible", least)):
        yield quantity(
            4, f"cache of half the store: {name}, per epoch / the store", "ratio",
            [size / nbytes for size in sizes[1:]],
        )  # fmt: skip
    first = fetched[0] / nbytes
    yield quantity(4, "cache of half the store: fetched in the first epoch", "ratio", [first])


def _needed(setting: Setting, sequence: ZarrSequence, epochs: int) -> list[list[int]]:
    """Return the whole blocks that each batch needs. Those at ends of files are left out."""
    sizes = {each.key: each.stop for each in shards(setting.split)}
    numbers: dict[tuple[str, int], int] = {}
    needed = []
    for epoch in range(epochs):
        for batch in range(len(sequence)):
            samples = [int(key) for key in sequence.batch_keys(batch, epoch=epoch)]
            blocks = {
                (each.key, block)
                for each in ranges_of(setting.split, samples, setting.work)
                for block in range(each.start // BLOCK_NBYTES, (each.stop - 1) // BLOCK_NBYTES + 1)
                if (block + 1) * BLOCK_NBYTES <= sizes[each.key]
            }
            needed.append([numbers.setdefault(block, len(numbers)) for block in sorted(blocks)])
    return needed


def _sent(web: WebServer) -> int:
    return sum(each.nbytes for each in web.answered() if "/c/" in each.path)


_ROWS: dict[str, Callable[[Setting], Iterator[Figure]]] = {
    "first-epoch": first_epoch,
    "later-epochs": later_epochs,
    "first-batch": first_batch,
    "limit": limited,
}
_ONCE = ("later-epochs", "limit")  # do not depend on the speed of the server


def main() -> None:
    """Measure, and print the results."""
    options = _options()
    enter_namespace()
    work = Work(samples=options.samples)
    before = load_average()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        scratch = Path(folder)
        root = options.folder or scratch / "served"
        root.mkdir(exist_ok=True)
        split = pack(work, root)
        warm(str(split))
        for number, gbits in enumerate(options.gbits):
            set_speed(gbits)
            speed = f"{gbits:g} Gbit/s" if gbits else "loopback"
            with serving(root) as web:
                setting = Setting(work, split, web, speed, scratch, options.rounds)
                for row in options.rows:
                    if number and row in _ONCE:
                        continue
                    began = time.perf_counter()
                    for figure in _ROWS[row](setting):
                        figures.append(figure)
                        print(f"{figure.what}: {figure.found:.4g} {figure.unit}", file=sys.stderr)
                    if options.csv:
                        write_csv(figures, options.csv)
                    print(f"{row}, {speed}: {time.perf_counter() - began:.0f} s; load average "
                          f"{load_average()}", file=sys.stderr)  # fmt: skip
    print(f"{shlex.join(['python', *sys.argv])}\n\n{machine()}; load average before: {before}; "
          f"after: {load_average()}\n\n{table(figures)}")  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=_ROWS, default=list(_ROWS), metavar="NAME",
                        help=f"what to measure: {', '.join(_ROWS)} (default: all)")  # fmt: skip
    parser.add_argument("--gbits", nargs="+", type=float, default=[0, 1, 2.5],
                        help="speeds of the server in Gbit/s; 0: no limit (0 1 2.5)")  # fmt: skip
    parser.add_argument("--samples", type=int, default=1344, help="samples of 1 MiB (1344)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, the first dropped (5)")
    parser.add_argument("--folder", type=Path, help="folder of the store (default: temporary)")
    parser.add_argument("--scratch", type=Path, help="folder for caches (default: temporary)")
    parser.add_argument("--csv", type=Path, help="file to write all figures to")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error(f"--rounds must be at least 2, not {options.rounds}: the first is dropped")
    return options


if __name__ == "__main__":
    main()
