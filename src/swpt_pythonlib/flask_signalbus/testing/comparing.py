"""When two values are the same, and how two of them differ."""

from __future__ import annotations

import pickle
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Column, Dialect


def is_among(some: object, others: Iterable[object]) -> bool:
    """Tell whether this very object is one of the others."""
    return any(other is some for other in others)


def same(some: Any, other: Any) -> bool:
    """Tell whether two values are the same, also if they do not compare by value.

    Some types compare element by element, others not at all.
    """
    if some is other or _equal(some, other):
        return True
    if type(some) is not type(other):
        return False
    if isinstance(some, Mapping):
        return some.keys() == other.keys() and all(
            same(some[k], other[k]) for k in some
        )
    if isinstance(some, list | tuple):
        return len(some) == len(other) and all(map(same, some, other))

    state = getattr(some, "__dict__", None)
    if state and not _compares(some) and same(state, other.__dict__):
        return True

    return _pickled(some) == _pickled(other) != b""


def _equal(some: Any, other: Any) -> bool:
    try:
        result = some == other
    except Exception:
        return False

    # What compares element by element returns something else.
    return result is True


def _compares(value: object) -> bool:
    """Tell whether a type says when its values are equal, in one word."""
    with suppress(Exception):
        return type(value).__eq__ is not object.__eq__ and (value == value) is True

    return False


def _pickled(value: object) -> bytes:
    try:
        return pickle.dumps(value)
    except Exception:
        return b""


def hashable(value: Any, column: Column[Any], dialect: Dialect) -> Hashable:
    """Return what stands for a value of a column in sets: if need be, what is bound."""
    try:
        hash(value)
    except TypeError:
        is_hashable = False
    else:
        is_hashable = _compares(value) or value != value
    if is_hashable and value == value:
        return value  # type: ignore[no-any-return]

    bound = bind(value, column, dialect)
    return bound if isinstance(bound, Hashable) and _compares(bound) else repr(bound)


def bind(value: Any, column: Column[Any], dialect: Dialect) -> Any:
    """Return what is sent to the database for a value of a column.

    :raises Exception: Whatever the type of the column raises.
    """
    process = column.type.dialect_impl(dialect).bind_processor(dialect)
    return value if process is None else process(value)


def same_messages(some: Sequence[object], others: Sequence[object]) -> bool:
    """Tell whether the messages are the same, apart from their order."""
    return not any(_parted(some, others))


def repeated(messages: Sequence[object]) -> list[object]:
    """Return the messages that are the same as an earlier one."""
    return [
        message
        for i, message in enumerate(messages)
        if any(same(message, earlier) for earlier in messages[:i])
    ]


def _parted(
    some: Sequence[object], others: Sequence[object]
) -> tuple[list[object], list[object]]:
    """Return what is only in the one, and only in the other."""
    rest = list(others)
    alone = []
    for each in some:
        position = next((i for i, e in enumerate(rest) if same(each, e)), None)
        if position is None:
            alone.append(each)
        else:
            del rest[position]
    return alone, rest


def difference(found: Sequence[object], expected: Sequence[object]) -> str:
    """Say in what two lists differ, apart from their order."""
    besides, missing = _parted(found, expected)
    count = len(besides) + len(missing)
    if besides and len(besides) == len(missing):
        closest = min(missing, key=lambda each: len(_differing(besides[0], each)))
        if 0 < len(_differing(besides[0], closest)) < len(_pairs(besides[0], closest)):
            more = f"; {len(besides)} differ" if len(besides) > 1 else ""
            return f"{parts(besides[0], closest)}, in {shortened(besides[0])}{more}"

    words = [
        f"{word} {shortened(each)}"
        for word, values in (("missing", missing), ("besides", besides))
        for each in values[:_FEW]
    ]
    more = f"; {count} in all" if count > len(words) else ""
    return "; ".join(words) + more if words else "the same in another order"


def parts(found: Any, expected: Any) -> str:
    """Say which parts of two values differ, if they have parts."""
    return ", ".join(
        f"{name!r} is {shortened(value)} instead of {shortened(wanted)}"
        for name, value, wanted in _differing(found, expected)
    )


def _differing(found: Any, expected: Any) -> list[tuple[Any, Any, Any]]:
    return [pair for pair in _pairs(found, expected) if not same(pair[1], pair[2])]


def _pairs(found: Any, expected: Any) -> list[tuple[Any, Any, Any]]:
    """Return the parts of two values side by side, by their names or positions."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        return [
            (name, found.get(name, _NOTHING), expected.get(name, _NOTHING))
            for name in dict.fromkeys([*expected, *found])
        ]
    if _are_alike(found, expected):
        return [(i, *pair) for i, pair in enumerate(zip(found, expected, strict=True))]

    return []


def _are_alike(found: Any, expected: Any) -> bool:
    are_lists = isinstance(found, list | tuple) and isinstance(expected, list | tuple)
    return are_lists and len(found) == len(expected)


class _Nothing:
    def __repr__(self) -> str:
        return "missing"


_NOTHING = _Nothing()
_FEW = 3
_LONGEST = 200


def shortened(value: object) -> str:
    """Return the representation of a value, cut if it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
