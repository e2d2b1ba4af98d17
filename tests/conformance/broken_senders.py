"""Send methods that are broken in one way each.

What takes ``signals`` is a bulk sender.
"""

import socket
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from conformance.applications import publish, send_many, send_one
from swpt_pythonlib.flask_signalbus import SignalsRefused

Model = type[Any]


def takes_two_arguments(cls: Model, signal: Any, channel: Any) -> None:
    publish((channel, signal.text))


async def is_a_coroutine(cls: Model, signal: Any) -> None:
    publish(signal.text)


def is_a_generator(cls: Model, signals: Iterable[Any]) -> Iterator[None]:
    for signal in signals:
        publish(signal.text)
        yield


async def is_an_async_generator(
    cls: Model, signals: Iterable[Any]
) -> AsyncIterator[None]:
    for signal in signals:
        publish(signal.text)
        yield


def sends_nothing(cls: Model, signal: Any) -> None:
    pass


def sends_twice(cls: Model, signal: Any) -> None:
    publish(signal.text)
    publish(signal.text)


def swallows_errors(cls: Model, signal: Any) -> None:
    with suppress(Exception):
        publish(signal.text)


def swallows_the_last_error(cls: Model, signals: Iterable[Any]) -> None:
    signals = list(signals)
    send_many(cls, signals[:-1])
    for signal in signals[-1:]:
        swallows_errors(cls, signal)


def sends_something_else(cls: Model, signals: Iterable[Any]) -> None:
    for signal in signals:
        publish(signal.text.upper())


def iterates_twice(cls: Model, signals: Iterable[Any]) -> None:
    if any(not signal.text for signal in signals):
        raise ValueError("A signal has no text.")
    send_many(cls, signals)


def waits_for_the_flush(cls: Model, signal: Any) -> None:
    with Session(cls.query.session.get_bind(cls).engine) as own, own.begin():
        own.execute(sa.update(cls).where(cls.id == signal.id).values(text="sent"))
    publish(signal.text)


def names_the_wrong_ones(cls: Model, signals: Iterable[Any]) -> None:
    signals, refused = list(signals), []
    for signal, following in zip(signals, signals[1:] + signals[:1], strict=True):
        try:
            publish(signal.text)
        except Exception:
            refused.append(following)
    if refused:
        raise SignalsRefused(refused)


def names_copies(cls: Model, signals: Iterable[Any]) -> None:
    refused = []
    for signal in signals:
        try:
            publish(signal.text)
        except Exception:
            refused.append(cls(id=signal.id, text=signal.text))
    if refused:
        raise SignalsRefused(refused)


def drops_the_remainder(cls: Model, signals: Iterable[Any]) -> None:
    pair = []
    for signal in signals:
        pair.append(signal)
        if len(pair) == 2:
            send_many(cls, pair)
            pair = []


def tries_forever(cls: Model, signal: Any) -> None:
    while True:
        with suppress(Exception):
            return publish(signal.text)


def knows_one_error_only(cls: Model, signal: Any) -> None:
    with suppress(TimeoutError):
        publish(signal.text)


def asks_for_no_confirmation(cls: Model, signal: Any) -> None:
    current_app.extensions["broker"].queue(signal.text)


def exits_when_refused(cls: Model, signal: Any) -> None:
    try:
        publish(signal.text)
    except Exception:
        sys.exit("The broker is down.")


def returns_a_coroutine(cls: Model, signal: Any) -> Any:
    return is_a_coroutine(cls, signal)


def exits(cls: Model, signal: Any) -> None:
    raise SystemExit(1)


def reads_what_may_be_null(cls: Model, signal: Any) -> None:
    publish(f"{signal.text} {signal.note.upper()}")


def reaches_for_the_network(cls: Model, signal: Any) -> None:
    publish(signal.text)
    with suppress(Exception):
        socket.create_connection(("127.0.0.1", 9), timeout=1)


def calls_a_method(cls: Model, signal: Any) -> None:
    publish(signal.as_message())


def reads_what_the_class_has(cls: Model, signal: Any) -> None:
    publish(signal.metadata)


def commits(cls: Model, signal: Any) -> None:
    send_one(cls, signal)
    cls.query.session.commit()


def closes_the_session(cls: Model, signals: Iterable[Any]) -> None:
    send_many(cls, signals)
    cls.query.session.close()


def queries(cls: Model, signal: Any) -> None:
    if cls.query.count() < 100:
        send_one(cls, signal)


def insists_on_the_order(cls: Model, signals: Iterable[Any]) -> None:
    signals = list(signals)
    if signals != sorted(signals, key=lambda signal: signal.id):
        raise ValueError("The signals are out of order.")
    send_many(cls, signals)
