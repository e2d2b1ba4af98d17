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
from support.models import db
from support.topologies import (
    Site,
    at_once,
    await_until,
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
    with group_replication(multi_primary=True) as group:
        group.nodes[0].execute("CREATE DATABASE fsb")
        yield group


@pytest.fixture
def multi_primary(equals: Group) -> Iterator[list[Site]]:
    """Return an application at each member of a group in which all take writes."""
    options = {"isolation_level": "READ COMMITTED"}
    with sites(*map(url_of, equals.nodes), **options) as apps:
        make_tables(url_of(equals.nodes[0]))
        for node in equals.nodes[1:]:
            node.await_all_of(equals.nodes[0])
        yield apps


def test_probe(equals, multi_primary):
    from collections import Counter
    one, two, _ = multi_primary
    for locks in False, True:
        equals.nodes[0].execute("UPDATE fsb.account SET value = 0")
        res = at_once(*(lambda app=app: app.increment(40, locks=locks) for app in multi_primary))
        import time; time.sleep(1)
        print("PROBE", locks, res, [Counter(a.codes) for a in multi_primary], [a.value for a in multi_primary])
        for a in multi_primary: a.codes.clear()
    one.record(*numbered(200))
    await_until(lambda: two.pending == 200, "")
    at_once(one.drain, two.drain)
    time.sleep(1)
    print("PROBE", sum(sent_by(one,two).values()), [Counter(a.codes) for a in multi_primary], [len(a.uncommitted) for a in multi_primary], sent_by(one, two) == once_each(numbered(200)) + sent_in_vain_by(one, two))


def test_the_default_level_is_refused_where_all_are_primaries(
    equals: Group, multi_primary: list[Site]
) -> None:
    """An application has to configure another level there."""
    with sites(url_of(equals.nodes[0])) as (site,):
        assert site.increment(1) == 0
        assert site.codes == ["3098"]
