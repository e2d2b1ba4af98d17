"""Applications that look at a topology, each from its own address.

They all live in the process of the test: each has an engine of its own, which is all
that servers see of it. What is done at once is done in threads.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import DBAPIError

from support.broker import Broker
from support.models import Account, Parcel, db
from swpt_pythonlib.flask_signalbus import RetryPolicy, SignalBus
from swpt_pythonlib.flask_signalbus.utils import get_db_error_code

T = TypeVar("T")

#: Nothing that goes well takes so many seconds.
PATIENCE = 60.0

_TABLES = [db.metadata.tables["parcel"], db.metadata.tables["account"]]


class Site:
    """An application at one address of a topology."""

    def __init__(self, url: sa.URL | str, **engine_options: Any) -> None:
        self.broker = Broker()
        #: The codes of the errors that blocks and passes have raised.
        self.codes: list[str] = []
        #: The bursts that were sent in vain, since their COMMIT failed.
        self.uncommitted: list[list[str]] = []
        self.app = Flask("site")
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        self.app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options
        self.app.config["SIGNALBUS_RETRY_POLICY"] = RetryPolicy(
            attempts=500, first_pause=0.005, longest_pause=0.1
        )
        self.app.extensions["broker"] = self.broker
        db.init_app(self.app)

    def do(self, work: Callable[[], T]) -> T:
        """Work in a context of the application, as a request does."""
        with self.app.app_context():
            return work()

    def flush(self) -> int:
        """Make a pass over the parcels."""
        bus: SignalBus = self.app.extensions["signalbus"]
        return self.do(lambda: bus.flushmany([Parcel]))

    def flush_until(self, is_over: Callable[[], bool]) -> None:
        """Make passes, as a worker does that repeats them; note the failures."""
        deadline = time.monotonic() + PATIENCE
        while not is_over():
            assert time.monotonic() < deadline, f"It goes on and on: {self.codes}"
            calls = len(self.broker.calls)
            try:
                self.flush()
            except DBAPIError as error:
                self.codes.append(get_db_error_code(error.orig or error))
                # A statement names itself; neither a COMMIT nor a connection does.
                if error.statement is None and len(self.broker.calls) > calls:
                    self.uncommitted.append(self.broker.calls[-1])
                time.sleep(0.01)

    def drain(self) -> None:
        """Make passes until nothing is pending."""
        self.flush_until(lambda: not self.pending)

    def record(self, *texts: str) -> None:
        """Record parcels in one transaction."""

        def record() -> None:
            db.session.add_all(Parcel(text=text) for text in texts)
            db.session.commit()

        self.do(record)

    def increment(self, times: int, *, locks: bool = False) -> int:
        """Increment the account in blocks; return how many of them succeeded."""

        @db.atomic
        def increment() -> None:
            account = (Account.lock_instance if locks else Account.get_instance)(1)
            assert account is not None
            account.value += 1

        def increment_all() -> int:
            successes = 0
            for _ in range(times):
                try:
                    increment()
                    successes += 1
                except DBAPIError as error:
                    self.codes.append(get_db_error_code(error.orig or error))
            return successes

        return self.do(increment_all)

    def ask(self, query: str) -> Any:
        """Return the one value that a query answers, outside of any transaction."""

        def ask() -> Any:
            engine = db.engine.execution_options(isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                return connection.exec_driver_sql(query).scalar()

        return self.do(ask)

    @property
    def value(self) -> int:
        """The value of the account."""
        return int(self.ask("SELECT value FROM account WHERE id = 1"))

    @property
    def pending(self) -> int:
        """How many parcels there are."""
        return int(self.ask("SELECT count(*) FROM parcel"))

    def close(self) -> None:
        """Close the connections."""
        self.do(lambda: db.engine.dispose())


@contextmanager
def sites(*urls: sa.URL | str, **engine_options: Any) -> Iterator[list[Site]]:
    """Make an application at each of some addresses."""
    found = [Site(url, **engine_options) for url in urls]
    try:
        yield found
    finally:
        for site in found:
            site.close()


def make_tables(url: sa.URL | str) -> None:
    """Make the tables anew, with nothing in them but two accounts of value 0."""
    # The strictest of these servers want no other level when tables are made.
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        db.metadata.drop_all(connection, _TABLES)
        db.metadata.create_all(connection, _TABLES)
        connection.execute(sa.insert(Account), [{"id": 1}, {"id": 2}])


def at_once(*works: Callable[[], T]) -> list[T]:
    """Do several things at once, each in a thread; return what they return."""
    with ThreadPoolExecutor(len(works)) as threads:
        return [future.result(PATIENCE) for future in [*map(threads.submit, works)]]


def await_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for what a topology does by itself."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"Not even now: {what}."
        time.sleep(0.02)


def numbered(count: int, prefix: str = "") -> list[str]:
    """Return different texts."""
    return [f"{prefix}{i:04}" for i in range(count)]


def sent_by(*sites: Site) -> Counter[str]:
    """Return how often each text was sent."""
    return Counter(text for site in sites for text in site.broker.sent)


def sent_in_vain_by(*sites: Site) -> Counter[str]:
    """Return how often each text was sent in a burst that could not be committed."""
    return Counter(
        text for site in sites for burst in site.uncommitted for text in burst
    )


def once_each(texts: Iterable[str]) -> Counter[str]:
    """Return the counts if each text was sent once."""
    return Counter(dict.fromkeys(texts, 1))


def complaints(records: Iterable[logging.LogRecord]) -> list[str]:
    """Return what the library has logged as wrong."""
    return [
        record.getMessage()
        for record in records
        if record.levelno >= logging.WARNING and record.name.startswith("swpt")
    ]
