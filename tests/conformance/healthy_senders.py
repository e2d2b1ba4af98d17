"""Send methods as applications have them, which nothing is wrong with."""

import asyncio
import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from flask import current_app
from flask_sqlalchemy import SQLAlchemy

from conformance.applications import LEFT_OUT, send_many, signal_model
from swpt_pythonlib.flask_signalbus import SignalsRefused
from swpt_pythonlib.flask_signalbus.testing import RecordingBroker

Model = type[Any]


class ClientError(Exception):
    """What a client library raises."""


@dataclass(frozen=True)
class Response:
    status_code: int


@dataclass(frozen=True)
class Habit:
    """A model whose senders are special, and the fake for their client.

    :param model: Makes the model.
    :param broker: Makes the fake.
    """

    name: str
    model: Callable[[SQLAlchemy], Model]
    broker: Callable[[], RecordingBroker] = RecordingBroker


def fake() -> RecordingBroker:
    broker: RecordingBroker = current_app.extensions["broker"]
    return broker


def of(
    name: str,
    send: Any = None,
    send_bulk: Any = LEFT_OUT,
    *,
    broker: Callable[[], RecordingBroker] = RecordingBroker,
    **attributes: Any,
) -> Habit:
    """Return a habit; what is a plain function becomes a class method."""

    def model(db: SQLAlchemy) -> Model:
        made = {
            key: value() if isinstance(value, functools.partial) else value
            for key, value in attributes.items()
        }
        return signal_model(
            db, send_signalbus_message=send, send_signalbus_messages=send_bulk, **made
        )

    return Habit(name, model, broker)


def publish(signal: Any) -> None:
    fake().accept(signal.text)


class Publisher:
    """Can be called, and is no function."""

    def __call__(self, signal: Any) -> None:
        publish(signal)


@classmethod  # type: ignore[misc]
def twice(cls: Model, signal: Any) -> None:
    fake().accept(("billing", signal.text))
    fake().accept(("shipping", signal.text))


@classmethod  # type: ignore[misc]
def twice_in_bulk(cls: Model, signals: Iterable[Any]) -> None:
    for signal in signals:
        cls.send_signalbus_message(signal)


@classmethod  # type: ignore[misc]
def needs_a_first_signal(cls: Model, signals: Iterable[Any]) -> None:
    first, *others = signals
    send_many(cls, [first, *others])


@classmethod  # type: ignore[misc]
def posts(cls: Model, signal: Any) -> None:
    if fake().accept(signal.text).status_code != 202:
        raise ClientError("not accepted")


@classmethod  # type: ignore[misc]
def tries_again(cls: Model, signal: Any) -> None:
    try:
        publish(signal)
    except ClientError:
        publish(signal)


@classmethod  # type: ignore[misc]
def names_what_was_refused(cls: Model, signals: Iterable[Any]) -> None:
    signals = list(signals)
    confirmations = [fake().queue(signal.text) for signal in signals]
    refused = [
        signal
        for signal, confirmation in zip(signals, confirmations, strict=True)
        if confirmation.exception() is not None
    ]
    if refused:
        raise SignalsRefused(refused)


@classmethod  # type: ignore[misc]
def raises_its_own_error(cls: Model, signal: Any) -> None:
    failed = False
    try:
        publish(signal)
    except ClientError:
        failed = True
    if failed:
        raise RuntimeError("not published")


@classmethod  # type: ignore[misc]
def publishes_from_a_loop(cls: Model, signal: Any) -> None:
    async def publish_later() -> None:
        await asyncio.sleep(0)
        broker.accept(signal.text)

    broker = fake()
    asyncio.run(publish_later())


@classmethod  # type: ignore[misc]
def publishes_from_a_thread(cls: Model, signal: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fake().accept, signal.text).result()


@classmethod  # type: ignore[misc]
def writes_to_the_session(cls: Model, signal: Any) -> None:
    publish(signal)
    note = cls.metadata.tables["note"]
    cls.query.session.execute(sa.insert(note).values(text=signal.text))


def note_table(db: SQLAlchemy) -> sa.Table:
    return sa.Table(
        "note",
        db.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.String(50)),
    )


def with_notes(db: SQLAlchemy) -> Model:
    note_table(db)
    return signal_model(
        db,
        send_signalbus_message=writes_to_the_session,
        send_signalbus_messages=LEFT_OUT,
    )


def with_a_block(db: SQLAlchemy) -> Model:
    notes = note_table(db)

    @db.atomic  # type: ignore[untyped-decorator]
    def write_down(text: str) -> None:
        db.session.execute(sa.insert(notes).values(text=text))

    @classmethod  # type: ignore[misc]
    def send(cls: Model, signal: Any) -> None:
        publish(signal)
        write_down(signal.text)

    return signal_model(
        db, send_signalbus_message=send, send_signalbus_messages=LEFT_OUT
    )


@classmethod  # type: ignore[misc]
def looks_after_its_row(cls: Model, signal: Any) -> None:
    publish(signal)
    cls.query.filter_by(id=signal.id).update({"text": "sent"})


@classmethod  # type: ignore[misc]
def fills_in_one_form(cls: Model, signals: Iterable[Any]) -> None:
    form, refused = {}, []
    for signal in signals:
        form["text"] = signal.text
        try:
            fake().accept(form)
        except ClientError:
            refused.append(signal)
    if refused:
        raise SignalsRefused(refused)


@classmethod  # type: ignore[misc]
def sends_a_form(cls: Model, signal: Any) -> None:
    fake().accept({"text": signal.text})


class Elementwise:
    """Compares as arrays do."""

    def __init__(self, items: str) -> None:
        self.items = items

    def __eq__(self, other: object) -> Any:
        assert isinstance(other, Elementwise)
        return [a == b for a, b in zip(self.items, other.items, strict=False)]

    __hash__ = None  # type: ignore[assignment]


class Secret:
    """Compares to nothing."""

    def __init__(self, text: str) -> None:
        self.text = text


@dataclass(frozen=True)
class Wrapping:
    """A type of column that puts its text into something."""

    wrapper: Callable[[str], Any]
    attribute: str = field(default="text")

    def __call__(self) -> sa.types.TypeDecorator[Any]:
        wrapper, attribute = self.wrapper, self.attribute

        class Wrapped(sa.types.TypeDecorator[Any]):
            impl = sa.String(50)
            cache_ok = False

            def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
                return getattr(value, attribute, value)

            def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
                return None if value is None else wrapper(value)

        return Wrapped()


def column(wrapping: Wrapping, **options: Any) -> functools.partial[Any]:
    return functools.partial(lambda: sa.Column(wrapping(), **options))


@classmethod  # type: ignore[misc]
def sends_an_object(cls: Model, signal: Any) -> None:
    fake().accept(Secret(signal.text))


@classmethod  # type: ignore[misc]
def sends_objects(cls: Model, signals: Iterable[Any]) -> None:
    for signal in signals:
        fake().accept(Secret(signal.text))


_single = classmethod(lambda cls, signal: publish(signal))

HABITS = (
    of("a static method", staticmethod(publish)),
    of("a partial function", functools.partial(publish)),
    of("something that can be called", Publisher()),
    of("two messages a signal", twice, twice_in_bulk),
    of("a first signal", _single, needs_a_first_signal),
    of(
        "an answer, and a refusal by value",
        posts,
        broker=lambda: RecordingBroker(answer=Response(202), refusal=Response(503)),
    ),
    of(
        "a refusal by value and by errors",
        posts,
        broker=lambda: RecordingBroker(
            answer=Response(202),
            refusal=Response(503),
            error=[ConnectionError, TimeoutError],
        ),
    ),
    of(
        "a second attempt",
        tries_again,
        broker=lambda: RecordingBroker(error=ClientError),
    ),
    of(
        "the refused ones by name",
        _single,
        names_what_was_refused,
        broker=lambda: RecordingBroker(error=ClientError),
    ),
    of(
        "an error of its own",
        raises_its_own_error,
        broker=lambda: RecordingBroker(error=ClientError),
    ),
    of("a loop of its own", publishes_from_a_loop),
    of("a thread of its own", publishes_from_a_thread),
    Habit("a note in the session", with_notes),
    Habit("an atomic block", with_a_block),
    of("a statement about its own row", looks_after_its_row),
    of(
        "one form for all messages",
        sends_a_form,
        fills_in_one_form,
        broker=lambda: RecordingBroker(error=ClientError),
    ),
    of("values that compare to nothing", _single, value=column(Wrapping(Secret))),
    of(
        "values that compare element by element",
        _single,
        value=column(Wrapping(Elementwise, "items")),
    ),
    of(
        "a key that compares to nothing",
        _single,
        id=column(Wrapping(Secret), primary_key=True),
    ),
    of("messages that compare to nothing", sends_an_object, sends_objects),
)
