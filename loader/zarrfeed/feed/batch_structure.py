"""Which arrays of a batch are inputs, targets and sample weights, and how are they nested?

Pure. Keras takes ``(x,)``, ``(x, y)`` or ``(x, y, w)``; each is an array, a tuple of arrays or a
dict of arrays by the names of the model's inputs or outputs::

    slot      image          depth          mask
    batch     ({"rgb": image, "d": depth},  mask)       inputs={"rgb": "image", "d": "depth"}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from zarrfeed.spelling import did_you_mean

if TYPE_CHECKING:
    from zarrfeed.arrays import Arrays

T = TypeVar("T")

# As users write them: a field, a sequence of fields, or fields by the model's names of its inputs
# or outputs.
FieldNames: TypeAlias = str | Sequence[str | None] | Mapping[str, str]
# The same after validation. In tuples of weights, None stands for a target that weighs 1.
Part: TypeAlias = str | tuple[str | None, ...] | dict[str, str]
# An output of the model: its name, its position, or None if there is only one.
Output: TypeAlias = str | int | None

_KEYS = {"inputs": "model input", "targets": "model output", "weights": "model output"}


@dataclass(frozen=True, slots=True)
class BatchStructure:
    """How the arrays of a slot are nested in a batch.

    Attributes
    ----------
    parts
        Inputs, targets and weights; targets and weights may be missing.
    names
        Every field once, in the order of first use. These are the arrays of a slot.

    Examples
    --------
    >>> structure = BatchStructure.of({"rgb": "image", "d": "depth"}, "mask", None)
    >>> structure.names
    ('image', 'depth', 'mask')
    >>> structure.nest((1, 2, 3))
    ({'rgb': 1, 'd': 2}, 3)
    """

    parts: tuple[Part, ...]
    names: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Collect the names."""
        names = (name for part in self.parts for name in outputs_of(part).values())
        object.__setattr__(self, "names", tuple(dict.fromkeys(names)))

    @classmethod
    def of(
        cls, inputs: FieldNames, targets: FieldNames | None, weights: FieldNames | None
    ) -> BatchStructure:
        """Validate arguments, and build the structure from them.

        Parameters
        ----------
        inputs, targets, weights
            Fields as in :class:`zarrfeed.FrontEnd`.

        Raises
        ------
        TypeError
            An argument is neither a name, nor a tuple or dict of names.
        ValueError
            An argument is empty, or the weights do not match the targets.
        """
        parts = [_part("inputs", inputs)]
        if targets is not None:
            parts.append(_part("targets", targets))
        elif weights is not None:
            raise ValueError(
                f"weights={weights!r} needs targets to weigh, got targets=None: give targets, too"
            )
        if weights is not None:
            parts.append(_part("weights", weights))
            _require_outputs(*parts[1:])
        return cls(tuple(parts))

    def nest(self, arrays: Sequence[Any]) -> tuple[Any, ...]:
        """Nest arrays as the model takes them, without copying.

        Parameters
        ----------
        arrays
            One array (or anything else) per name, in the order of `names`.

        Returns
        -------
        tuple
            One element per part: an array, or a tuple or dict of arrays.
        """
        if self.parts == self.names:
            return tuple(arrays)
        by_name = dict(zip(self.names, arrays, strict=True))
        return tuple(_nested(part, by_name) for part in self.parts)

    @property
    def unweighted(self) -> dict[Output, str]:
        """The fields of targets without weights, by output of the model."""
        if len(self.parts) < 2 or (len(self.parts) > 2 and isinstance(self.parts[2], str)):
            return {}  # no targets, or one array that weighs all targets
        weighted = outputs_of(self.parts[2]) if len(self.parts) > 2 else {}
        targets = outputs_of(self.parts[1])
        return {output: name for output, name in targets.items() if output not in weighted}

    def with_weights(self, added: Mapping[Output, str]) -> BatchStructure:
        """Return a structure in which every target has weights.

        Parameters
        ----------
        added
            Names of the weights of all :attr:`unweighted` targets, by output of the model.

        Examples
        --------
        >>> structure = BatchStructure.of("image", ("mask", "depth"), None)
        >>> structure.with_weights({0: "m", 1: "d"}).parts
        ('image', ('mask', 'depth'), ('m', 'd'))
        """
        inputs, targets, *given = self.parts[:3]
        by_output = {**(outputs_of(given[0]) if given else {}), **added}
        weights: Part
        if isinstance(targets, str):
            weights = by_output[None]
        elif isinstance(targets, dict):
            weights = {output: by_output[output] for output in targets}
        else:
            weights = tuple(by_output[output] for output in range(len(targets)))
        return BatchStructure((inputs, targets, weights))

    def zero_padding_weights(self, arrays: Arrays, rows: int) -> None:
        """Set the weights of padding, which is all but the first `rows` rows, to 0.

        Parameters
        ----------
        arrays
            One (b, …) array per name, in the order of `names`.
        rows
            Number of rows that are not padding.

        Examples
        --------
        >>> import numpy as np
        >>> arrays = tuple(np.ones(3) for _ in range(3))
        >>> BatchStructure(("image", "mask", "weight")).zero_padding_weights(arrays, rows=2)
        >>> [array.tolist() for array in arrays]
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]
        """
        for part in self.parts[2:3]:
            for name in outputs_of(part).values():
                arrays[self.names.index(name)][rows:] = 0


def outputs_of(part: Part) -> dict[Any, str]:
    """Return the field of each input or output of the model.

    Examples
    --------
    >>> outputs_of("mask"), outputs_of(("mask", "depth")), outputs_of({"seg": "mask"})
    ({None: 'mask'}, {0: 'mask', 1: 'depth'}, {'seg': 'mask'})
    >>> outputs_of((None, "weight"))  # weights of the second target alone
    {1: 'weight'}
    """
    if isinstance(part, str):
        return {None: part}
    if isinstance(part, dict):
        return dict(part)
    return {number: name for number, name in enumerate(part) if name is not None}


def _nested(part: Part, arrays: Mapping[str, Any]) -> Any:
    if isinstance(part, str):
        return arrays[part]
    if isinstance(part, dict):
        return {output: arrays[name] for output, name in part.items()}
    return tuple(arrays[name] for name in outputs_of(part).values())


def _part(argument: str, given: Any) -> Part:
    """Validate and normalise one argument."""
    key = _KEYS[argument]
    if isinstance(given, str):
        names: list[Any] = [given]
        part: Any = given
    elif isinstance(given, Mapping):
        for model_name in given:
            if not isinstance(model_name, str):
                raise TypeError(
                    f"{argument} must have names of the {key}s as keys, got {model_name!r}: write "
                    f"{argument}={{{key!r}: field}}"
                )
        names = list(given.values())
        part = dict(given)
    elif isinstance(given, Sequence):
        names = list(given)
        part = tuple(given)
    else:
        raise TypeError(
            f"{argument} must be a field, a tuple of fields or a dict {{{key}: field}}, not "
            f"{given!r}"
        )
    if argument == "weights":
        names = [name for name in names if name is not None]
        if isinstance(part, dict):
            part = {output: name for output, name in part.items() if name is not None}
    if not names:
        raise ValueError(f"{argument} must name at least one field, got {given!r}")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"{argument} must name one field for each {key}, got {name!r} in {given!r}"
            )
    return part  # type: ignore[no-any-return]


def _require_outputs(targets: Part, weights: Part) -> None:
    """Check that weights are one array, or are nested as their targets."""
    if isinstance(weights, str):
        return
    if type(weights) is not type(targets):
        raise ValueError(
            f"weights must be nested as targets={targets!r}, or be one field that weighs all of "
            f"them, got weights={weights!r}"
        )
    if isinstance(weights, tuple) and len(weights) != len(targets):
        raise ValueError(
            f"weights must have one field for each of the {len(targets)} targets, got "
            f"{len(weights)}: {', '.join(map(repr, weights))}; None stands for no weights"
        )
    outputs = outputs_of(targets)
    for output in weights if isinstance(weights, dict) else ():
        if output not in outputs:
            raise ValueError(
                f"weights has {output!r}, but there is no such target; "
                + did_you_mean(output, outputs, otherwise=f"targets has {', '.join(outputs)}")
            )
