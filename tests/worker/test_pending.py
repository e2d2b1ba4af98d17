"""What is pending, for people and for machines: rules O2 and C2."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask, current_app
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from support.models import Note, Parcel, db
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory, Record
from swpt_pythonlib.flask_signalbus import PendingSignals, SignalBus

#: As exact as the clocks of all databases, and as patient as a slow machine.
HOUR, ABOUT = timedelta(hours=1), timedelta(minutes=2)


class Base(DeclarativeBase):
    """The base of the models of a test."""


class UtcDateTime(TypeDecorator[datetime]):
    """What applications use to have a time zone where their database has none."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Any) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _: Any) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


@pytest.fixture
def make_model(make_db: DBFactory) -> Callable[[Any], Any]:
    """Return what makes a signal model with a column of the moment of recording."""

    def make_model(column: Any) -> Any:
        own_db = make_db()

        @model_of(own_db)
        class Letter(OwnModel):
            signalbus_created_at = "recorded"

            id = sa.Column(sa.Integer, primary_key=True)
            recorded = column

            @classmethod
            def send_signalbus_message(cls, signal: Any) -> None: ...

        own_db.create_all()
        return Letter

    return make_model


def bus_of_the_app() -> SignalBus:
    bus: SignalBus = current_app.extensions["signalbus"]
    return bus


def add(*signals: Any) -> None:
    session = current_app.extensions["sqlalchemy"].session
    session.add_all(signals)
    session.commit()


@pytest.fixture
def run(app: Flask) -> Any:
    """Return what runs a command in a process-like way."""

    def run(*args: str) -> Result:
        return app.test_cli_runner().invoke(args=["signalbus", *args])

    return run


def test_pending_counts_each_model(bus: SignalBus, record: Record) -> None:
    """O2: an age is not known where the model names no column."""
    record(Note, "a", "b")

    assert bus.pending([Parcel, Note]) == [
        PendingSignals(model=Parcel, count=0, oldest_age=None),
        PendingSignals(model=Note, count=2, oldest_age=None),
    ]
    assert [p.model for p in bus.pending()] == bus.get_signal_models()


@pytest.mark.parametrize(("max_count", "count"), [(2, 2), (3, 3), (4, 3), (None, 3)])
def test_counting_can_be_stopped(
    bus: SignalBus, record: Record, max_count: int | None, count: int
) -> None:
    """O2: by the database."""
    record(Note, "a", "b", "c")

    (found,) = bus.pending([Note], max_count=max_count)

    assert found.count == count


def test_impossible_questions_are_refused(bus: SignalBus) -> None:
    """O2: in words."""
    with pytest.raises(ValueError, match="'max_count' must be 1 or more, got 0"):
        bus.pending(max_count=0)
    with pytest.raises(TypeError, match=r"'pending' takes a list .* '\[Note\]'"):
        bus.pending(Note)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="'str' is not a signal model"):
        bus.pending([str])


@pytest.mark.parametrize(
    ("column", "moment"),
    [
        pytest.param(
            lambda: sa.Column(sa.DateTime),
            lambda: datetime.now(UTC).replace(tzinfo=None) - HOUR,
            id="without a time zone it is in UTC",
        ),
        pytest.param(
            lambda: sa.Column(UtcDateTime),
            lambda: datetime.now(timezone(5 * HOUR)) - HOUR,
            id="with the time zone of a type",
        ),
        pytest.param(
            lambda: sa.Column("at", sa.DateTime),
            lambda: datetime.now(UTC).replace(tzinfo=None) - HOUR,
            id="in a column of another name",
        ),
    ],
)
def test_the_age_is_that_of_the_oldest(
    make_model: Any, column: Callable[[], Any], moment: Callable[[], datetime]
) -> None:
    """O2."""
    model = make_model(column())
    add(model(recorded=moment()), model(recorded=moment() + HOUR))

    (found,) = bus_of_the_app().pending([model])

    assert found.count == 2
    assert found.oldest_age is not None
    assert HOUR - ABOUT < found.oldest_age < HOUR + ABOUT


@pytest.mark.requires("roles")
@pytest.mark.parametrize("zone", ["+05:00", "-07:00"])
@pytest.mark.parametrize("has_zone", [True, False])
def test_the_age_is_told_by_the_clock_that_has_recorded(
    make_db: DBFactory, dialect_name: str, zone: str, has_zone: bool
) -> None:
    """O2: whatever time zone the database's session has."""
    own_db = make_db()

    @sa.event.listens_for(own_db.engine, "connect")
    def set_zone(connection: Any, _: object) -> None:
        name = "TIME ZONE" if dialect_name == "postgresql" else "time_zone ="
        connection.cursor().execute(f"SET {name} '{zone}'")
        connection.commit()

    @model_of(own_db)
    class Letter(OwnModel):
        signalbus_created_at = "recorded"

        id = sa.Column(sa.Integer, primary_key=True)
        recorded = sa.Column(
            sa.DateTime(timezone=has_zone), server_default=sa.func.now()
        )

        @classmethod
        def send_signalbus_message(cls, signal: Any) -> None: ...

    own_db.engine.dispose()
    own_db.create_all()
    add(Letter())

    (found,) = bus_of_the_app().pending([Letter])

    assert found.oldest_age is not None
    assert timedelta(0) <= found.oldest_age < ABOUT


def test_what_the_database_of_the_model_has_recorded_just_now_is_new(
    make_model: Any,
) -> None:
    """O2: no age is negative, though some clocks do not tell parts of seconds."""
    model = make_model(sa.Column(sa.DateTime, default=sa.func.current_timestamp()))
    add(model())

    (found,) = bus_of_the_app().pending([model])

    assert found.oldest_age is not None
    assert timedelta(0) <= found.oldest_age < ABOUT


def test_what_will_be_recorded_in_an_hour_has_no_negative_age(make_model: Any) -> None:
    """O2: when a clock was set back."""
    model = make_model(sa.Column(sa.DateTime))
    add(model(recorded=datetime.now(UTC).replace(tzinfo=None) + HOUR))

    (found,) = bus_of_the_app().pending([model])

    assert found.oldest_age == timedelta(0)


def test_nothing_that_is_pending_has_no_age(make_model: Any) -> None:
    """O2: neither has a moment that is NULL."""
    model = make_model(sa.Column(sa.DateTime))

    (without_signals,) = bus_of_the_app().pending([model])
    add(model(recorded=None))
    (without_moment,) = bus_of_the_app().pending([model])

    assert (without_signals.count, without_signals.oldest_age) == (0, None)
    assert (without_moment.count, without_moment.oldest_age) == (1, None)


@pytest.mark.parametrize("name", ["created", "send_signalbus_message", "text", 5])
def test_a_name_that_is_no_moment_is_refused(
    bus: SignalBus, run: Any, monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
    """O2: by 'check' too."""
    monkeypatch.setattr(Note, "signalbus_created_at", name, raising=False)

    with pytest.raises(ValueError, match="'signalbus_created_at' of 'Note' must be"):
        bus.pending([Note])
    checked = run("check", "Note")

    assert checked.exit_code == 1
    assert "check_created_at_is_a_moment" in checked.stdout
    assert f"'signalbus_created_at' is {name!r}" in checked.stdout


def test_pending_looks_where_a_flush_would(
    make_db: DBFactory, new_database: Callable[[], str]
) -> None:
    """O2: in the database of the model's bind key."""
    own_db = make_db(binds={"other": new_database()})

    @model_of(own_db)
    class Letter(OwnModel):
        __bind_key__ = "other"

        id = sa.Column(sa.Integer, primary_key=True)

        @classmethod
        def send_signalbus_message(cls, signal: Any) -> None: ...

    own_db.create_all()
    add(Letter(), Letter())

    counts = [p.count for p in bus_of_the_app().pending()]

    own_db.engines["other"].dispose()
    assert counts == [2]


def test_pending_leaves_no_transaction_that_was_not_there(
    bus: SignalBus, record: Record
) -> None:
    """O2: and one that is there sees its own signals."""
    bus.pending()
    was_in_transaction = db.session().in_transaction()
    db.session.add(Note(text="mine"))
    db.session.flush()

    (found,) = bus.pending([Note])

    assert not was_in_transaction
    assert found.count == 1
    assert db.session().in_transaction()
    db.session.rollback()


def test_the_command_shows_the_age(
    run: Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C2: on demand, since it may cost a look at each signal."""
    monkeypatch.setattr(Note, "signalbus_created_at", "nothing", raising=False)
    record(Note, "a")

    plain, oldest = run("pending"), run("pending", "--oldest")

    assert plain.stdout.splitlines()[0] == '1 of type "Note"'
    assert "must be the name of an attribute" in str(oldest.exception)


def test_the_command_says_that_it_has_stopped_counting(
    run: Any, record: Record
) -> None:
    """C2."""
    record(Note, *"abcdefghijkl")
    record(Parcel, "x")

    result = run("pending", "--max-count", "10")

    assert result.stdout.splitlines() == [
        ' 1 of type "Parcel"',
        '10+ of type "Note"',
        "-------------------------",
        "Total pending: 11+",
    ]


def test_the_command_shows_the_named_models_only(run: Any, record: Record) -> None:
    """C2: a name that does not exist is exit status 1, as with other commands."""
    record(Note, "a")
    record(Parcel, "b", "c")

    known, unknown = run("pending", "Note"), run("pending", "Odrer", "Note")

    assert (known.exit_code, unknown.exit_code) == (0, 1)
    assert known.stdout == unknown.stdout
    assert known.stdout.splitlines()[0] == '1 of type "Note"'
    assert known.stdout.splitlines()[-1] == "Total pending: 1"


def test_the_command_speaks_to_programs(make_model: Any) -> None:
    """C2: with all models and all that is known."""
    model = make_model(sa.Column(sa.DateTime))
    add(model(recorded=datetime.now(UTC).replace(tzinfo=None) - HOUR))

    run = current_app.test_cli_runner().invoke
    result = run(args=["signalbus", "pending", "--json"])

    (found,) = json.loads(result.stdout)
    age = found.pop("oldest_seconds")
    assert found == {"model": "Letter", "module": __name__, "count": 1}
    assert HOUR - ABOUT < timedelta(seconds=age) < HOUR + ABOUT
    (line, *_) = run(args=["signalbus", "pending", "--oldest"]).stdout.splitlines()
    assert re.fullmatch(r'1 of type "Letter", oldest 3\d{3} s', line)
