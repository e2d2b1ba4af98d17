"""A row that is no good is told once, in words, with what to do about it."""

import enum
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask import Flask, g
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session, validates

from conformance.applications import Database, signal_model
from swpt_pythonlib.flask_signalbus.testing import (
    CannotCheck,
    RecordingBroker,
    check_signal_model,
    default_row,
)
from swpt_pythonlib.flask_signalbus.testing.harness import Harness

Start = Callable[[SQLAlchemy], Flask]

REMEDY = "Pass rows={Signal: lambda i: Signal(…)}."
FUNCTION = "The function passed as rows= for 'Signal'"
CORRECT_IT = "Correct it, or record beforehand what its rows refer to."


class Kind(enum.Enum):
    PRICES = 1
    STOCK = 2


class Refusing(sa.types.TypeDecorator[str]):
    """Takes addresses only."""

    impl = sa.String(20)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        if "@" not in value:
            raise TypeError("an address is needed")

        return value


class Guid(sa.types.TypeDecorator[UUID]):
    """As in SQLAlchemy's documentation."""

    impl = sa.CHAR(32)
    cache_ok = True

    def process_bind_param(self, value: UUID | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else value.hex

    def process_result_value(
        self, value: str | None, dialect: sa.Dialect
    ) -> UUID | None:
        return None if value is None else UUID(value)


class Aware(sa.types.TypeDecorator[datetime]):
    """Takes moments with a time zone only."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        if value.tzinfo is None:
            raise TypeError("a time zone is needed")

        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        return value.replace(tzinfo=UTC)


def message_of(
    model: type[Any], app: Flask, rows: Callable[[int], Any] | None = None
) -> str:
    """Return why a model cannot be checked."""
    with pytest.raises(CannotCheck) as raised:
        check_signal_model(model, app, rows=rows)
    return str(raised.value)


def test_a_value_that_a_constraint_refuses_is_named(start: Start) -> None:
    db = Database()
    model = signal_model(
        db, __table_args__=(sa.CheckConstraint("text LIKE '%@%'", name="is_address"),)
    )

    message = message_of(model, start(db))

    assert message.startswith("A sample row of 'Signal' cannot be recorded: ")
    assert "is_address" in message
    assert "It has text='sample 0" in message
    assert message.endswith(REMEDY)


def test_a_value_that_a_validator_refuses_is_named() -> None:
    def refuse(self: Any, key: str, value: str) -> str:
        raise ValueError("invalid address")

    model = signal_model(Database(), refuse=validates("text")(refuse))

    with pytest.raises(CannotCheck) as raised:
        default_row(model, 3)

    assert str(raised.value) == (
        "The sample value 'sample 0003' of the attribute 'text' of 'Signal' is"
        f" refused: ValueError('invalid address'). {REMEDY}"
    )


def test_a_value_that_a_type_refuses_is_named(start: Start) -> None:
    db = Database()
    model = signal_model(db, email=sa.Column("e_mail", Refusing, nullable=False))

    assert message_of(model, start(db)) == (
        "A sample row of 'Signal' cannot be recorded: TypeError('an address is"
        " needed')."
        f" The column 'e_mail' does not take the value 'sample 0006'. {REMEDY}"
    )


def test_a_value_that_cannot_be_read_back_is_named(start: Start) -> None:
    class Sealed(sa.types.TypeDecorator[str]):
        impl = sa.String(20)
        cache_ok = True

        def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
            raise ValueError("cannot decrypt")

    db = Database()
    model = signal_model(db, token=sa.Column(Sealed, nullable=False))

    assert message_of(model, start(db)) == (
        "The column 'token' of 'Signal' was given the value 'sample 0006', and cannot"
        f" be read back: ValueError('cannot decrypt'). {REMEDY}"
    )


def test_a_row_of_another_session_is_told_from_a_bad_one(start: Start) -> None:
    db = Database()
    model = signal_model(db)
    session = Session()

    def make(i: int) -> Any:
        row = model(text="x")
        session.add(row)
        return row

    message = message_of(model, start(db), make)

    session.close()
    assert "is already attached to session" in message
    assert "return rows that are in no session yet" in message


def test_a_default_that_needs_a_request_is_named(start: Start) -> None:
    db = Database()
    model = signal_model(
        db, created_by=sa.Column(sa.Integer, default=lambda: g.user_id)
    )

    message = message_of(model, start(db))

    assert "cannot be recorded: AttributeError('user_id')." in message
    assert message.endswith(
        f"The default of the column 'created_by' raised it. {REMEDY}"
    )


def test_an_error_of_unknown_origin_is_told_with_the_values(start: Start) -> None:
    db = Database()
    model = signal_model(db)

    @sa.event.listens_for(model, "before_insert")
    def refuse(mapper: Any, connection: Any, instance: Any) -> None:
        raise LookupError("nobody is logged in")

    assert message_of(model, start(db)) == (
        "A sample row of 'Signal' cannot be recorded: LookupError('nobody is logged"
        f" in'). It has text='sample 0006'. {REMEDY}"
    )


def test_a_key_with_too_few_values_is_named(start: Start) -> None:
    db = Database()
    model = signal_model(db, id=sa.Column(sa.Enum(Kind), primary_key=True))

    message = message_of(model, start(db))

    assert message.startswith(
        "The sample rows of 'Signal' repeat the primary key id=<Kind.PRICES: 1>:"
        " 7 rows are recorded at a time"
    )
    assert REMEDY in message


def test_a_type_that_insists_on_a_time_zone_gets_one(
    start: Start, kit_broker: RecordingBroker
) -> None:
    db = Database()
    model = signal_model(db, at=sa.Column(Aware, nullable=False))

    report = check_signal_model(model, start(db), broker=kit_broker)

    assert report.failures == []
    assert default_row(model, 3).at == datetime(2024, 1, 1, 0, 0, 3, tzinfo=UTC)


def test_a_type_that_insists_on_an_identifier_gets_one(
    start: Start, kit_broker: RecordingBroker
) -> None:
    db = Database()
    model = signal_model(db, order_id=sa.Column(Guid, nullable=False))

    report = check_signal_model(model, start(db), broker=kit_broker)

    assert report.failures == []
    assert default_row(model, 3).order_id == UUID(int=4)


def test_a_function_that_raises_is_blamed(start: Start) -> None:
    db = Database()
    model = signal_model(db)

    message = message_of(model, start(db), lambda i: model(txt=f"{i}"))

    assert message.startswith(f"{FUNCTION} raised TypeError(")
    assert "'txt' is an invalid keyword argument" in message
    assert message.endswith(f" for the number 0. {CORRECT_IT}")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        pytest.param(
            lambda model, i: None,
            "returned None for the number 0, not a row.",
            id="nothing",
        ),
        pytest.param(
            lambda model, i: model(text="x" if i < 7 else None),
            "made a row that cannot be recorded: ",
            id="a row that a constraint refuses",
        ),
        pytest.param(
            lambda model, i: model(id=i // 2, text="x"),
            "made two rows with the primary key id=0.",
            id="a key twice",
        ),
    ],
)
def test_a_function_that_makes_no_good_rows_is_blamed(
    start: Start, make: Callable[..., Any], what: str
) -> None:
    db = Database()
    model = signal_model(db)

    message = message_of(model, start(db), lambda i: make(model, i))

    assert message.startswith(f"{FUNCTION} {what}")
    assert message.endswith(CORRECT_IT)


def test_a_function_that_makes_no_new_rows_is_blamed(start: Start) -> None:
    db = Database()
    model = signal_model(db)
    row = model(text="x")

    assert message_of(model, start(db), lambda i: row) == (
        f"{FUNCTION} returned the same object twice, not a new row. {CORRECT_IT}"
    )


def test_a_lost_race_is_not_blamed_on_the_row(start: Start, dialect_name: str) -> None:
    db = Database()
    model = signal_model(db)
    harness = Harness(model, start(db))
    error = sa.exc.OperationalError("INSERT", {}, LostRace(dialect_name))

    with pytest.raises(sa.exc.OperationalError), harness.recording():
        raise error


class LostRace(Exception):
    """What a driver raises for a serialization conflict."""

    codes: dict[str, object] = {
        "sqlite": 5,
        "postgresql": "40001",
        "mysql": 1213,
        "mariadb": 1213,
    }

    def __init__(self, dialect: str) -> None:
        super().__init__("lost")
        self.sqlstate = self.codes[dialect]


def test_a_sender_that_does_not_know_the_sample_fails_once(
    start: Start, kit_broker: RecordingBroker
) -> None:
    def send(cls: type[Any], signal: Any) -> None:
        kit_broker.accept({"order.paid": "billing"}[signal.text])

    db = Database()
    model = signal_model(db, send_signalbus_message=classmethod(send))

    report = check_signal_model(model, start(db), broker=kit_broker)

    (failure,) = report.failures
    assert failure.check == "check_send_needs_columns_only"
    assert "raised KeyError('sample 0" in failure.reason
    assert "  hint:     it got the sample values text='sample 0" in failure.reason
    assert "pass rows={Signal: lambda i: Signal(…)}" in failure.reason
    assert "9 blocked by check_send_needs_columns_only" in str(report)


def test_a_sender_that_does_not_know_a_row_by_hand_blames_the_function(
    start: Start, kit_broker: RecordingBroker
) -> None:
    def send(cls: type[Any], signal: Any) -> None:
        raise KeyError(signal.text)

    db = Database()
    model = signal_model(db, send_signalbus_message=classmethod(send))

    report = check_signal_model(
        model, start(db), broker=kit_broker, rows=lambda i: model(text=f"row {i}")
    )

    (failure,) = report.failures
    assert (
        "is it a row that the function passed as rows= for 'Signal' should make?"
        in (failure.reason)
    )


def test_an_answer_of_none_is_not_blamed_on_the_row(
    start: Start, kit_broker: RecordingBroker
) -> None:
    def send(cls: type[Any], signal: Any) -> None:
        response: Any = kit_broker.accept(signal.text)
        response.raise_for_status()

    db = Database()
    model = signal_model(db, send_signalbus_message=classmethod(send))

    report = check_signal_model(model, start(db), broker=kit_broker)

    (failure,) = report.failures
    assert "is that the answer of the broker fake?" in failure.reason
