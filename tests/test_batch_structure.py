"""Which arrays of a batch are inputs, targets and weights: laws of the nesting, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.feed.batch_structure import BatchStructure, Part, outputs_of

names = st.text("abcdef", min_size=1, max_size=2)
parts = names | st.lists(names, min_size=1, max_size=3) | st.dictionaries(names, names, min_size=1)


@st.composite
def structures(draw: st.DrawFn) -> BatchStructure:
    """Every structure that a user may ask for."""
    inputs, targets = draw(parts), draw(st.none() | parts)
    weights: Any = None
    if targets is not None and draw(st.booleans()):
        keys = outputs_of(targets if isinstance(targets, str | dict) else tuple(targets))
        drawn = {key: draw(names) for key in keys}
        weights = draw(names)
        if isinstance(targets, dict):
            kept = draw(st.lists(st.sampled_from(list(keys)), min_size=1, unique=True))
            weights = {key: drawn[key] for key in kept}
        elif isinstance(targets, list):
            weights = list(drawn.values())
    return BatchStructure.of(inputs, targets, weights)


def leaves(part: Any) -> list[Any]:
    """The arrays of a nested part, in its order."""
    if isinstance(part, dict):
        return list(part.values())
    return list(part) if isinstance(part, tuple) else [part]


class TestEveryStructure:
    @given(structures())
    def test_a_leaf_is_the_very_array_of_its_field(self, structure: BatchStructure) -> None:
        arrays = {name: np.zeros(1) for name in structure.names}
        batch = structure.nest(tuple(arrays.values()))
        assert len(batch) == len(structure.parts)
        for part, nested in zip(structure.parts, batch, strict=True):
            if isinstance(part, str):
                assert nested is arrays[part]
            else:
                assert type(nested) is type(part)
                assert list(outputs_of(part)) == list(
                    nested if isinstance(nested, dict) else range(len(nested))
                )
            expected = [arrays[name] for name in outputs_of(part).values()]
            assert all(a is b for a, b in zip(leaves(nested), expected, strict=True))

    @given(structures())
    def test_a_slot_has_every_field_once_in_order_of_use(self, structure: BatchStructure) -> None:
        used = [name for part in structure.parts for name in outputs_of(part).values()]
        assert list(structure.names) == sorted(set(used), key=used.index)

    @given(structures())
    def test_when_weights_are_added_every_target_has_them(self, structure: BatchStructure) -> None:
        missing = structure.unweighted
        full = structure
        if missing:
            full = structure.with_weights({key: f"w{n}" for n, key in enumerate(missing)})
            assert full.parts[:2] == structure.parts[:2]
            for key, name in outputs_of(full.parts[2]).items():
                given = outputs_of(structure.parts[2]) if len(structure.parts) > 2 else {}
                assert name == given.get(key, name)
                assert (key in missing) == (name[0] == "w")
        assert not full.unweighted
        # What Keras is given weighs what it says: by hand, the constructor takes it, too.
        assert BatchStructure.of(*(*full.parts, None, None)[:3]) == full

    @given(structures(), st.integers(0, 4))
    def test_rows_after_the_end_weigh_nothing(self, structure: BatchStructure, rows: int) -> None:
        arrays = tuple(np.ones((4, 2)) for _ in structure.names)
        structure.zero_padding_weights(arrays, rows)
        weights = {n for part in structure.parts[2:3] for n in outputs_of(part).values()}
        for name, array in zip(structure.names, arrays, strict=True):
            expected = rows if name in weights else 4
            assert array.sum(axis=0).tolist() == [expected, expected]


def test_arrays_that_need_no_nesting_are_handed_on_as_they_are() -> None:
    arrays = (np.zeros(1), np.zeros(1))
    assert BatchStructure(("image", "mask")).nest(arrays) is arrays


@pytest.mark.parametrize(
    ("inputs", "targets", "weights", "error", "said"),
    [
        (("a",), None, "w", ValueError, "weights='w' needs targets to weigh, got targets=None"),
        (3, None, None, TypeError, r"inputs must be a field, .* dict {model input: field}, not 3"),
        ({"a", "b"}, None, None, TypeError, "inputs must be a field, a tuple of fields"),
        ((), "m", None, ValueError, r"inputs must name at least one field, got \(\)"),
        ("a", {}, None, ValueError, "targets must name at least one field, got {}"),
        (
            {"rgb": ("a", "b")}, "m", None, TypeError,
            r"inputs must name one field for each model input, got \('a', 'b'\) in {'rgb'",
        ),
        ("a", {0: "m"}, None, TypeError, r"targets must have names of the model outputs .* got 0"),
        ("a", ("m", None), None, TypeError, "one field for each model output, got None in"),
        ("a", {"m": "m"}, ("w",), ValueError, r"weights must be nested as targets={'m'.*'w',\)"),
        ("a", "m", {"m": "w"}, ValueError, "weights must be nested as targets='m', or be one"),
        ("a", ("m", "n"), ("w",), ValueError, "each of the 2 targets, got 1: 'w'; None"),
        (
            "a", {"seg": "m", "depth": "d"}, {"sge": "w"}, ValueError,
            "weights has 'sge', but there is no such target; did you mean 'seg'",
        ),
        (
            "a", {"seg": "m", "depth": "d"}, {"x": "w"}, ValueError,
            "no such target; targets has seg, depth",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused(
    inputs: Any, targets: Any, weights: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        BatchStructure.of(inputs, targets, weights)


def test_a_structure_does_not_follow_the_dict_that_it_was_made_of() -> None:
    given: dict[str, str] = {"rgb": "image"}
    structure = BatchStructure.of(given, None, None)
    given["depth"] = "depth"
    expected: tuple[Part, ...] = ({"rgb": "image"},)
    assert structure.parts == expected
