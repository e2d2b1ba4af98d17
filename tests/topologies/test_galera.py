"""X1: a Galera cluster of three MariaDB servers."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain

import pytest
from sqlalchemy.exc import DBAPIError

from servers.topologies import Galera, galera
from support.models import Account, db
from support.topologies import (
    Site,
    at_once,
    complaints,
    make_tables,
    numbered,
    once_each,
    sent_by,
    sent_in_vain_by,
    sites,
)


@pytest.fixture(scope="module")
def whole_cluster() -> Iterator[Galera]:
    with galera() as cluster:
        cluster.nodes[0].execute("CREATE DATABASE fsb")
        yield cluster


@pytest.fixture
def cluster(whole_cluster: Galera) -> Galera:
    """Return a cluster with empty tables."""
    make_tables(whole_cluster.nodes[0].url().set(database="fsb"))
    whole_cluster.settle()
    return whole_cluster


@pytest.fixture
def apps(cluster: Galera) -> Iterator[list[Site]]:
    """Return an application at each node."""
    urls = [node.url().set(database="fsb") for node in cluster.nodes]
    with sites(*urls) as apps:
        yield apps


def test_flushers_on_one_node_send_each_signal_once(
    cluster: Galera, apps: list[Site]
) -> None:
    """F4: whichever node the signals are recorded on."""
    texts = [numbered(100, prefix=f"{i}-") for i in range(3)]
    with sites(cluster.nodes[0].url().set(database="fsb")) as (second,):
        first = apps[0]
        at_once(
            *(
                lambda app=app, own=own: record_each(app, own)
                for app, own in zip(apps, texts, strict=True)
            ),
            first.drain,
            second.drain,
        )
        cluster.settle()
        at_once(first.drain, second.drain)

        assert sent_by(first, second) == once_each(chain(*texts))
        assert first.codes == second.codes == []


def record_each(app: Site, texts: list[str]) -> None:
    for text in texts:
        app.record(text)


def test_flushers_on_two_nodes_repeat_what_could_not_be_committed(
    cluster: Galera, apps: list[Site]
) -> None:
    """F4: no node knows what is locked on another one, until the COMMIT."""
    one, two, _ = apps
    one.record(*numbered(30))
    cluster.settle()
    both_have_sent = threading.Barrier(2)

    def wait_for_the_other(site: Site, text: str) -> None:
        if site.broker.sent == ["0000", "0001"] and text == "0002":
            both_have_sent.wait(timeout=30)

    for site in (one, two):
        site.broker.meanwhile = partial(wait_for_the_other, site)
    at_once(one.drain, two.drain)

    repeated = sent_in_vain_by(one, two)
    assert {"0000", "0001", "0002"} <= set(repeated)
    assert sent_by(one, two) == once_each(numbered(30)) + repeated
    assert set(one.codes + two.codes) == {"1213"}


def test_no_update_is_lost_at_the_default_level(
    cluster: Galera, apps: list[Site]
) -> None:
    """A10: conflicts between nodes are reported by the COMMIT, and retried."""
    at_once(*(lambda app=app: app.increment(40) for app in apps))
    cluster.settle()

    assert [app.codes for app in apps] == [[], [], []]
    assert apps[0].value == 120


def test_the_death_of_another_node_is_not_noticed(
    cluster: Galera, apps: list[Site]
) -> None:
    app = apps[0]
    app.record(*numbered(30))
    cluster.nodes[2].end(signal.SIGKILL)
    try:
        app.drain()
    finally:
        cluster.join(cluster.nodes[2])

    assert sent_by(app) == once_each(numbered(30))


@contextmanager
def without_a_quorum(cluster: Galera) -> Iterator[None]:
    """Kill all nodes but the first, and bring them back."""
    survivor, *others = cluster.nodes
    for node in others:
        node.end(signal.SIGKILL)
    try:
        survivor.await_until(lambda: not survivor.is_in_majority, "without a quorum")
        yield
    finally:
        survivor.execute("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=true'")
        survivor.await_until(lambda: survivor.is_synced, "a cluster of its own")
        for node in others:
            cluster.join(node)


def test_a_node_without_a_quorum_is_one_error_and_goes_on_afterwards(
    cluster: Galera, apps: list[Site], caplog: pytest.LogCaptureFixture
) -> None:
    """F20: 1047 is not blamed on a signal."""
    app = apps[0]
    app.record(*numbered(30))
    with without_a_quorum(cluster):
        caplog.clear()
        # SQLAlchemy lets the driver's own error pass where it sets the level.
        with pytest.raises(Exception, match="1047"):
            app.flush()

    assert complaints(caplog.records) == ["Failed to flush Parcel."]
    assert app.broker.calls == []
    app.drain()
    assert sent_by(app) == once_each(numbered(30))


def test_a_burst_that_loses_the_quorum_is_one_error_and_is_sent_again(
    cluster: Galera, apps: list[Site], caplog: pytest.LogCaptureFixture
) -> None:
    """F20, F4: nothing is sent again at once, and nothing is lost."""
    app = apps[0]
    app.record(*numbered(30))
    with ExitStack() as outage:

        def lose_the_quorum(text: str) -> None:
            if text == "0015":
                outage.enter_context(without_a_quorum(cluster))

        app.broker.meanwhile = lose_the_quorum
        caplog.clear()
        with pytest.raises(DBAPIError, match=r"1047|1180"):
            app.flush()

    assert complaints(caplog.records) == ["Failed to flush Parcel."]
    assert app.broker.sent == numbered(18)
    app.broker.meanwhile = lambda text: None
    app.drain()
    assert app.broker.sent == numbered(18) + numbered(30)[15:]


def test_what_nodes_have_read_is_no_conflict_between_them(
    cluster: Galera, apps: list[Site]
) -> None:
    """A10: two blocks may each rely on what the other one is changing."""

    def claim(own: int, both_have_read: threading.Barrier) -> None:
        """Set a value to 1 if both are 0, as only one of two can."""
        reads: list[bool] = []

        @db.atomic
        def claim() -> None:
            values = {id: db.session.get_one(Account, id) for id in (1, 2)}
            is_free = not any(account.value for account in values.values())
            if not reads:
                reads.append(is_free)
                both_have_read.wait(timeout=30)
            if is_free:
                values[own].value = 1

        claim()

    sums: list[int] = []
    while 2 not in sums:
        assert len(sums) < 100, "Galera has got better; so has the documentation."
        cluster.nodes[0].execute("UPDATE fsb.account SET value = 0")
        cluster.settle()
        barrier = threading.Barrier(2)
        at_once(*(partial(apps[i].do, partial(claim, i + 1, barrier)) for i in (0, 1)))
        cluster.settle()
        sums.append(int(apps[0].ask("SELECT sum(value) FROM account")))

    assert set(sums) <= {1, 2}
