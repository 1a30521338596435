"""How is a split made from packed splits?

:func:`repack` opens the splits, checks that they have the same kind of samples, and passes the
chosen samples to a :class:`~zarrfeed_convert.splits.pack_job.PackJob`.
"""

from __future__ import annotations

import os
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed.spelling import named
from zarrfeed.store.address import local_out
from zarrfeed.store.mirror.origin import Remote
from zarrfeed_convert.arguments import unlisted
from zarrfeed_convert.executors.selection import executor_of, require_executor
from zarrfeed_convert.failures import split_errors
from zarrfeed_convert.planning.palettes import require_same_palettes
from zarrfeed_convert.repacking.provenance import asked_of, palettes_of
from zarrfeed_convert.repacking.repack_planner import RepackPlanner
from zarrfeed_convert.repacking.repack_settings import RepackSettings
from zarrfeed_convert.repacking.retile_plan import require_cases
from zarrfeed_convert.repacking.row_selection import chosen_rows
from zarrfeed_convert.repacking.stored import open_stored, require_same_labels
from zarrfeed_convert.repacking.stored_facts import facts_of
from zarrfeed_convert.splits.destination import destination_of
from zarrfeed_convert.splits.journal import journal_folder, opened_journal
from zarrfeed_convert.splits.pack_job import PackJob

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from zarrfeed.store.mirror.origin import StorageOptions
    from zarrfeed_convert.executors.executor import Executor
    from zarrfeed_convert.planning.plan import Tile
    from zarrfeed_convert.planning.planner import OnProgress
    from zarrfeed_convert.repacking.repack_settings import RepackCodec
    from zarrfeed_convert.repacking.row_selection import StoredOrder, Subset
    from zarrfeed_convert.source import Source
    from zarrfeed_convert.splits.destination import Destination
    from zarrfeed_convert.splits.report import Report


@named
def repack(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    split: str,
    codec: RepackCodec = "keep",
    chunk_samples: int | None = None,
    shard_size: int | None = None,
    tile: Tile | None = None,
    order: StoredOrder | None = None,
    seed: int = 0,
    subset: Subset = None,
    keys: Iterable[str] | None = None,
    prefix_keys: bool = False,
    workers: int | None = None,
    overwrite: bool = False,
    restart: bool = False,
    dry_run: bool = False,
    progress: OnProgress | None = None,
    cache: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    storage_options: StorageOptions | None = None,
) -> Report:
    """Make a split from packed splits, without their sources.

    Change the codec, layout or order of a split, choose some of its samples or cases, merge several
    splits, or cut cases into tiles of another size. Pixels, names, digests, class counts, sizes and
    affines of cases, classes and the description of the source are copied. The digest of every
    sample or tile that is read is recomputed and compared.

    Parameters
    ----------
    inputs
        Path or address of a split, such as ``city.zarr/train`` or ``s3://bucket/city.zarr/train``,
        or those of several splits with the same kind of samples. A dataset with a single split is
        accepted, too.
    out
        Path of the dataset for the new split. It is created if it does not exist, and may be that
        of an input.
    split
        Name of the new split. With `overwrite`, it may be that of an input.
    codec
        ``keep``: the codecs of `inputs`, if they have the same ones. ``auto``: chosen by how much a
        codec saves. Or ``raw``, ``lz4``, ``zstd``.
    chunk_samples
        Number of samples per chunk; None for that of `inputs`, if they have the same. Of cases,
        always 1.
    shard_size
        Decoded bytes of the largest field per file; None for that of `inputs`, if they have the
        same.
    tile
        (height, width) or (depth, height, width): cases are put together and cut into tiles of this
        size; ``auto`` chooses it by their sizes, as in a conversion. Samples that are whole images
        or volumes become cases. None keeps samples and tiles as they are.
    order
        ``stored``: the order of `inputs`, one after the other. ``source``: sorted by name.
        ``shuffled``: shuffled by `seed`, as in a conversion. The default is ``stored`` for one
        input. For several, it is ``shuffled``, so that reading without shuffling mixes them.
    seed
        Seed of the shuffled order.
    subset
        Samples or cases to choose, counted through all inputs: a slice, integers, or one boolean
        for each. None for all.
    keys
        Names of samples or cases to choose. The name of an image that was cut into overlapping
        tiles chooses all of these.
    prefix_keys
        Whether to name samples or cases ``SPLIT/KEY``, by the split that they come from, or
        ``DATASET/SPLIT/KEY`` if splits of several datasets have the same name.
    workers
        Number of processes. 1 uses this process; None uses one per core, or fewer if memory is
        short. The bytes of the store do not depend on it.
    overwrite, restart, dry_run, progress
        As in :func:`zarrfeed_convert.convert`.
    cache, cache_limit, storage_options
        How addresses are read; see :class:`zarrfeed.ZarrSequence`.

    Returns
    -------
    Report
        ``found`` is the number of samples of `inputs`, ``packed`` that of the chosen ones. If they
        are cases, ``found`` and ``cases`` are their numbers, and ``packed`` is that of the tiles.

    Raises
    ------
    SourceError
        The inputs have different kinds of samples, or a sample or tile is damaged. The message
        names it, its file and its split.
    StoreError
        An input is not a split.
    WorkerError
        A packing process died.

    Notes
    -----
    A run that was stopped can be resumed; see the notes of :func:`zarrfeed_convert.convert`.

    Examples
    --------
    >>> from zarrfeed_convert import repack
    >>> repack("city.zarr/train", "small.zarr", split="train", codec="lz4",
    ...        subset=slice(1000))  # doctest: +SKIP
    >>> repack("ct.zarr/train", "ct128.zarr", split="train", tile=(32, 128, 128))  # doctest: +SKIP
    """
    start = time.perf_counter()
    paths = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    settings = RepackSettings(
        codec,
        chunk_samples,
        shard_size,
        order or ("stored" if len(paths) == 1 else "shuffled"),
        seed,
        unlisted(tile),
    )
    settings.check()
    require_executor(workers)
    if isinstance(keys, str):
        raise SourceError(f"keys: needed a list of names, found the text {keys!r}; use [{keys!r}]")
    remote = Remote.of(cache, cache_limit, storage_options)
    destination = _settled(destination_of(local_out(out), split))
    with split_errors(", ".join(map(str, paths))):
        splits = open_stored(paths, remote, prefix_keys=prefix_keys, any_size=tile is not None)
        require_same_labels(destination, splits)
        require_same_palettes({**destination.palettes(), **palettes_of(splits)})
        parts = [facts_of(stored) for stored in splits]
        if tile is not None:
            require_cases(splits)
            parts = [part.as_cases() for part in parts]
        elif parts[0].cases is not None:
            settings.require_single_tiles()
        names = None if keys is None else list(keys)
        asked = asked_of(splits, parts, settings, subset=subset, keys=names)
    choose = partial(chosen_rows, subset=subset, keys=names)
    planner = RepackPlanner(splits, parts, settings, asked, choose, destination, overwrite)

    @contextmanager
    def executor(samples: Source) -> Iterator[Executor]:
        with (
            closing(planner.samples),
            executor_of(samples, workers, planner.failures) as executor,
        ):
            yield executor

    report = PackJob(planner, destination, executor, progress).run(restart=restart, dry_run=dry_run)
    found = sum(len(part) for part in parts)
    cases = report.cases
    if report.status == "dry run" and parts[0].cases is not None:
        cases = planner.chosen.size
    seconds = time.perf_counter() - start
    return replace(report, found=found, skipped=(), seconds=seconds, repacked=True, cases=cases)


def _settled(destination: Destination) -> Destination:
    """Complete the commit of a killed run: what it was replacing may be an input of this run."""
    if destination.folder.exists() or not journal_folder(destination).exists():
        return destination
    with opened_journal(destination, restart=False):
        return destination_of(destination.out, destination.split)
