"""Sample rows: a plausible value for every type of column that has one."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeEngine

from .failures import CannotCheck

_EPOCH = datetime(2024, 1, 1)


def _text(column_type: sa.String, i: int) -> str:
    text = f"sample {i:04d}"
    length = _length(column_type)
    return text if length is None or len(text) <= length else str(i)[-length:]


def _binary(column_type: Any, i: int) -> bytes:
    length = min(_length(column_type) or 8, 8)
    rest: int = i % 256**length
    return rest.to_bytes(length, "big")


def _length(column_type: Any) -> int | None:
    """Return how long values may be; types of a fixed length have one by default."""
    is_fixed = isinstance(column_type, sa.CHAR | sa.NCHAR | sa.BINARY)
    length: int | None = getattr(column_type, "length", None)
    return 1 if length is None and is_fixed else length


def _decimal(column_type: sa.Numeric[Any], i: int) -> Decimal:
    if column_type.precision is not None:
        i %= 10**column_type.precision
    return Decimal(i).scaleb(-(column_type.scale or 0))


def _enum(column_type: sa.Enum, i: int) -> object:
    members = list(column_type.enum_class or column_type.enums)
    return members[i % len(members)]


def _uuid(column_type: sa.Uuid[Any], i: int) -> object:
    value = uuid.UUID(int=i + 1)
    return value if column_type.as_uuid else str(value)


def _moment(column_type: sa.DateTime, i: int) -> datetime:
    moment = _EPOCH + timedelta(seconds=i)
    return moment.replace(tzinfo=UTC) if column_type.timezone else moment


def _array(column_type: sa.ARRAY[Any], i: int) -> list[object]:
    value = sample(column_type.item_type, i)
    for _ in range((column_type.dimensions or 1) - 1):
        value = [value]
    return [value]


def _bits(column_type: Any, i: int) -> str:
    length = column_type.length or 1
    return format(i % 2**length, f"0{length}b")


#: How the bounds of the types of ranges are made.
_BOUNDS: dict[str, Callable[[int], Any]] = {
    "INT4": lambda i: i,
    "INT8": lambda i: i,
    "NUM": lambda i: Decimal(i),
    "DATE": lambda i: date(2024, 1, 1) + timedelta(days=i),
    "TS": lambda i: _EPOCH + timedelta(seconds=i),
    "TSTZ": lambda i: (_EPOCH + timedelta(seconds=i)).replace(tzinfo=UTC),
}
_RANGES = tuple(getattr(postgresql, f"{name}RANGE") for name in _BOUNDS)
_MULTIRANGES = tuple(getattr(postgresql, f"{name}MULTIRANGE") for name in _BOUNDS)


def _range(column_type: Any, i: int) -> Any:
    bound = _BOUNDS[type(column_type).__visit_name__.partition("RANGE")[0]]
    return postgresql.Range(bound(i), bound(i + 1))


def _multirange(column_type: Any, i: int) -> Any:
    bound = _BOUNDS[type(column_type).__visit_name__.partition("MULTI")[0]]
    return [postgresql.Range(bound(i), bound(i + 1))]


# The first match counts, so a subclass stands before its base.
_SAMPLES: tuple[tuple[type[Any], Callable[[Any, int], Any]], ...] = (
    (sa.PickleType, lambda t, i: {"sample": i}),
    (postgresql.OID, lambda t, i: i + 1),
    (postgresql.MONEY, lambda t, i: f"{i}.50"),
    (postgresql.BIT, _bits),
    (postgresql.TSVECTOR, lambda t, i: f"'sample{i}'"),
    (postgresql.TSQUERY, lambda t, i: f"'sample{i}'"),
    (postgresql.REGCLASS, lambda t, i: "pg_class"),
    (postgresql.MACADDR8, lambda t, i: i.to_bytes(8, "big").hex(":")),
    *((kind, _range) for kind in _RANGES),
    *((kind, _multirange) for kind in _MULTIRANGES),
    (postgresql.JSONPATH, lambda t, i: f"$.sample[{i}]"),
    (postgresql.REGCONFIG, lambda t, i: "simple"),
    (postgresql.DOMAIN, lambda t, i: sample(t.data_type, i)),
    *((kind, _binary) for kind in (mysql.TINYBLOB, mysql.MEDIUMBLOB, mysql.LONGBLOB)),
    (mysql.BIT, lambda t, i: i % 2 ** (t.length or 1)),
    (sa.Interval, lambda t, i: timedelta(seconds=i + 1)),
    (postgresql.INTERVAL, lambda t, i: timedelta(seconds=i + 1)),
    (mysql.SET, lambda t, i: {t.values[i % len(t.values)]}),
    (sa.Enum, _enum),
    (sa.String, _text),
    (sa.Boolean, lambda t, i: i % 2 == 0),
    (mysql.YEAR, lambda t, i: 2000 + i % 100),
    (mysql.TINYINT, lambda t, i: i % 127 + 1),
    (sa.Integer, lambda t, i: i + 1),
    (sa.Float, lambda t, i: i + 0.5),
    (sa.Numeric, _decimal),
    (sa.DateTime, _moment),
    (sa.Date, lambda t, i: date(2024, 1, 1) + timedelta(days=i)),
    (sa.Time, lambda t, i: (_EPOCH + timedelta(seconds=i)).time()),
    (sa.Uuid, _uuid),
    (sa.LargeBinary, _binary),
    (sa.BINARY, _binary),
    (sa.VARBINARY, _binary),
    (sa.JSON, lambda t, i: {"sample": i}),
    (sa.ARRAY, _array),
    (postgresql.HSTORE, lambda t, i: {"sample": str(i)}),
    (postgresql.INET, lambda t, i: str(ip_address("10.0.0.0") + i)),
    (postgresql.CIDR, lambda t, i: str(ip_network(f"10.0.{i % 256}.0/24"))),
    (postgresql.MACADDR, lambda t, i: i.to_bytes(6, "big").hex(":")),
)


def sample(column_type: TypeEngine[Any], i: int) -> Any:
    """Return the i-th sample value of a type.

    :raises LookupError: If there is no sample for this type.
    """
    for known, value in _SAMPLES:
        if isinstance(column_type, known):
            return value(column_type, i)
    if isinstance(column_type, sa.types.TypeDecorator):
        return _decorated(column_type, sample(column_type.impl_instance, i), i)

    raise LookupError(f"There is no sample value for the type '{column_type!r}'.")


def _decorated(column_type: sa.types.TypeDecorator[Any], value: Any, i: int) -> Any:
    """Return the value, or what such types are often made for, if that is refused."""
    others: list[Any] = [uuid.UUID(int=i + 1)]
    if isinstance(value, datetime):
        others.insert(0, value.replace(tzinfo=UTC))
    for each in (value, *others):
        with suppress(Exception):
            _bind(column_type, each)
            return each

    return value


def _bind(column_type: sa.types.TypeDecorator[Any], value: Any) -> None:
    with suppress(NotImplementedError):
        column_type.process_bind_param(value, DefaultDialect())


def default_row(model: type[Any], i: int, **values: Any) -> Any:
    """Return the i-th sample row of a model, not yet added to a session.

    Columns that the database or the model fills in are left alone; so are columns
    that may be null and refer to another table, or have a type without a sample.

    :param values: Attributes that cannot be guessed, or that matter.
    :raises CannotCheck: If a column needs a value that cannot be guessed, or if the
        model refuses the guess.
    :raises TypeError: If the model has no attribute of one of the names.

    .. versionadded:: 1.0
    .. versionchanged:: 1.1
        Added ``values``.
    """
    mapper = sa.inspect(model)
    for name in values:
        if not hasattr(model, name):
            raise TypeError(f"'{model.__qualname__}' has no attribute '{name}'.")

    # Not the constructor: its signature is the application's own.
    row = mapper.class_manager.new_instance()
    for name, column in mapped_columns(mapper).items():
        if name not in values and not _is_filled_in(column):
            _assign(row, name, _value(model, column, i))
    for name, value in values.items():
        setattr(row, name, value)
    if mapper.polymorphic_on is not None:
        discriminator = mapper.get_property_by_column(mapper.polymorphic_on)
        setattr(row, discriminator.key, mapper.polymorphic_identity)
    return row


def remedy(model: type[Any]) -> str:
    """Say what to do if the sample rows of a model are no good."""
    name = model.__qualname__
    return f"Pass rows={{{name}: lambda i: {name}(…)}}."


def _assign(row: Any, name: str, value: Any) -> None:
    model = type(row)
    try:
        setattr(row, name, value)
    except Exception as exc:
        raise CannotCheck(
            f"The sample value {value!r} of the attribute '{name}' of "
            f"'{model.__qualname__}' is refused: {exc!r}. {remedy(model)}"
        ) from exc


def mapped_columns(mapper: Mapper[Any]) -> dict[str, sa.Column[Any]]:
    """Return the columns of the table by the attributes they are mapped to."""
    return {
        attribute.key: column
        for attribute in mapper.column_attrs
        if isinstance(column := attribute.columns[0], sa.Column)
    }


def _is_filled_in(column: sa.Column[Any]) -> bool:
    # SQLAlchemy 2.0 takes a decimal key for an automatic one, which few databases do.
    is_automatic = isinstance(column.type, sa.Integer) and (
        column is column.table.autoincrement_column
    )
    return is_automatic or not (
        column.default is None and column.server_default is None
    )


def _value(model: type[Any], column: sa.Column[Any], i: int) -> Any:
    try:
        if column.foreign_keys:
            raise LookupError("It refers to another table.")

        return sample(column.type, i)
    except LookupError as exc:
        if column.nullable:
            return None

        raise CannotCheck(
            f"No value can be guessed for the column '{column.name}' of "
            f"'{model.__qualname__}'. {exc} {remedy(model)}"
        ) from exc
