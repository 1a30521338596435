"""How do an image file and a mask file become a sample?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed_convert.decoding.decode import decode, measure
from zarrfeed_convert.decoding.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert.source import Header, Image, Mask
    from zarrfeed_convert.sources.value_options import Meaning


class FilePairs:
    """Pairs of an image file and a mask file: what all sources of such files share.

    Parameters
    ----------
    files
        Key → the two files.
    meaning
        Of what they hold.
    left_out
        What makes no sample, as (name, why).
    limits
        What the files may claim.
    """

    def __init__(
        self,
        files: Mapping[str, tuple[str, str]],
        meaning: Meaning,
        left_out: Sequence[tuple[str, str]],
        limits: Limits | None = None,
    ) -> None:
        self._keys = sorted(files)
        self._files = [files[key] for key in self._keys]
        self._meaning = meaning
        self.left_out = left_out
        self._limits = limits or Limits()

    @property
    def keys(self) -> Sequence[str]:
        """The name that image and mask share, without folder, suffix and extension; sorted."""
        return self._keys

    def names(self, sample: int) -> tuple[str, str]:
        """Name a pair's two files."""
        return self._files[sample]

    def probe(self, sample: int) -> Header:
        """Read the headers of a pair's two files."""
        image_path, mask_path = map(Path, self._files[sample])
        image, mask = (measure(path, self._limits) for path in (image_path, mask_path))
        return self._meaning.header(image, mask, name=str(image_path))

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Decode a pair."""
        path = Path(self._files[sample][0])
        return self._meaning.image(decode(path, self._limits), name=str(path)), self.read_mask(
            sample
        )

    def read_mask(self, sample: int) -> Mask:
        """Decode a pair's mask."""
        path = Path(self._files[sample][1])
        return self._meaning.mask(decode(path, self._limits), name=str(path))

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Say what the palette of a pair's mask shows where it is used."""
        return self._meaning.shown_colors(decode(Path(self._files[sample][1]), self._limits))
