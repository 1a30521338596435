"""Which share of the data does this process read in a distributed run on JAX?

The only module that imports JAX. Keras' own ``data_shard_id`` is right only for meshes whose first
axis is the batch axis. This module asks JAX itself on which devices it will put the rows
(``jax.make_array_from_process_local_data``).
"""

from __future__ import annotations

from typing import Any

import jax

from zarrfeed.order.ranks import DetectedRank


def data_shard(distribution: Any) -> DetectedRank:
    """Return the data shard of this process as its rank.

    Parameters
    ----------
    distribution
        Return value of ``keras.distribution.distribution()``; None if none is set.

    Raises
    ------
    ValueError
        The rows that two processes need overlap without being the same.
    """
    initialized = getattr(jax.distributed, "is_initialized", lambda: False)
    if distribution is None:
        # Only if initialized: otherwise process_count() would initialise JAX without the others.
        processes = jax.process_count() if initialized() else 1
        warning = (
            f"JAX runs in {processes} processes: set a keras.distribution, or give rank and "
            "world_size"
        )
        return DetectedRank(warning=warning if processes > 1 else "")
    name = f"keras.distribution.{type(distribution).__name__}"
    if not shards_datasets(distribution):
        warning = f"{name} has auto_shard_dataset=False: give rank and world_size to share them"
        return DetectedRank(warning=warning if jax.process_count() > 1 else "")
    rows = rows_by_process(distribution)
    ours = rows.get(jax.process_index())
    if ours is None or len(rows) < jax.process_count():
        return DetectedRank(
            warning=f"{name} has devices of {len(rows)} of {jax.process_count()} processes"
        )
    shards = sorted({tuple(sorted(wanted)) for wanted in rows.values()})
    if sum(map(len, shards)) > len(set().union(*shards)):
        raise ValueError(
            f"{name}: processes need rows of a batch that overlap without being the same, "
            f"{shards}: order the devices of the mesh so that each process has whole replicas, or "
            "each replica whole processes"
        )
    return DetectedRank(shards.index(tuple(sorted(ours))), len(shards), name)


def rows_by_process(distribution: Any) -> dict[int, set[tuple[int, int]]]:
    """Return the (start, stop) rows of each process in a global batch with one row per device."""
    rows: dict[int, set[tuple[int, int]]] = {}
    size = distribution.device_mesh.devices.size
    sharding = _sharding(distribution.get_data_layout((size,)))
    for device, (part,) in sharding.devices_indices_map((size,)).items():
        start, stop, _ = part.indices(size)
        rows.setdefault(device.process_index, set()).add((start, stop))
    return rows


def parts_of_batch(distribution: Any) -> int:
    """Return the number of equal parts into which JAX splits a batch of this process."""
    return len(rows_by_process(distribution).get(jax.process_index(), ())) or 1


def shards_datasets(distribution: Any) -> bool:
    """Whether Keras shards a ``tf.data.Dataset``, rather than expects one that is sharded."""
    hidden = getattr(distribution, "_auto_shard_dataset", True)
    return bool(getattr(distribution, "auto_shard_dataset", hidden))


def _sharding(layout: Any) -> Any:
    """Return the JAX sharding of a Keras layout."""
    if hasattr(layout, "backend_layout"):
        return layout.backend_layout
    from keras.src.backend import distribution_lib  # Keras before 3.10 or so

    library: Any = distribution_lib
    return library._to_jax_layout(layout)
