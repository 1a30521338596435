"""What did the user ask for? One value, which is validated when it is made.

Checks that need no store are here. Checks that need the arrays, samples and classes of the store
are in :mod:`zarrfeed.feed.opening`. The modules below both do not check arguments again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zarrfeed.arguments import whole
from zarrfeed.errors import look_up
from zarrfeed.feed.batch_structure import BatchStructure
from zarrfeed.order.mix import Mix
from zarrfeed.order.patches import CoverPatches, GridPatches, RandomPatches
from zarrfeed.order.ranks import AUTO, RequestedRank
from zarrfeed.order.sampling import Balanced, RepeatFactor, Shares, Weights
from zarrfeed.spelling import did_you_mean
from zarrfeed.store.address import absolute_path, remote_url

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zarrfeed.feed.batch_structure import FieldNames
    from zarrfeed.feed.class_weights import ClassWeight
    from zarrfeed.feed.subset_ids import Subset
    from zarrfeed.feed.workers.batch_spec import Transform
    from zarrfeed.order.patches import Patches
    from zarrfeed.order.ranks import Auto
    from zarrfeed.order.sampling import Sampling
    from zarrfeed.order.shuffle import Shuffle
    from zarrfeed.store.mirror.origin import Remote


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """The arguments of a sequence, validated and normalised.

    :class:`zarrfeed.FrontEnd` documents the arguments and their defaults. Here numbers are plain
    ``int`` and ``bool``, paths are absolute or addresses, and `fields` is a tuple or None.

    Raises
    ------
    StoreError
        A path is neither a local one nor an address of a known kind.
    TypeError, ValueError
        An argument has the wrong type or is out of range; the message names it.
    """

    path: str | os.PathLike[str] | Mix
    batch_size: int
    shuffle: Shuffle
    seed: int
    fields: Sequence[str] | None
    inputs: FieldNames | None
    targets: FieldNames | None
    weights: FieldNames | None
    subset: Subset | Mapping[str, Subset]
    patches: Patches | None
    sampling: Sampling | None
    transform: Transform | None
    batch_transform: Transform | None
    class_weight: ClassWeight | None
    drop_remainder: bool
    workers: int
    use_multiprocessing: bool
    max_queue_size: int
    pad_remainder: bool
    rank: Auto
    world_size: Auto
    timeout: float
    remote: Remote

    def __post_init__(self) -> None:
        """Validate and normalise every argument."""
        if self.shuffle not in (True, False, "block"):
            raise ValueError(
                f"shuffle must be True, False or 'block', not {self.shuffle!r}{look_up('shuffle')}"
            )
        if self.drop_remainder and self.pad_remainder:
            raise ValueError(
                "drop_remainder leaves out the last batch, pad_remainder fills it: give one of them"
            )
        kinds = RandomPatches, CoverPatches, GridPatches
        if self.patches is not None and not isinstance(self.patches, kinds):
            raise TypeError(
                "patches must be RandomPatches, CoverPatches or GridPatches, such as "
                f"RandomPatches((128, 128)), not {self.patches!r}"
            )
        ways = Balanced, Shares, Weights, RepeatFactor
        if self.sampling is not None and not isinstance(self.sampling, ways):
            raise TypeError(
                "sampling must be Balanced(), Shares({class: share}), Weights(one for each sample) "
                f"or RepeatFactor(), not {self.sampling!r}"
            )
        if self.sampling is not None and self.patches is not None:
            raise ValueError(
                "sampling draws whole samples, patches parts of them: leave out one; "
                "RandomPatches(…, shares={class: share}) draws patches with given classes"
            )
        if self.timeout <= 0:
            raise ValueError(f"timeout must be above 0 seconds, not {self.timeout}")
        final = {
            "path": _opened(self.path),
            "subset": _of_stores(self.path, self.subset),
            "shuffle": self.shuffle if self.shuffle == "block" else bool(self.shuffle),
            "fields": None if self.fields is None else _distinct(self.fields),
            "rank": _share("rank", self.rank, at_least=0),
            "world_size": _share("world_size", self.world_size, at_least=1),
        }
        for name in ("drop_remainder", "pad_remainder", "use_multiprocessing"):
            final[name] = bool(getattr(self, name))
        for name, least in {"batch_size": 1, "seed": 0, "workers": 0, "max_queue_size": 1}.items():
            final[name] = whole(name, getattr(self, name), at_least=least)
        for name, value in final.items():
            object.__setattr__(self, name, value)
        for name in ("transform", "batch_transform"):
            self._require_callable(name)
        if self.inputs is None:
            for name in ("targets", "weights"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} needs inputs, got None: give inputs, too, "
                        "such as inputs='image'"
                    )
        elif self.structure is not None:
            for name, part in zip(
                ("inputs", "targets", "weights"), self.structure.parts, strict=False
            ):
                object.__setattr__(self, name, part)

    @property
    def structure(self) -> BatchStructure | None:
        """The requested inputs, targets and weights; None for the default."""
        if self.inputs is not None:
            return BatchStructure.of(self.inputs, self.targets, self.weights)
        return None if self.fields is None else BatchStructure(tuple(self.fields))

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """The user's functions in the order of their calls."""
        given = (self.transform, self.batch_transform)
        return tuple(function for function in given if function is not None)

    @property
    def processes(self) -> bool:
        """Whether the workers are processes."""
        return self.use_multiprocessing and self.workers > 0

    @property
    def requested_rank(self) -> RequestedRank:
        """The requested rank and world size."""
        return RequestedRank(
            rank=self.rank if isinstance(self.rank, int) else None,
            world_size=self.world_size if isinstance(self.world_size, int) else None,
        )

    def _require_callable(self, name: str) -> None:
        function = getattr(self, name)
        if function is not None and not callable(function):
            arrays = ", ".join(self.fields or ("image", "mask"))
            raise TypeError(
                f"{name} must be a function ({arrays}, rng) -> ({arrays}), not {function!r}"
            )


def _place(path: str | os.PathLike[str]) -> str | Path:
    """Return an address or an absolute path."""
    return remote_url(path) or absolute_path(path)


def _opened(path: str | os.PathLike[str] | Mix) -> str | Path | Mix:
    """Return an address, an absolute path, or a mix of stores at such."""
    if isinstance(path, Mapping | list | tuple | set):
        raise TypeError(
            "path must be that of one split; several are Mix({path: weight}), such as "
            f"Mix({{'a.zarr/train': 3, 'b.zarr/train': 1}}), not {path!r:.200}"
        )
    if not isinstance(path, Mix):
        return _place(path)
    paths = [_place(each) for each in path.stores]
    real = [each if isinstance(each, str) else os.path.realpath(each) for each in paths]
    for each, its in zip(paths, real, strict=True):
        if real.count(its) > 1:
            raise ValueError(f"the Mix names {each} twice: add its weights")
    return path.at(paths)


def _of_stores(
    path: str | os.PathLike[str] | Mix, subset: Subset | Mapping[str, Subset]
) -> Subset | Mapping[str, Subset]:
    """Return the subset; of a mix, that of each store by its absolute path."""
    if not isinstance(path, Mix):
        if isinstance(subset, Mapping):
            raise TypeError(
                "subset must be ids, keys, a slice or a boolean mask; {path: subset} is for a Mix"
            )
        return subset
    if subset is None:
        return {}
    if not isinstance(subset, Mapping):
        raise TypeError(
            f"subset of a Mix must be {{path: subset}}, such as {{{next(iter(path.stores))!r}: "
            f"slice(100)}}, or None, not {subset!r:.200}"
        )
    known = {_place(each): each for each in path.stores}
    found = {_place(each): chosen for each, chosen in subset.items()}
    for each, given in zip(found, subset, strict=True):
        if each not in known:
            hint = did_you_mean(str(given), map(str, path.stores), otherwise="")
            raise ValueError(
                f"subset names {str(given)!r}, which is no store of the Mix: it has "
                f"{', '.join(map(str, path.stores))}{hint and f'; {hint}'}"
            )
    return {str(each): chosen for each, chosen in found.items()}


def _distinct(fields: Sequence[str]) -> tuple[str, ...]:
    given = (fields,) if isinstance(fields, str) else tuple(fields)
    if not given:
        raise ValueError(
            "fields must name at least one array, got (); leave it out for the default"
        )
    for name in given:
        if given.count(name) > 1:
            raise ValueError(
                f"fields names {name!r} {given.count(name)} times: a batch has every array once"
            )
    return given


def _share(name: str, value: Any, *, at_least: int) -> Auto:
    return AUTO if value in (AUTO, None) else whole(name, value, at_least=at_least)
