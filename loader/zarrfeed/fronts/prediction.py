"""Predict images and volumes of any size, patch by patch, into a store."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.arguments import whole
from zarrfeed.errors import StoreError, look_up
from zarrfeed.feed.batch_structure import BatchStructure
from zarrfeed.feed.case_predictions import CasePredictions
from zarrfeed.feed.workers.batch_spec import function_name
from zarrfeed.feed.workers.object_identity import identity_of
from zarrfeed.fronts.front_end import FrontEnd
from zarrfeed.fronts.model_calls import (
    model_name,
    patch_predictions,
    require_model,
    weights_digest,
)
from zarrfeed.order.grid_draws import count_patches, overlapping_cells
from zarrfeed.order.patches import GridPatches
from zarrfeed.order.user_values import described
from zarrfeed.spelling import few
from zarrfeed.store.address import local_out
from zarrfeed.store.content_digest import content_digest
from zarrfeed.store.descriptive_arrays import case_names
from zarrfeed.store.mirror.origin import Remote
from zarrfeed.store.predicted_cases import cases_of, open_predicted
from zarrfeed.store.prediction_split import PredictionSplit
from zarrfeed.store.schema import IMAGE
from zarrfeed.store.shard_writer import rows_written

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

    from zarrfeed.feed.batch_structure import FieldNames
    from zarrfeed.feed.blending import Classes
    from zarrfeed.feed.workers.batch_spec import Transform
    from zarrfeed.fronts.model_calls import Model
    from zarrfeed.order.window import Window
    from zarrfeed.store.mirror.origin import StorageOptions
    from zarrfeed.store.schema import JSON

_MOST_QUEUED = 3  # batches that wait for the model, which is slower than reading


def predict(
    model: Model,
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    patches: GridPatches,
    *,
    window: Window = "gaussian",
    classes: Classes = "argmax",
    inputs: FieldNames | None = None,
    transform: Transform | None = None,
    batch_size: int = 4,
    workers: int = 1,
    use_multiprocessing: bool = False,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    cache: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    storage_options: StorageOptions | None = None,
) -> Path:
    """Predict all images or volumes of a split, of any size, into a new split.

    Patches are cut from each case, predicted batch by batch, and blended where they overlap. Each
    part of a case is written as soon as no later patch covers it, so that memory holds P × W × K
    float32 values of a case, not all of it: the first extent of a patch, times the other extents of
    the case, times the values per pixel.

    A run that was stopped or killed is continued by the same call, with the first case that is not
    complete. It keeps whole shards, of 32 MiB before compression: small cases share one, and are
    predicted again if it was not full.

    It must have the same arguments, but for `workers` and `batch_size`, the same source, and a
    model and a transform that do the same: code, variables and weights are compared. A model or
    transform with something that cannot be pickled, such as a session, or a Keras model of your own
    class without ``get_config``, cannot be compared: then an unfinished run is refused, and
    ``overwrite=True`` begins anew. A wrapper of such a model may have the methods ``get_config()``
    and ``get_weights()``, by which it is compared.

    Parameters
    ----------
    model
        A Keras model, or any object with ``predict_on_batch(x)``. From patches (b, h, w, C) it
        makes (b, h, w, K), or (b, h, w) for K = 1; of volumes (b, d, h, w, K). All batches have the
        same shape.
    store
        A split of cases or of samples, such as ``ct.zarr/val``, or a dataset with only one. Or an
        OME-Zarr image, or another that :class:`zarrfeed.ZarrSequence` reads where it is. It may be
        an address.
    out
        Folder of the dataset of predictions, such as ``predictions.zarr``; its split has the name
        of that of `store`.
    patches
        Which patches. With an overlap of 0.5, borders of patches hardly show.
    window
        How overlapping predictions are blended. "gaussian": a pixel weighs less the further it is
        from the centre of its patch, with a standard deviation of 1/8 of the patch. "constant":
        all weigh the same. Both are as in MONAI's ``sliding_window_inference``.
    classes
        "argmax": writes the field ``prediction``, the class with the largest mean (uint8; uint16
        of more than 256 classes). A model with K = 1 predicts the probability of class 1, which
        must be above 0.5. "probabilities": writes the field ``probabilities``, the K blended
        values, float32.
    inputs
        What the model gets, as for :class:`zarrfeed.ZarrSequence`. By default ``"image"``.
    transform
        ``transform(image, rng) -> image`` for one patch, as for :class:`zarrfeed.ZarrSequence`.
    batch_size
        Patches per batch.
    workers, use_multiprocessing
        Number and kind of workers that read ahead, as for :class:`zarrfeed.ZarrSequence`.
    overwrite
        Whether to replace predictions of another call, finished or not.
    progress
        Called with the name of the split, the number of patches done, and that of all.
    cache, cache_limit, storage_options
        How an address is read, as for :class:`zarrfeed.ZarrSequence`.

    Returns
    -------
    Path
        The split of predictions. It has the keys, sizes, and tiles or rows of `store`:
        ``zarrfeed.open_case(path, key, "prediction")`` opens a case of a split of cases.

    Raises
    ------
    StoreError
        `store` is no split; `out` has predictions already, or an unfinished run with other
        settings; or the sums do not fit in memory.
    TypeError, ValueError
        An argument has the wrong type or is out of range, or what the model returns does not fit
        the patches, or is NaN. What a model raises has a note of the shapes of its inputs.

    Examples
    --------
    >>> from zarrfeed import GridPatches, open_case, predict
    >>> patches = GridPatches((96, 160, 160), overlap=0.5)
    >>> done = predict(model, "ct.zarr/val", "predictions.zarr", patches)  # doctest: +SKIP
    >>> open_case(done, "patient_07", "prediction")[48].max()  # doctest: +SKIP
    np.uint8(2)
    """
    require_model(model)
    if not isinstance(patches, GridPatches):
        raise TypeError(f"patches must be GridPatches, which cover everything, not {patches!r}")
    for name, value, allowed in (
        ("window", window, ("gaussian", "constant")),
        ("classes", classes, ("argmax", "probabilities")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, not {value!r}")
    batch_size = whole("batch_size", batch_size, at_least=1)
    names = BatchStructure.of(IMAGE if inputs is None else inputs, None, None).names
    # Transforms may make some of these.
    remote = Remote.of(cache, cache_limit, storage_options)
    split = open_predicted(store, patches.axes, names if transform is None else None, remote)
    if inputs is None and IMAGE not in split.layouts:
        raise StoreError(
            f"{split.address}: needed a field {IMAGE!r}, found {few(split.default_fields)}: name "
            "what the model gets by inputs= (--field)"
            f"{look_up('fields')}"
        )
    inputs = inputs or IMAGE
    stored = next((name for name in names if name in split.layouts), IMAGE)
    cases = cases_of(split, stored, patches.axes)
    target = PredictionSplit(local_out(out).absolute() / split.path.name, split, cases)
    settings: JSON = {
        "source": split.address,
        "digest": content_digest(split, [name for name in names if name in split.layouts]),
        "model": f"{model_name(model)}: {_identity(model)}",
        "weights": weights_digest(model),
        "inputs": inputs,
        "transform": transform and f"{function_name(transform)}: {_identity(transform)}",
        "patches": described(patches),
        "window": window,
        "classes": classes,
    }
    job = CasePredictions(target, patches, window, classes)
    with target.writing(job.field, json.loads(json.dumps(settings)), overwrite=overwrite) as folder:
        first = target.first_incomplete(rows_written(folder / job.field))
        if first == len(cases):  # killed before it was renamed
            return target.folder
        counts = count_patches(overlapping_cells(cases.sizes, patches))
        before, left = int(counts[:first].sum()), int(counts[first:].sum())
        # Not the number that is left: batches have the same shape when a run goes on.
        batch_size = min(batch_size, before + left)
        ends = counts[first:].cumsum()

        def case_of(patch: int) -> str:
            case = first + ends.searchsorted(patch, side="right")
            return case_names(split, np.array([case]))[0]

        def follow(done: int) -> None:
            if progress is not None:
                progress(split.path.name, before + done, before + left)

        with FrontEnd(
            split.address, batch_size, patches=patches, shuffle=False, inputs=inputs,
            subset=slice(first, None), transform=transform, workers=workers,
            use_multiprocessing=use_multiprocessing, max_queue_size=_MOST_QUEUED,
            rank=0, world_size=1, cache=cache, cache_limit=cache_limit,
            storage_options=storage_options,
        ) as sequence:  # fmt: skip
            inputs_of = (batch[0] for batch in sequence)
            predictions = patch_predictions(
                model,
                inputs_of,
                names=names,
                size=patches.size,
                batch_size=batch_size,
                patches=left,
                case_of=case_of,
                follow=follow,
            )
            job.write(folder, predictions, first)
    return target.folder


def _identity(value: object) -> str:
    """Return what tells a model or transform apart; if nothing does, what tells this run apart."""
    return identity_of(value) or f"not known, therefore only this run: {uuid.uuid4().hex}"
