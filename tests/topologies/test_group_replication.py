"""X1: a replication group of three MySQL servers."""

import threading
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from servers.topologies import Group, group_replication
from servers.topologies.nodes import ServerNode
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


class Address:
    """An address that leads to a node, and later perhaps to another one."""

    def __init__(self, node: ServerNode) -> None:
        self.node = node

    def lead(self, site: Site) -> None:
        """Have new connections of an application follow the address."""

        def connect(*event: Any) -> None:
            event[-1]["port"] = self.node.port

        site.do(lambda: sa.event.listen(db.engine, "do_connect", connect))


def url_of(node: ServerNode) -> sa.URL:
    return node.url().set(database="fsb")


@pytest.fixture(scope="module")
def whole_group() -> Iterator[Group]:
    with group_replication() as group:
        group.nodes[0].execute("CREATE DATABASE fsb")
        yield group


@pytest.fixture
def group(whole_group: Group) -> Group:
    """Return a group whose first member is the primary, with empty tables."""
    whole_group.restore()
    make_tables(url_of(whole_group.nodes[0]))
    return whole_group


def test_on_the_primary_nothing_is_sent_twice_and_no_update_is_lost(
    group: Group,
) -> None:
    """F4, A10."""
    with sites(*[url_of(group.nodes[0])] * 2) as (one, two):
        one.record(*numbered(300))

        at_once(one.flush, two.flush)
        at_once(lambda: one.increment(40), lambda: two.increment(40))

        assert sent_by(one, two) == once_each(numbered(300))
        assert one.codes == two.codes == []
        assert one.value == 80


def test_a_flusher_moves_on_after_a_switchover(
    group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    """F20: although the connection to the old primary stays open."""
    old, new, _ = group.nodes
    address = Address(old)
    with sites(url_of(old)) as (site,):
        address.lead(site)
        site.record(*numbered(50))
        number = site.ask("SELECT connection_id()")
        group.switch_to(new)
        old.await_until(lambda: not old.takes_writes(), "a secondary")
        address.node = new
        assert site.ask("SELECT connection_id()") == number
        caplog.clear()

        with pytest.raises(DBAPIError, match="1290"):
            site.flush()
        sent_by_then = [*site.broker.sent]
        site.flush()

        assert complaints(caplog.records) == ["Failed to flush Parcel."]
        assert sent_by_then == []
        assert sent_by(site) == once_each(numbered(50))


def test_a_flusher_moves_on_when_the_primary_is_killed(group: Group) -> None:
    """F20: what was committed is there, and what was under way is sent again."""
    address = Address(group.nodes[0])
    with sites(url_of(group.nodes[0])) as (site,):
        address.lead(site)
        site.record(*numbered(30))

        def kill(text: str) -> None:
            if text == "0015" and address.node is group.nodes[0]:
                group.nodes[0].kill()
                address.node = group.await_primary()

        site.broker.meanwhile = kill
        site.drain()

        assert sent_by(site) == once_each(numbered(30)) + sent_in_vain_by(site)
        assert [*sent_in_vain_by(site)] == ["0015", "0016", "0017"]


@pytest.fixture(scope="module")
def equals() -> Iterator[Group]:
    """Return a group whose members all take writes."""
    with group_replication(multi_primary=True) as group:
        group.nodes[0].execute("CREATE DATABASE fsb")
        yield group


@pytest.fixture
def level() -> str:
    """Return a level that such a group accepts."""
    return "READ COMMITTED"


@pytest.fixture
def apps(equals: Group, level: str) -> Iterator[list[Site]]:
    """Return an application at each member, and empty tables."""
    make_tables(url_of(equals.nodes[0]))
    for node in equals.nodes[1:]:
        node.await_all_of(equals.nodes[0])
    with sites(*map(url_of, equals.nodes), isolation_level=level) as apps:
        yield apps


both_levels = pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])


def test_many_primaries_refuse_the_default_level(
    equals: Group, apps: list[Site]
) -> None:
    """A10: an application has to configure another one, and is told so."""
    with sites(url_of(equals.nodes[0])) as (site,):
        successes = site.increment(1)

        assert successes == 0
        assert site.codes == ["3098"]
        assert site.value == 0


@both_levels
def test_many_primaries_lose_the_update_of_a_row_that_was_only_read(
    level: str, equals: Group, apps: list[Site]
) -> None:
    """A10: without an error, at each of the levels that they accept."""
    one, two, _ = apps

    @db.atomic
    def increment() -> None:
        account = Account.get_instance(1)
        assert account is not None
        # It needs a context of its own.
        assert at_once(lambda: two.increment(1)) == [1]
        equals.nodes[0].await_all_of(equals.nodes[1])
        account.value += 1

    one.do(increment)

    assert one.value == 1


@both_levels
def test_many_primaries_lose_no_update_of_a_row_that_is_locked(
    level: str, equals: Group, apps: list[Site]
) -> None:
    """A11: with 'lock_instance'; 3101, and 1180 with "error 149", are retried."""
    at_once(*(lambda app=app: app.increment(40, locks=True) for app in apps))
    equals.nodes[0].await_all_of(equals.nodes[1])
    equals.nodes[0].await_all_of(equals.nodes[2])

    assert [app.codes for app in apps] == [[], [], []]
    assert apps[0].value == 120


def test_flushers_on_one_of_many_primaries_send_each_signal_once(
    equals: Group, apps: list[Site]
) -> None:
    """F4: whichever member the signals are recorded on."""
    texts = [numbered(50, prefix=f"{i}-") for i in range(3)]
    for app, own in zip(apps, texts, strict=True):
        app.record(*own)
    equals.nodes[0].await_all_of(equals.nodes[1])
    equals.nodes[0].await_all_of(equals.nodes[2])
    with sites(url_of(equals.nodes[0])) as (second,):
        at_once(apps[0].flush, second.flush)

        assert sent_by(apps[0], second) == once_each(chain(*texts))


def test_flushers_on_two_of_many_primaries_repeat_what_could_not_be_committed(
    equals: Group, apps: list[Site]
) -> None:
    """F4: no member knows what is locked on another one, until the COMMIT."""
    one, two, _ = apps
    one.record(*numbered(30))
    equals.nodes[1].await_all_of(equals.nodes[0])
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
    assert set(one.codes + two.codes) <= {"1180", "3101"}
