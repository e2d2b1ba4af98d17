"""X1: a PostgreSQL primary with a standby, and its failover."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from servers.topologies import Pair, primary_and_standby
from support.topologies import (
    PATIENCE,
    Site,
    await_until,
    complaints,
    make_tables,
    numbered,
    once_each,
    sent_by,
    sites,
)

both_drivers = pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])


@pytest.fixture
def pair() -> Iterator[Pair]:
    with primary_and_standby(synchronous=False) as pair:
        make_tables(pair.primary.url())
        pair.await_standby()
        yield pair


@pytest.fixture
def synchronous_pair() -> Iterator[Pair]:
    with primary_and_standby(synchronous=True) as pair:
        make_tables(pair.primary.url())
        yield pair


@contextmanager
def worker(site: Site) -> Iterator[None]:
    """Make passes in the background, one after the other."""
    is_over = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(site.flush_until, is_over.is_set)
        try:
            yield
        finally:
            is_over.set()
        done.result(PATIENCE)


def test_a_flush_on_a_standby_is_one_error(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """F20: nothing is sent, and no signal is blamed."""
    with sites(pair.primary.url(), pair.standby.url()) as (primary, standby):
        primary.record(*numbered(50))
        pair.await_standby()

        with pytest.raises(DBAPIError, match="read-only transaction"):
            standby.flush()

        assert complaints(caplog.records) == ["Failed to flush Parcel."]
        assert standby.broker.calls == []
        assert standby.pending == 50


@both_drivers
def test_a_worker_moves_over_to_the_standby_that_is_promoted(
    driver: str, pair: Pair
) -> None:
    """F20: by the hosts in its URL, with 'target_session_attrs=read-write'."""
    with sites(*[pair.url(driver)] * 2) as (site, recorder), worker(site):
        recorder.record("before")
        await_until(lambda: not recorder.pending, "it is sent, and deleted")
        pair.await_standby()

        pair.primary.kill()
        pair.promote()

        # What the pool still holds leads to the dead server.
        recorder.close()
        recorder.record("after")
        await_until(lambda: site.broker.sent == ["before", "after"], "it is sent")


def test_an_asynchronous_standby_lacks_what_was_not_sent_to_it(pair: Pair) -> None:
    """Signals are lost with the data that they belong to, though it was committed."""
    with sites(pair.url("psycopg2")) as (site,):
        site.record("replicated")
        pair.await_standby()
        pair.standby.kill()
        site.record("acknowledged")

        pair.primary.kill()
        pair.standby.start()
        pair.promote()
        site.close()
        site.drain()

        assert site.broker.sent == ["replicated"]


def test_an_asynchronous_standby_sends_again_what_it_does_not_know_as_sent(
    pair: Pair,
) -> None:
    with sites(pair.url("psycopg2")) as (site,):
        site.record(*numbered(3))
        pair.await_standby()
        pair.standby.kill()
        site.flush()

        pair.primary.kill()
        pair.standby.start()
        pair.promote()
        site.close()
        site.drain()

        assert site.broker.sent == numbered(3) * 2


def test_a_synchronous_standby_loses_nothing(synchronous_pair: Pair) -> None:
    """F4: each COMMIT that was acknowledged is there, and each deletion too."""
    pair = synchronous_pair
    acknowledged: list[str] = []

    def record_until_it_fails() -> None:
        for text in numbered(100_000):
            recorder.record(text)
            acknowledged.append(text)

    with (
        sites(*[pair.url("psycopg2")] * 2) as (site, recorder),
        ThreadPoolExecutor(1) as thread,
        worker(site),
    ):
        recording = thread.submit(record_until_it_fails)
        await_until(lambda: len(acknowledged) > 30, "signals are recorded")
        pair.primary.kill()
        with pytest.raises(DBAPIError):
            recording.result(PATIENCE)

        pair.promote()
        await_until(lambda: set(acknowledged) <= set(site.broker.sent), "all are sent")

    # The one that was under way may have been committed, and none is made up.
    assert set(site.broker.sent) <= {
        *acknowledged,
        numbered(100_000)[len(acknowledged)],
    }
    repeated = sent_by(site) - once_each(site.broker.sent)
    assert sum(repeated.values()) <= 3  # one burst


@both_drivers
def test_a_demoted_server_is_left_by_the_next_pass(
    driver: str, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """F20: although the connection to it stays open."""
    with sites(pair.url(driver)) as (site,):
        site.record(*numbered(50))
        pair.await_standby()
        number = site.ask("SELECT pg_backend_pid()")
        pair.promote()
        pair.primary.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        pair.primary.ask("SELECT pg_reload_conf()")
        await_until(lambda: is_read_only(site), "the server is demoted")
        assert site.ask("SELECT pg_backend_pid()") == number
        caplog.clear()

        with pytest.raises(DBAPIError, match="read-only transaction"):
            site.flush()
        sent_by_then = [*site.broker.sent]
        sent = site.flush()

        assert complaints(caplog.records) == ["Failed to flush Parcel."]
        assert sent_by_then == []
        assert sent == 50
        assert sent_by(site) == once_each(numbered(50))


def is_read_only(site: Site) -> Any:
    return site.ask("SHOW default_transaction_read_only") == "on"


def test_a_check_tells_a_standby(pair: Pair) -> None:
    """F20: 'flask signalbus check --database' tells a standby from a primary."""
    with sites(pair.standby.url()) as (standby,):
        command = ["signalbus", "check", "--database", "Parcel"]
        result = standby.app.test_cli_runner().invoke(args=command)

    assert "check_server_is_writable" in result.output
    assert "it is a standby" in result.output
