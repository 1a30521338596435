"""How is a split laid out, and why?

Pure: chunk rows, shard rows and codecs from sizes and ratios, each with its reason. Never from
timings: the same input must give the same store on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.shards.codecs import CHOSEN_CODECS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zarrfeed_convert.shards.codecs import Codec, CodecChoice

KIB, MIB = 1 << 10, 1 << 20

# In smaller chunks, the fixed cost of a read (a call, an index entry) exceeds that of its bytes.
CHUNK_BYTES = 64 * KIB
# One file per shard: large enough that a million samples are some thousand files, small enough
# that sixteen shards of a small dataset can be packed in parallel. The number of workers does not
# count, because the store must not depend on it.
SHARD_BYTES = (8 * MIB, 256 * MIB)
# Of cases, since one that cannot be read in parts is decoded for every shard that has a part of it.
CASE_SHARD_BYTES = (64 * MIB, 256 * MIB)
SHARDS_AT_LEAST = 16
# Compression ratios from which decoding pays; images decode more slowly than they load.
IMAGE_RATIO, MASK_RATIO, ZSTD_SAVES = 1.5, 1.2, 0.10
TRIED_SAMPLES = 16


@dataclass(frozen=True, slots=True)
class Decision:
    """Something that the packer chose: a subject, the value chosen, and the reason."""

    what: str
    value: str
    reason: str

    @classmethod
    def from_json(cls, recorded: object) -> Decision | None:
        """Return a decision that was recorded as a dictionary; None if it is something else."""
        names = [field.name for field in fields(cls)]
        if isinstance(recorded, dict) and [*recorded] == names:
            return cls(*map(str, recorded.values()))
        return None


def decide_chunk_rows(
    sample_nbytes: int, samples: int, *, asked: int | None
) -> tuple[int, Decision]:
    """Choose the samples per chunk.

    Parameters
    ----------
    sample_nbytes
        Decoded bytes of a sample of the largest field.
    samples
        Number of samples.
    asked
        Number that the user wants; None to choose.

    Examples
    --------
    >>> decide_chunk_rows(784, 60_000, asked=None)[0]
    84
    """
    if asked is not None:
        return asked, Decision("chunk rows", str(asked), "asked for")
    if sample_nbytes >= CHUNK_BYTES:
        reason = f"a sample has {text_of_bytes(sample_nbytes)}, enough for a read of its own"
        return 1, Decision("chunk rows", "1", reason)
    rows = min(-(-CHUNK_BYTES // sample_nbytes), samples)
    reason = (
        f"a sample has {text_of_bytes(sample_nbytes)}; "
        f"{rows} together are {text_of_bytes(rows * sample_nbytes)}, worth a read"
    )
    return rows, Decision("chunk rows", str(rows), reason)


def decide_shard_rows(
    sample_nbytes: int,
    samples: int,
    *,
    chunk_rows: int,
    asked: int | None,
    limits: tuple[int, int] = SHARD_BYTES,
) -> tuple[int, Decision]:
    """Choose the samples per shard, a multiple of `chunk_rows`.

    Parameters
    ----------
    sample_nbytes
        Decoded bytes of a sample of the largest field.
    samples
        Number of samples.
    chunk_rows
        Samples per chunk.
    asked
        Bytes of a decoded shard that the user wants; None to choose.
    limits
        The fewest and the most bytes to choose.

    Examples
    --------
    >>> decide_shard_rows(518_400, 367, chunk_rows=1, asked=None)[0]
    22
    """
    total = sample_nbytes * samples
    target = asked
    if target is None:
        low, high = limits
        target = min(max(total // SHARDS_AT_LEAST, low), high)
    rows = max(chunk_rows, target // sample_nbytes // chunk_rows * chunk_rows)
    rows = min(rows, -(-samples // chunk_rows) * chunk_rows)
    shards = -(-samples // rows)
    size = text_of_bytes(rows * sample_nbytes)
    reason = f"{shards} file{'s' if shards > 1 else ''} of up to {size} (decoded) a field"
    reason += (
        ", asked for" if asked is not None else f", packed in parallel from {text_of_bytes(total)}"
    )
    return rows, Decision("shard rows", str(rows), reason)


@dataclass(frozen=True, slots=True)
class Trial:
    """The size of some samples of a field with each codec.

    Attributes
    ----------
    decoded
        Bytes of the decoded samples.
    encoded
        Codec → bytes of the encoded samples.
    """

    decoded: int
    encoded: Mapping[Codec, int]

    def ratio(self, codec: Codec) -> float:
        """Return the compression ratio of a codec."""
        return self.decoded / max(1, self.encoded[codec])


def codecs_to_try(
    choice: CodecChoice, fields: Iterable[str], *, chunk_rows: int
) -> dict[str, tuple[Codec, ...]]:
    """List the codecs to try, by field; empty if no trial is needed."""
    if choice != "auto" or chunk_rows > 1:
        return {}
    return {name: ("blosc-lz4hc", "zstd-1") if name == MASK else ("blosc-lz4",) for name in fields}


def decide_codecs(
    choice: CodecChoice, fields: Sequence[str], trials: Mapping[str, Trial], *, chunk_rows: int
) -> dict[str, tuple[Codec, str]]:
    """Choose the codec of each field, and give the reason.

    Parameters
    ----------
    choice
        The user's choice.
    fields
        Names of the fields.
    trials
        Results of the codecs of :func:`codecs_to_try`, on the same samples.
    chunk_rows
        Samples per chunk. If there are several, a global shuffle decodes a whole chunk for nearly
        every sample: with lz4hc, 28×28 masks in chunks of 84 were read at 1/20 of the speed of raw
        masks, and 64×64 masks in chunks of 6 at 1/6 (measured with one process).
    """
    if choice != "auto":
        of_masks, of_others = CHOSEN_CODECS[choice]
        return {name: (of_masks if name == MASK else of_others, "asked for") for name in fields}
    if chunk_rows > 1:
        reason = f"a shuffled batch would decode the {chunk_rows} samples of a chunk to take one"
        return dict.fromkeys(fields, ("raw", reason))
    decided, stored = {}, 0  # bytes of all fields but the mask
    for name in fields:
        if name != MASK:
            codec, reason = _decide_numbers(trials[name], name)
            decided[name] = codec, reason
            stored += trials[name].encoded.get(codec, trials[name].decoded)
    return {
        name: _decide_mask(trials[name], stored) if name == MASK else decided[name]
        for name in fields
    }


def _decide_numbers(trial: Trial, name: str) -> tuple[Codec, str]:
    ratio = trial.ratio("blosc-lz4")
    what = f"the field {name}" if name != IMAGE else "the images"
    if ratio >= IMAGE_RATIO:
        return "blosc-lz4", f"lz4 makes {what} {ratio:.2f} times smaller, at least {IMAGE_RATIO}"
    return "raw", f"lz4 makes {what} {ratio:.2f} times smaller, less than {IMAGE_RATIO}"


def _decide_mask(mask: Trial, image_stored: int) -> tuple[Codec, str]:
    lz4hc, zstd = mask.ratio("blosc-lz4hc"), mask.ratio("zstd-1")
    codec: Codec = "blosc-lz4hc" if lz4hc >= MASK_RATIO else "raw"
    stored = mask.encoded["blosc-lz4hc"] if codec == "blosc-lz4hc" else mask.decoded
    saved = (stored - mask.encoded["zstd-1"]) / max(1, image_stored + stored)
    if saved > ZSTD_SAVES:
        return "zstd-1", f"zstd saves another {saved:.0%} of all bytes of a sample over {codec}"
    if codec == "raw":
        return codec, f"lz4hc makes the masks {lz4hc:.2f} times smaller, less than {MASK_RATIO}"
    return codec, (
        f"lz4hc makes the masks {lz4hc:.1f} times smaller; zstd ({zstd:.1f} times) would save "
        f"{max(0.0, saved):.0%} of all bytes and decode slower"
    )


def spread(samples: int, count: int = TRIED_SAMPLES) -> Sequence[int]:
    """Pick evenly spaced samples.

    Examples
    --------
    >>> spread(100, 4)
    [12, 37, 62, 87]
    """
    count = min(samples, count)
    return [(2 * place + 1) * samples // (2 * count) for place in range(count)]


def text_of_bytes(count: int) -> str:
    """Write a number of bytes for people.

    Examples
    --------
    >>> text_of_bytes(518_400)
    '506 KiB'
    """
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1000 or unit == "GiB":
            return f"{amount:.3g} {unit}" if amount < 100 else f"{amount:.0f} {unit}"
        amount /= 1024
    raise AssertionError
