"""The ``flask signalbus`` commands: arguments in, echo out."""

from __future__ import annotations

import json
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

from ._bells import bell_for
from ._inspection import judge_table
from ._models import Model, choose
from ._pending import PendingSignals, count_pending
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
@click.argument("signal_names", nargs=-1)
@click.option(
    "--oldest", "asks_for_age", is_flag=True, help="Show the age of the oldest ones."
)
@click.option(
    "--max-count",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop counting at N, for each type.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print all of it, for another program."
)
@with_appcontext
def pending(
    signal_names: tuple[str, ...],
    asks_for_age: bool,
    max_count: int | None,
    as_json: bool,
) -> None:
    """Show how many signals of each type are pending.

    Shows those of the types SIGNAL_NAMES, or all if no names are given. Exits with
    status 1 if a name does not exist.
    """
    models = _models(signal_names)
    session = current_app.extensions["sqlalchemy"].session
    found = [
        count_pending(
            model, session, max_count=max_count, asks_for_age=asks_for_age or as_json
        )
        for model in models
    ]
    if as_json:
        click.echo(json.dumps(list(map(_facts, found)), indent=2))
    else:
        _show(found, max_count)

    names = {model.__name__ for model in models}
    sys.exit(0 if names.issuperset(signal_names) else 1)


def _facts(pending: PendingSignals) -> dict[str, Any]:
    age = pending.oldest_age
    return {
        "model": pending.model.__name__,
        "module": pending.model.__module__,
        "count": pending.count,
        "oldest_seconds": None if age is None else age.total_seconds(),
    }


def _show(found: Iterable[PendingSignals], max_count: int | None) -> None:
    shown = sorted(
        (pending for pending in found if pending.count),
        key=lambda pending: (pending.count, pending.model.__name__),
    )
    width = max((len(str(pending.count)) for pending in shown), default=1)
    for pending in shown:
        # A count that was stopped is no more than a lower bound.
        more = "+" if pending.count == max_count else ""
        click.echo(f"{pending.count:>{width}}{more} {_description(pending)}")

    more = "+" if any(pending.count == max_count for pending in shown) else ""
    click.echo("-" * 25)
    click.echo(f"Total pending: {sum(pending.count for pending in shown)}{more}")


def _description(pending: PendingSignals) -> str:
    text, age = f'of type "{pending.model.__name__}"', pending.oldest_age
    return text if age is None else f"{text}, oldest {age.total_seconds():.0f} s"


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
