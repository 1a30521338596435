"""What is said of the findings in shards, for a split's samples and files?

Pure; :mod:`~zarrfeed_convert.verification.verify_tasks` makes the findings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed_convert.verification.consistency import TODO
from zarrfeed_convert.verification.findings import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zarrfeed_convert.verification.file_check import FileFinding
    from zarrfeed_convert.verification.findings import Kind
    from zarrfeed_convert.verification.recorded import Recorded
    from zarrfeed_convert.verification.sample_check import SampleFinding
    from zarrfeed_convert.verification.verify_tasks import ShardFindings


def problems_of(
    recorded: Recorded, findings: Sequence[ShardFindings], *, decoded: bool
) -> Iterator[Problem]:
    """Say what is wrong with the shards of a split, and with the samples in them.

    Parameters
    ----------
    recorded
        What is recorded of the split.
    findings
        Of every shard.
    decoded
        Whether the samples' digests were recomputed.
    """
    written = {
        file.known.fact: str(file.known.path)
        for shard in findings
        for file in shard.files
        if file.known.fact is not None
    }
    told: set[str] = set()
    for shard in findings:
        whole = decoded and not any(sample.kind.startswith("sample") for sample in shard.samples)
        for file in shard.files:
            if file.state not in ("good", "unknown"):
                yield _of_file(file, written, harmless=whole)
        paths = {file.known.field: str(file.known.path) for file in shard.files}
        for sample in shard.samples:
            name = sample.blamed[0]
            if sample.kind == "statistics" and name in recorded.absent:
                if name not in told:
                    told.add(name)
                    yield _of_absent(recorded, name)
                continue
            yield _of_sample(recorded, sample, paths)


def _of_file(file: FileFinding, written: dict[tuple[int, int], str], *, harmless: bool) -> Problem:
    path = str(file.known.path)
    kind: Kind = "file-missing" if file.state == "missing" else "file-damaged"
    what = file.what
    if file.fact in written:
        what += f"; it holds what {written[file.fact]} must hold"
    elif harmless:
        what += "; all its samples are as they were packed"
    return Problem(kind, what, None, (path,))


def _of_sample(recorded: Recorded, sample: SampleFinding, paths: dict[str, str]) -> Problem:
    key = recorded.keys[sample.row]
    files = tuple(paths.get(name, str(recorded.split.path / name)) for name in sample.blamed)
    return Problem(sample.kind, f"{key}: {sample.what}", key, files)


def _of_absent(recorded: Recorded, name: str) -> Problem:
    path = recorded.absent[name]
    what = f"{path}: needed a file of this array, found none, though its values are not 0; {TODO}"
    return Problem("array", what, None, (path,))
