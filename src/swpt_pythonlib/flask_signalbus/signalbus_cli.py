"""The ``flask signalbus`` commands: arguments in, echo out."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from ._bells import bell_for
from ._hooks import burst_sent
from ._inspection import judge_table
from ._logs import logger
from ._models import Model, choose, misspelt_senders_of
from ._pending import PendingSignals, count_pending
from ._reports import Result, judge, summary
from ._stopping import Stop
from ._tallies import Tally
from ._worker import Flusher, Pace, Worker


class Bus(Protocol):
    """What the commands need of the signal bus, which is built on top of them."""

    def get_signal_models(self) -> list[Model]:
        """Return all signal models, sorted by name."""

    def _flush(self, models: Iterable[Model] | None, tally: Tally) -> None:
        """Send the pending signals, and note what has become of them."""


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
@click.option(
    "--max-pause",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="SECONDS",
    default=60.0,
    show_default=True,
    callback=_check_finite,
    help="With --repeat: to this, pauses grow while nothing can be sent.",
)
@click.option(
    "--liveness-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file to touch at each burst, and after each flush.",
)
@click.option(
    "--quiet", is_flag=True, help="Show no progress bar, not even on a terminal."
)
@with_appcontext
def flushmany(
    signal_names: tuple[str, ...],
    repeat: float | None,
    max_pause: float,
    liveness_file: Path | None,
    quiet: bool,
) -> None:
    """Send the pending signals over the message bus.

    Sends those of the types SIGNAL_NAMES, or all if no names are given. Exits
    with status 1 if something could not be sent, unless it repeats, or if one of the
    names does not exist. SIGTERM and SIGINT end it after the burst in hand, and at
    once if they are repeated.
    """
    models = _models(signal_names)
    if repeat is not None and not models:
        raise click.ClickException("There is nothing to flush.")

    logger.info("Started flushing %s.", ", ".join(model.__name__ for model in models))
    stop = Stop()
    flusher = Flusher(
        _app(),
        lambda tally: _bus()._flush(models, tally),
        stop=stop.event,
        liveness_file=liveness_file,
    )
    with stop.on_signals():
        if repeat is not None:
            pace = Pace(repeat=repeat, max_pause=max_pause)
            db = current_app.extensions["sqlalchemy"]
            # Before the first flush, or what is recorded meanwhile would not be heard.
            with closing(bell_for(db, models)) as bell:
                Worker(flusher, pace=pace, bell=bell).run()
            return

        with _progress(models, is_shown=not quiet and sys.stderr.isatty()):
            tally = flusher.flush()

    is_good = tally.first_error is None and _are_known(signal_names, models)
    sys.exit(stop.status or (0 if is_good else 1))


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
    judge_model = _judge_with_table if looks_at_database else _judge
    results = [result for model in models for result in judge_model(model)]
    for result in results:
        if result.reason and result.outcome != "skipped":
            click.echo(result.reason)

    click.echo(summary(results))
    failures = [result for result in results if result.outcome == "failed"]
    is_complete = bool(models) and _are_known(signal_names, models)
    sys.exit(0 if is_complete and not failures and not _misspelt() else 1)


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

    sys.exit(0 if _are_known(signal_names, models) else 1)


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
        logger.warning(
            "There are no signal models; import their modules first. A signal model is"
            " a model with a class method 'send_signalbus_message'."
        )
    for name in _misspelt():
        logger.warning(
            "'%s' is not a sender, so that its model sends nothing. The name of a"
            " sender is 'send_signalbus_message'.",
            name,
        )

    return choose(known, names)


def _misspelt() -> list[str]:
    return misspelt_senders_of(current_app.extensions["sqlalchemy"])


def _bus() -> Bus:
    bus: Bus = current_app.extensions["signalbus"]
    return bus


def _app() -> Flask:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


def _are_known(names: tuple[str, ...], models: list[Model]) -> bool:
    return {model.__name__ for model in models}.issuperset(names)


@contextmanager
def _progress(models: list[Model], *, is_shown: bool) -> Iterator[None]:
    """Show on a terminal how much of what is pending now has been sent."""
    if not is_shown:
        yield
        return

    sent, started = 0, time.monotonic()

    def advance(_: Flask, *, count: int, **__: object) -> None:
        nonlocal sent
        sent += count
        bar.update(count, f"{sent / (time.monotonic() - started):.0f}/s")

    with (
        click.progressbar(
            length=_total(models),
            label="Flushing",
            show_pos=True,
            item_show_func=lambda rate: rate,
            file=sys.stderr,
        ) as bar,
        burst_sent.connected_to(advance, sender=_app()),
    ):
        yield


def _total(models: list[Model]) -> int:
    # If the database is to blame, the flush will tell.
    with _app().app_context(), suppress(SQLAlchemyError):
        session = current_app.extensions["sqlalchemy"].session
        return sum(count_pending(model, session).count for model in models)

    return 0


def _judge(model: Model) -> Iterator[Result]:
    return judge(model, _bus().get_signal_models)


def _judge_with_table(model: Model) -> Iterator[Result]:
    yield from _judge(model)
    app = _app()
    # Its session is a new one, so what is rolled back there is nobody's work.
    with app.app_context():
        yield from judge_table(model, app.extensions["sqlalchemy"].session)
