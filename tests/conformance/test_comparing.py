"""When values are the same, and how they differ, in words."""

from typing import Any

import pytest

from conformance.healthy_senders import Elementwise, Secret
from swpt_pythonlib.flask_signalbus.testing.comparing import difference, same


class Opaque:
    """Neither compares nor shows anything."""

    __slots__ = ("_nothing",)

    def __reduce__(self) -> Any:
        raise TypeError


@pytest.mark.once
@pytest.mark.parametrize(
    ("some", "other", "are_same"),
    [
        pytest.param(1, 1, True, id="equal"),
        pytest.param(1, 2, False, id="not equal"),
        pytest.param(float("nan"), float("nan"), True, id="not a number"),
        pytest.param(Secret("a"), Secret("a"), True, id="no equality"),
        pytest.param(Secret("a"), Secret("b"), False, id="no equality, different"),
        pytest.param(Elementwise("ab"), Elementwise("ab"), True, id="by elements"),
        pytest.param(
            Elementwise("ab"), Elementwise("ac"), False, id="by elements, different"
        ),
        pytest.param([Secret("a")], [Secret("a")], True, id="in a list"),
        pytest.param({"a": Secret("a")}, {"a": Secret("b")}, False, id="in a mapping"),
        pytest.param(Secret("a"), "a", False, id="of another type"),
        pytest.param(Opaque(), Opaque(), False, id="nobody can tell"),
    ],
)
def test_values_are_the_same_or_not(some: Any, other: Any, are_same: bool) -> None:
    assert same(some, other) is are_same


@pytest.mark.once
def test_values_of_a_local_class_are_compared_by_what_they_hold() -> None:
    """They cannot be pickled."""

    class Local:
        def __init__(self, text: str) -> None:
            self.text = text

    assert same(Local("a"), Local("a"))
    assert not same(Local("a"), Local("b"))


@pytest.mark.once
@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        pytest.param(["a"], ["a", "b"], "missing 'b'", id="missing"),
        pytest.param(["a", "b"], ["b"], "besides 'a'", id="besides"),
        pytest.param(["b", "a"], ["a", "b"], "the same in another order", id="order"),
        pytest.param(
            [{"a": 1, "b": 2}],
            [{"a": 1, "b": 3, "c": 4}],
            "'b' is 2 instead of 3, 'c' is missing instead of 4, in {'a': 1, 'b': 2}",
            id="parts of a mapping",
        ),
        pytest.param(
            [("x", 1)],
            [("y", 1)],
            "0 is 'x' instead of 'y', in ('x', 1)",
            id="of a pair",
        ),
        pytest.param(
            [{"id": 7, "x": 2}, {"id": 8, "x": 1}],
            [{"id": 1, "x": 1}, {"id": 2, "x": 2}],
            "'id' is 7 instead of 2, in {'id': 7, 'x': 2}; 2 differ",
            id="of the closest",
        ),
        pytest.param([(1,)], [(2,)], "missing (2,); besides (1,)", id="all parts"),
        pytest.param(
            list("abcd"),
            [],
            "besides 'a'; besides 'b'; besides 'c'; 4 in all",
            id="not too many",
        ),
        pytest.param(["x" * 300], [], f"besides '{'x' * 199}…", id="not too long"),
    ],
)
def test_a_difference_is_told(found: Any, expected: Any, words: str) -> None:
    assert difference(found, expected) == words
