"""Print results as Markdown, and say which peers are faster than zarrfeed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from compare.workloads import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compare.rows import Row

_NULL = "limit: one constant batch"
_LIMIT = {"read": "limit: np.take from RAM", "fit": _NULL, "train": _NULL}


def report(about: dict[str, Any], rows: Sequence[Row]) -> str:
    """Return all tables as Markdown.

    Parameters
    ----------
    about
        The command, the machine, the date, the workloads.
    rows
        Rows of any number of tables.
    """
    parts = [
        f"    {about['command']}",
        f"{about['date']}. {about['machine']}; load average before: {about['load_before']}. "
        f"{about['effort']}",
    ]
    for key in dict.fromkeys((row.workload, row.level, row.state) for row in rows):
        table = [row for row in rows if (row.workload, row.level, row.state) == key]
        work = Workload.from_json(about["workloads"][key[0]])
        parts.append(_table(work, table, about["origins"].get(work.name, "")))
    return "\n\n".join(parts) + "\n"


def _table(work: Workload, rows: Sequence[Row], origin: str) -> str:
    level, state = rows[0].level, rows[0].state
    measured = sorted(
        (row for row in rows if row.batches_per_second is not None),
        key=lambda row: -(row.batches_per_second or 0.0),
    )
    limit = next((row for row in measured if row.peer == _LIMIT.get(level)), None)
    lines = [
        f"### {work.name}, {level}, {state}",
        "",
        f"{work.label}. {origin[:1].upper()}{origin[1:]}.",
        "",
        *_speeds(measured, limit),
        "",
        *_costs(measured),
        "",
        *standings(measured),
        *_notes(measured),
        *(f"- Not measured: {row.peer} ({row.error})." for row in rows if row not in measured),
    ]
    return "\n".join(lines)


def _speeds(rows: Sequence[Row], limit: Row | None) -> list[str]:
    of_limit = f"of {limit.peer}" if limit else "of the limit"
    training = any(row.level == "train" for row in rows)
    last = "waiting" if training else "exactly once"
    return [
        f"| way | batches/s | slowest – fastest epoch | samples/s | MB/s | {of_limit} "
        f"| {last} | setting |",
        "|---|---:|---:|---:|---:|---:|---|---|",
        *(
            f"| {_named(row)} | {_short(row.batches_per_second)} | {_short(row.least)} – "
            f"{_short(row.most)} | {_short(row.samples_per_second)} | {_short(row.mb_per_second)} "
            f"| {_share(row, limit)} | "
            f"{_waits(row, limit) if training else _once(row)} | {_setting(row)} |"
            for row in rows
        ),
    ]


def _costs(rows: Sequence[Row]) -> list[str]:
    reading = any(row.wait_p50_ms is not None for row in rows)
    columns = [
        *([
            ("wait p50 / p95 / p99, ms", lambda r: " / ".join(
                _short(v) for v in (r.wait_p50_ms, r.wait_p95_ms, r.wait_p99_ms))),
            ("next epoch, ms", lambda r: _short(r.gap_ms)),
            ("first batch, ms", lambda r: _short(r.first_batch_ms)),
            ("consumer, ms", lambda r: _short(r.consumer_ms)),
            ("without it, batches/s", lambda r: _short(r.own_batches_per_second)),
            ("accelerator busy", lambda r: _percent(r.utilisation)),
        ] if reading else []),
        ("CPU s / 1000 samples", lambda r: _short(r.cpu_s_per_1000)),
        ("RSS, MB", lambda r: _short(r.peak_rss_mb)),
        ("held, MB", lambda r: _short(r.peak_held_mb)),
        ("disk, MB", lambda r: _short(r.disk_mb)),
        ("conversion, s", lambda r: _short(r.convert_s)),
    ]  # fmt: skip
    return [
        "| way | " + " | ".join(name for name, _ in columns) + " |",
        "|---|" + "---:|" * len(columns),
        *(
            f"| {_named(row)} | " + " | ".join(text(row) for _, text in columns) + " |"
            for row in rows
        ),
    ]


def standings(rows: Sequence[Row]) -> list[str]:
    """Return which peers are faster than zarrfeed, or the next one.

    Limits and peers that lose or repeat samples do not count.
    """
    ours = [row for row in rows if row.kind == "ours" and not row.wrong]
    peers = [row for row in rows if row.kind == "peer" and not row.wrong]
    if not ours or not peers:
        return []
    us, them = (max(some, key=lambda row: row.batches_per_second or 0.0) for some in (ours, peers))
    rate = us.batches_per_second or 0.0
    ahead = [row for row in peers if (row.batches_per_second or 0.0) > rate]
    if not ahead:
        ratio = rate / (them.batches_per_second or 1.0)
        return [f"- **{us.peer}** is ahead of every peer; the next is {them.peer} ({ratio:.2f}×)."]
    return [
        f"- **Ahead of us**: {row.peer}, {(row.batches_per_second or 0.0) / rate:.2f}× {us.peer}."
        for row in sorted(ahead, key=lambda row: -(row.batches_per_second or 0.0))
    ]


def _notes(rows: Sequence[Row]) -> list[str]:
    wrong = [f"- {row.peer}: {row.wrong}." for row in rows if row.wrong]
    cut = [row.peer for row in rows if row.whole is False]
    if cut:
        wrong.append(f"- Epochs were stopped, because they took too long: {'; '.join(cut)}.")
    return wrong


def _named(row: Row) -> str:
    return {"ours": f"**{row.peer}**", "limit": f"*{row.peer}*"}.get(row.kind, row.peer)


def _share(row: Row, limit: Row | None) -> str:
    if limit is None or not row.batches_per_second or not limit.batches_per_second:
        return ""
    return f"{row.batches_per_second / limit.batches_per_second:.2f}"


def _waits(row: Row, limit: Row | None) -> str:
    """Return the share of a step that is longer than with a constant batch."""
    if limit is None or not row.batches_per_second or not limit.batches_per_second:
        return ""
    return f"{max(0.0, 1.0 - row.batches_per_second / limit.batches_per_second):.0%}"


def _once(row: Row) -> str:
    if row.exactly_once is None:
        return ""
    return "yes" if row.exactly_once else "**no**"


def _setting(row: Row) -> str:
    setting = json.loads(row.setting or "{}")
    return ", ".join(f"{name}={value}" for name, value in setting.items())


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
