"""What does a sequence say of its data?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.arguments import whole
from zarrfeed.feed.batch_structure import outputs_of
from zarrfeed.order.mixed_draws import MixedDraws
from zarrfeed.store.descriptive_arrays import image_fields, mixed_normalization, normalization_of
from zarrfeed.store.schema import IMAGE

if TYPE_CHECKING:
    from zarrfeed.feed.stream import Stream
    from zarrfeed.order.class_shares import ClassShares
    from zarrfeed.store.descriptive_arrays import Normalization


class SequenceFacts:
    """The part of a sequence that describes its samples, classes and images."""

    _stream: Stream

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id; empty if the store has none."""
        return self._stream.split.classes

    @property
    def ignore(self) -> int | None:
        """The mask id that counts as no class; None if there is none."""
        return self._stream.split.ignore

    @property
    def normalization(self) -> Normalization:
        """Mean and variance of the images' channels: ``Normalization(mean=…, variance=…)``.

        They are those of the one field of images among the inputs, over the stored samples of
        `subset`, before any transform. They follow from sums that the split stores, so that no
        image is read. Of a :class:`zarrfeed.Mix`, every store counts by its weight. Use them for
        Keras' layer of the same name:
        ``mean, variance = train.normalization``.

        Raises
        ------
        StoreError
            The split does not store the sums of its images' channels.
        ValueError
            Several inputs are images, or none is.
        """
        images = image_fields(self._stream.split)
        if not images:
            return self.normalization_of(IMAGE)
        spec = self._stream.batch_spec
        stored = [each.name for each in spec.source]
        inputs = list(outputs_of(spec.structure.parts[0]).values())
        if not set(inputs) & set(stored):  # a transform makes them of what is stored
            inputs = stored
        among = [name for name in images if name in inputs]
        if len(among) != 1:
            raise ValueError(
                f"normalization needs one field of images among {', '.join(inputs)}, found "
                f"{' and '.join(among) or 'none'}: choose one by "
                f"normalization_of({(among or images)[0]!r})"
            )
        return self.normalization_of(among[0])

    def normalization_of(self, field: str) -> Normalization:
        """Mean and variance of the channels of any field of images, like `normalization`.

        Parameters
        ----------
        field
            Name of a field whose role is `image`; `fields` need not contain it.

        Returns
        -------
        Normalization
            Mean and variance, each (C,) float64.

        Raises
        ------
        StoreError
            The split has no such field of images, or does not store the sums of its channels.
        """
        stream = self._stream
        sampler = stream.schedule.sampler
        if not isinstance(sampler, MixedDraws):
            return normalization_of(stream.split, stream.schedule.ids, field)
        shares = [float(share) for share in sampler.history.shares]
        return mixed_normalization(
            [normalization_of(stream.split, store.rows, field) for store in sampler.stores], shares
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of a batch's arrays in order. With `class_weight` the last one is the weights."""
        return tuple(spec.name for spec in self._stream.specs)

    @property
    def samples(self) -> int:
        """Number of samples per epoch, before a remainder is dropped."""
        return self._stream.schedule.samples

    def shares(self, *, epoch: int | None = None) -> ClassShares:
        """Return which share of an epoch's draws contains each class, over all ranks.

        The classes of samples are counted in `class_pixels`; no mask is read. With
        ``RandomPatches``, it is the share of patches that had to contain a class of its `shares`,
        shown as "forced"; others may contain it, too.

        Parameters
        ----------
        epoch
            Number of the epoch. By default, the one that the next iterator goes through.

        Returns
        -------
        ClassShares
            ``{class: ClassShare(target, achieved)}``, shown as a table; `target` is None for
            classes of which no share was asked for.

        Raises
        ------
        StoreError
            The split does not count the pixels of its classes.
        ValueError
            The sequence has `patches` without shares.

        Examples
        --------
        >>> train = ZarrSequence(path, 8, sampling=Shares({"lesion": 0.5}))  # doctest: +SKIP
        >>> train.shares()  # doctest: +SKIP
        class        target  achieved
        background        –  100.00 %
        lesion      50.00 %   50.00 %
        """
        if epoch is None:
            epoch = self._stream.position.coming[0]
        return self._stream.shares(whole("epoch", epoch, at_least=0))
