"""Rows of the results. The legends of their fields explain the columns of the CSV."""

from __future__ import annotations

import csv
import json
import statistics
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from compare.workloads import Workload


def _column(legend: str, default: Any = None) -> Any:
    return field(default=default, metadata={"legend": legend})


@dataclass(frozen=True, slots=True)
class Row:
    """Result of a peer on a workload at a level. Values that were not measured are None."""

    workload: str = _column("name of the workload")
    level: str = _column(
        "read: arrays in the main process; fit: a Keras model that does nothing; train: a U-Net"
    )
    state: str = _column("warm: files in the page cache; cold: dropped from it before every epoch")
    peer: str = _column("what was measured")
    kind: str = _column("ours, peer, or limit: a bound, which cannot train")
    setting: str = _column("the fastest setting of the sweep, as JSON")
    batches_per_second: float | None = _column("median over the epochs of all rounds")
    least: float | None = _column("… of the slowest epoch")
    most: float | None = _column("… of the fastest epoch")
    epochs: int | None = _column("epochs measured, after one of warm-up in every process")
    samples_per_second: float | None = _column("median")
    mb_per_second: float | None = _column("decoded, 10^6 bytes")
    own_batches_per_second: float | None = _column(
        "median, without the consumer's own time; a loader that works meanwhile could not keep "
        "that up"
    )
    consumer_ms: float | None = _column(
        "milliseconds per batch that the consumer spends reading every byte"
    )
    first_batch_ms: float | None = _column("from opening to the first batch, in a new process")
    import_ms: float | None = _column("importing its packages, before that")
    wait_p50_ms: float | None = _column("wait for a batch within an epoch, median")
    wait_p95_ms: float | None = _column("… 95th percentile")
    wait_p99_ms: float | None = _column("… 99th percentile")
    gap_ms: float | None = _column("wait for the first batch of the next epoch, median")
    cpu_s_per_1000: float | None = _column("CPU seconds per 1000 samples, of all processes")
    peak_rss_mb: float | None = _column("peak resident memory of the process tree, 10^6 bytes")
    peak_held_mb: float | None = _column("… without pages of files (mapped stores, libraries)")
    disk_mb: float | None = _column("size of its files on the disk, 10^6 bytes")
    convert_s: float | None = _column("seconds of the one-time conversion")
    utilisation: float | None = _column(
        "share of time that an emulated accelerator is busy (MLPerf Storage's AU)"
    )
    exactly_once: bool | None = _column(
        "whether every sample came once, with its own mask; None for a limit"
    )
    wrong: str = _column("what was wrong with the samples", "")
    whole: bool | None = _column("False: epochs were stopped, because they took too long")
    error: str = _column("why it could not be measured", "")

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Row:
        """Make a row from plain values, ignoring unknown ones of other versions."""
        return cls(**{name: found[name] for name in cls.__dataclass_fields__ if name in found})


def summed(found: Sequence[dict[str, Any]], work: Workload, **known: Any) -> Row:
    """Summarise the results of all rounds as a row.

    Parameters
    ----------
    found
        Results of :mod:`compare.cell`, one per round.
    work
        The workload.
    known
        The other fields of the row.
    """
    rates = [rate for one in found for rate in one["rates"]]
    rate = statistics.median(rates)
    own = [rate for one in found for rate in one.get("own_rates", ())]
    wrong = next((one["wrong"] for one in found if one["wrong"]), "")
    return Row(
        workload=work.name,
        batches_per_second=rate,
        least=min(rates),
        most=max(rates),
        epochs=len(rates),
        samples_per_second=rate * work.batch_size,
        mb_per_second=rate * work.batch_nbytes / 1e6,
        own_batches_per_second=statistics.median(own) if own else None,
        **{name: _median(found, name) for name in _MEDIANS},
        **{name: _most(found, name) for name in ("peak_rss_mb", "peak_held_mb")},
        exactly_once=None if known.get("kind") == "limit" else not wrong,
        wrong=wrong,
        whole=all(one["whole"] for one in found),
        **known,
    )


_MEDIANS = (
    "consumer_ms", "first_batch_ms", "import_ms", "wait_p50_ms", "wait_p95_ms", "wait_p99_ms",
    "gap_ms", "cpu_s_per_1000", "utilisation",
)  # fmt: skip


def _values(found: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [one[name] for one in found if one.get(name) is not None]


def _median(found: Sequence[dict[str, Any]], name: str) -> float | None:
    values = _values(found, name)
    return statistics.median(values) if values else None


def _most(found: Sequence[dict[str, Any]], name: str) -> float | None:
    return max(_values(found, name), default=None)


def legend() -> str:
    """Return the legend of every column as Markdown."""
    return "\n".join(f"- `{column.name}`: {column.metadata['legend']}" for column in fields(Row))


def write_csv(rows: Iterable[Row], file: TextIO) -> None:
    """Write rows as CSV. Fields that were not measured are empty."""
    writer = csv.DictWriter(file, [column.name for column in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)


def read_rows(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Read a file of JSON lines; return the description of the run, and the rows."""
    about: dict[str, Any] = {}
    rows: list[Row] = []
    for line in path.read_text("utf-8").splitlines():
        found = json.loads(line)
        if "about" in found:
            about = found["about"]
        elif "row" in found:
            rows.append(Row.from_json(found["row"]))
    return about, rows
