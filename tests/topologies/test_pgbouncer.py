"""X1: PgBouncer, in both modes, with both drivers."""

from collections.abc import Iterator
from typing import Any

import pytest

from servers.topologies import PgBouncer, pgbouncer
from support.models import Parcel, db
from support.topologies import (
    at_once,
    make_tables,
    numbered,
    once_each,
    sent_by,
    sent_in_vain_by,
    sites,
)

#: PgBouncer does not know the statements that psycopg prepares by default.
OPTIONS: dict[str, dict[str, Any]] = {
    "psycopg2": {},
    "psycopg": {"connect_args": {"prepare_threshold": None}},
}
STARTUP_LEVEL = "-c default_transaction_isolation=serializable"

both_drivers = pytest.mark.parametrize("driver", OPTIONS)


@pytest.fixture(scope="module")
def pooler() -> Iterator[PgBouncer]:
    with pgbouncer() as pooler:
        yield pooler


@pytest.fixture(params=["transaction", "session"])
def mode(request: pytest.FixtureRequest, pooler: PgBouncer) -> str:
    """Return the mode in which the pooler runs, with empty tables behind it."""
    mode: str = request.param
    pooler.start(mode, pool_size=3)
    make_tables(pooler.server.url())
    return mode


@pytest.fixture
def transaction_mode(pooler: PgBouncer) -> None:
    pooler.start("transaction", pool_size=3)
    make_tables(pooler.server.url())


def direct(pooler: PgBouncer) -> Any:
    """Return an application that passes the pooler by."""
    return sites(pooler.server.url())


@both_drivers
def test_two_flushers_send_each_signal_once(
    mode: str, driver: str, pooler: PgBouncer
) -> None:
    texts = numbered(300)
    with sites(*[pooler.url(driver)] * 2, **OPTIONS[driver]) as (one, two):
        one.record(*texts)

        sent = at_once(one.flush, two.flush)

        assert sent_by(one, two) == once_each(texts)
        assert sum(sent) == 300
        assert one.pending == 0


@both_drivers
def test_no_update_is_lost(mode: str, driver: str, pooler: PgBouncer) -> None:
    """A10."""
    with sites(*[pooler.url(driver)] * 2, **OPTIONS[driver]) as (one, two):
        at_once(lambda: one.increment(100), lambda: two.increment(100))

        assert one.codes == two.codes == []
        assert one.value == 200


@both_drivers
def test_no_level_leaks_into_other_transactions(
    mode: str, driver: str, pooler: PgBouncer
) -> None:
    """F5: though they get the same connections of the server."""
    levels: dict[str, set[str]] = {"sender": set(), "block": set(), "other": set()}
    look = "SELECT current_setting('transaction_isolation')"

    def note(who: str) -> None:
        levels[who].add(db.session.connection().exec_driver_sql(look).scalar_one())

    with (
        sites(pooler.url(driver), **OPTIONS[driver]) as (site,),
        sites(pooler.url(driver), isolation_level="READ COMMITTED") as (other,),
    ):
        site.broker.meanwhile = lambda text: note("sender")
        for text in numbered(20):
            site.record(text)
            site.do(lambda: db.execute_atomic(lambda: note("block")))
            site.flush()
            levels["other"].add(other.ask(look))

    assert levels == {
        "sender": {"read committed"},
        "block": {"repeatable read"},
        "other": {"read committed"},
    }


def test_what_psycopg_prepares_by_default_fails(
    transaction_mode: None, pooler: PgBouncer
) -> None:
    """'prepare_threshold': None is needed; a block that fails without it says so."""
    with sites(*[pooler.url("psycopg")] * 2) as (one, two):
        successes = at_once(lambda: one.increment(100), lambda: two.increment(100))
        value = pooler.server.ask("SELECT value FROM account WHERE id = 1")

        # It is not there, one of its name is there already, or one of its name, but
        # with other parameters, is executed.
        assert set(one.codes + two.codes) <= {"26000", "42P05", "08P01"}
        assert one.codes + two.codes != []
        assert int(value) == sum(successes)


def test_flushes_prepare_nothing(transaction_mode: None, pooler: PgBouncer) -> None:
    """F13: so that a flusher is right even with the defaults of psycopg."""
    texts = numbered(300)
    with direct(pooler) as (recorder,):
        recorder.record(*texts)

    with sites(*[pooler.url("psycopg")] * 2) as (one, two):
        at_once(one.flush, two.flush)

        assert sent_by(one, two) == once_each(texts)


@both_drivers
@pytest.mark.parametrize("is_pooled", [True, False], ids=["pooled", "direct"])
def test_a_level_that_is_dropped_is_found(
    is_pooled: bool, driver: str, transaction_mode: None, pooler: PgBouncer
) -> None:
    """The level is asked for by an option of the connection, which PgBouncer drops."""
    options = OPTIONS[driver].get("connect_args", {}) | {"options": STARTUP_LEVEL}
    url = pooler.url(driver) if is_pooled else pooler.server.url(driver)
    with sites(url, connect_args=options) as (site,):
        command = ["signalbus", "check", "--database", Parcel.__name__]
        result = site.app.test_cli_runner().invoke(args=command)

    assert ("check_isolation_level_arrives" in result.output) == is_pooled
    assert ("drops the options of connections" in result.output) == is_pooled


@both_drivers
def test_a_worker_survives_the_restart_of_the_pooler(
    mode: str, driver: str, pooler: PgBouncer
) -> None:
    """F20: a burst that was on its way is sent again, and nothing is lost."""
    texts = numbered(30)

    def restart(text: str) -> None:
        if site.broker.sent.count("0015") == 0 and text == "0015":
            pooler.start(mode, pool_size=3)

    with sites(pooler.url(driver), **OPTIONS[driver]) as (site,):
        site.record(*texts)
        site.broker.meanwhile = restart

        site.drain()

        assert sent_by(site) == once_each(texts) + sent_in_vain_by(site)
        assert [*sent_in_vain_by(site)] == ["0015", "0016", "0017"]
