"""The ``flask signalbus`` commands: arguments in, echo out."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from threading import Event
from typing import Any, Protocol

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from sqlalchemy import inspect

from ._bells import bell_for
from ._flushable import signal_table_of
from ._inspection import judge_table
from ._models import Model, choose
from ._reports import Result, judge, summary
from ._senders import ends_the_call

logger = logging.getLogger(__name__)


class Bus(Protocol):
    """What the commands need of the signal bus, which is built on top of them."""

    def get_signal_models(self) -> list[Model]:
        """Return all signal models, sorted by name."""

    def flushmany(self, models: Iterable[Model] | None = None) -> int:
        """Send the pending signals, and return how many there were."""


@click.group()
def signalbus() -> None:
    """Inspect and send the signals that are recorded in the database."""


def _check_finite(_: click.Context, __: click.Parameter, value: float | None) -> Any:
    if value is None or math.isfinite(value):
        return value

    raise click.BadParameter(f"{value} is not a number of seconds.")


@signalbus.command()
@click.argument("signal_names", nargs=-1)
@click.option(
    "-r",
    "--repeat",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="SECONDS",
    callback=_check_finite,
    help="Flush every so many seconds, forever, even after errors.",
)
@with_appcontext
def flushmany(signal_names: tuple[str, ...], repeat: float | None) -> None:
    """Send the pending signals over the message bus.

    Sends those of the types SIGNAL_NAMES, or all if no names are given. Exits
    with status 1 if something could not be sent, unless it repeats.
    """
    models = _models(signal_names)
    logger.info("Started flushing %s.", ", ".join(model.__name__ for model in models))
    if repeat is None:
        sys.exit(0 if _flush(models) else 1)

    # Before the first pass, or what is recorded during the pass would not be heard.
    with closing(bell_for(current_app.extensions["sqlalchemy"], models)) as bell:
        while True:
            started = time.monotonic()
            _flush(models)
            bell.wait(max(0.0, started + repeat - time.monotonic()), Event())


@signalbus.command()
@with_appcontext
def signals() -> None:
    """Show the types of signals, one per line."""
    for model in _bus().get_signal_models():
        click.echo(model.__name__)


@signalbus.command()
@click.argument("signal_names", nargs=-1)
@click.option(
    "--database",
    "looks_at_database",
    is_flag=True,
    help="Look at the real tables too; nothing is changed.",
)
@with_appcontext
def check(signal_names: tuple[str, ...], looks_at_database: bool) -> None:
    """Check the types of signals for mistakes that lose messages.

    Checks those of the types SIGNAL_NAMES, or all if no names are given, as far
    as it can be done without a database. Exits with status 1 if there is a mistake,
    or nothing to check.
    """
    models = _models(signal_names)
    names = {model.__name__ for model in models}
    judge_model = _judge_with_table if looks_at_database else _judge
    results = [result for model in models for result in judge_model(model)]
    for result in results:
        if result.reason and result.outcome != "skipped":
            click.echo(result.reason)

    click.echo(summary(results))
    failures = [result for result in results if result.outcome == "failed"]
    is_complete = bool(models) and names.issuperset(signal_names)
    sys.exit(0 if is_complete and not failures else 1)


@signalbus.command()
@with_appcontext
def pending() -> None:
    """Show how many signals of each type are pending."""
    counted = [(_count(model), model.__name__) for model in _bus().get_signal_models()]
    shown = sorted((n, name) for n, name in counted if n)
    width = max((len(str(n)) for n, _ in shown), default=1)
    for n, name in shown:
        click.echo(f'{n:>{width}} of type "{name}"')

    click.echo("-" * 25)
    click.echo(f"Total pending: {sum(n for n, _ in shown)}")


def _models(names: tuple[str, ...]) -> list[Model]:
    known = _bus().get_signal_models()
    if not known:
        logger.warning("There are no signal models; import their modules first.")

    return choose(known, names)


def _bus() -> Bus:
    bus: Bus = current_app.extensions["signalbus"]
    return bus


def _flush(models: list[Model]) -> bool:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    try:
        # A context of its own ends what belongs to the pass: the session, whatever an
        # extension has collected meanwhile, and what teardown functions clear away.
        with app.app_context():
            sent = _bus().flushmany(models)
            logger.info("%d signals have been successfully processed.", sent)
    except BaseException as error:
        if ends_the_call(error):
            raise
        logger.exception("Caught error while sending pending signals.")
        return False

    return True


def _judge(model: Model) -> Iterator[Result]:
    return judge(model, _bus().get_signal_models)


def _judge_with_table(model: Model) -> Iterator[Result]:
    yield from _judge(model)
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    # Its session is a new one, so what is rolled back there is nobody's work.
    with app.app_context():
        yield from judge_table(model, app.extensions["sqlalchemy"].session)


def _count(model: Model) -> int:
    session = current_app.extensions["sqlalchemy"].session
    statement = signal_table_of(model).select_count()
    n: int = session.scalar(statement, bind_arguments={"mapper": inspect(model)})
    return n
