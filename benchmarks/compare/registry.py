"""The list of all peers."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compare.peer import Peer

# Modules of compare.peers, each with a tuple PEERS, in the order of measurement.
MODULES = (
    "limits",
    "limit_of_decoding",
    "ours",
    "memmap",
    "hdf5",
    "zarr_python",
    "tensor_store",
    "annbatch_dense",
    "insitu",
    "grain_map",
    "tfdata",
    "torch_memmap",
    "mds",
    "litdata_chunks",
    "webdataset_tar",
    "png",
)


@lru_cache(maxsize=1)
def peers() -> dict[str, Peer]:
    """Return every peer by name, installed or not."""
    found: dict[str, Peer] = {}
    for name in MODULES:
        for peer in importlib.import_module(f"compare.peers.{name}").PEERS:
            assert peer.name not in found, f"two peers named {peer.name!r}"
            found[peer.name] = peer
    return found


def peer_of(name: str) -> Peer:
    """Return the peer of a name.

    Raises
    ------
    ValueError
        There is no such peer.
    """
    known = peers()
    if name not in known:
        raise ValueError(f"no peer {name!r}; there are {', '.join(known)}")
    return known[name]
