"""Which peers are there?"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compare.peer import Peer

# Modules of compare.peers, each with a tuple PEERS. The order is that of the table before it is
# sorted by speed.
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
    """List every peer by name, installed or not."""
    found: dict[str, Peer] = {}
    for name in MODULES:
        for peer in importlib.import_module(f"compare.peers.{name}").PEERS:
            assert peer.name not in found, f"two peers named {peer.name!r}"
            found[peer.name] = peer
    return found


def peer_of(name: str) -> Peer:
    """Find one.

    Raises
    ------
    ValueError
        There is none of that name.
    """
    known = peers()
    if name not in known:
        raise ValueError(f"no peer {name!r}; there are {', '.join(known)}")
    return known[name]
