"""Which server a run talks to: the first of a URL, installed and fetched programs."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from servers import private
from servers.databases import ask
from servers.errors import ServerUnavailable
from servers.installations import Installation, installation_in, installed
from servers.kinds import DRIVERS, KINDS, Kind, Software, kind_named, recognise
from servers.provision import Say, programs_folder, provision
from servers.recipes import RECIPES

#: ``always`` leaves out what is installed, ``never`` what would be downloaded.
PROVISION_VARIABLE = "SIGNALBUS_TEST_PROVISION"
DRIVER_VARIABLE = "SIGNALBUS_TEST_DRIVER"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that was asked what it is, and how it came to be used."""

    dialect: str
    url: sa.URL
    version: str
    origin: str

    @property
    def driver(self) -> str:
        """The name of the driver in the URL."""
        return self.url.get_driver_name()


@contextmanager
def private_server(name: str, driver: str | None = None) -> Iterator[str]:
    """Run a private server of a kind, as ``postgresql``; yield its URL.

    Programs that aren't installed are fetched. The server is gone afterwards.
    """
    with started(kind_named(name), os.environ, print, driver=driver) as server:
        yield server.url.render_as_string(hide_password=False)


@contextmanager
def server_for(
    asked: str, environ: Mapping[str, str], say: Say, *, keep: bool = False
) -> Iterator[Server]:
    """Find or start the server for what was asked: the name of a kind, or a URL.

    :raises ServerUnavailable: If there is none; the text says what to do.
    """
    if "://" in asked:
        kind, given = _kind_of(asked), asked
        origin = "the URL that was asked for"
    else:
        kind = kind_named(asked)
        given = environ.get(f"{kind.variable}_URL", "")
        origin = f"server of {kind.variable}_URL"

    if given:
        yield checked(kind, sa.make_url(given), environ.get(DRIVER_VARIABLE), origin)
        return

    driver = environ.get(DRIVER_VARIABLE)
    with started(kind, environ, say, driver=driver, keep=keep) as server:
        yield server


@contextmanager
def started(
    kind: Kind,
    environ: Mapping[str, str],
    say: Say,
    *,
    driver: str | None = None,
    keep: bool = False,
) -> Iterator[Server]:
    """Start a private server."""
    driver = _driver_for(kind, driver)
    programs = installation_for(kind, environ, say)
    with private.running(kind, programs, driver=driver, keep=keep) as url:
        yield checked(kind, url, driver, "private server")


def installation_for(
    kind: Software, environ: Mapping[str, str], say: Say
) -> Installation:
    """Return the programs of a kind of server; fetch them if they're missing."""
    provisioning = environ.get(PROVISION_VARIABLE, "needed")
    reasons: tuple[str, ...] = ()
    if provisioning != "always":
        search = installed(kind, environ)
        if search.found is not None:
            return search.found
        reasons = search.rejected

    if provisioning == "never":
        raise _unavailable(kind, reasons, f"{PROVISION_VARIABLE} is 'never'.")
    recipe = RECIPES[kind.name]
    try:
        root = provision(recipe, environ, say)
    except ServerUnavailable as error:
        raise _unavailable(kind, reasons, str(error)) from error

    return installation_in(kind, programs_folder(recipe, root))


def _unavailable(
    kind: Software, reasons: tuple[str, ...], last_resort: str
) -> ServerUnavailable:
    looked = "".join(f"\n    {reason};" for reason in reasons)
    url = f", or {kind.variable}_URL to {kind.url_is_of}" if kind.url_is_of else ""
    return ServerUnavailable(
        f"{kind.name} was asked for, but cannot be run here. {last_resort}\n"
        f"Looked for {' and '.join(kind.programs)}:{looked}\n"
        f"Install them, or set {kind.variable}_BINDIR to their folder{url}."
    )


def _kind_of(url: str) -> Kind:
    name = sa.make_url(url).get_backend_name()
    if name not in KINDS:
        raise ServerUnavailable(
            f"The URL of a {name!r} database can't be tested. "
            f"Known databases: {', '.join(['sqlite', *DRIVERS])}."
        )

    return KINDS[name]


def _driver_for(kind: Kind, driver: str | None) -> str:
    known = DRIVERS[kind.dialect]
    if driver is not None and driver not in known:
        raise ServerUnavailable(
            f"{DRIVER_VARIABLE} is {driver!r}, which {kind.name} has no use for. "
            f"Known drivers: {', '.join(known)}."
        )

    return driver or known[0]


def checked(kind: Kind, url: sa.URL, driver: str | None, origin: str) -> Server:
    """Ask a server what it is.

    :raises ServerUnavailable: If it's dead, or another kind of server.
    """
    # Without a driver in the URL, SQLAlchemy would name its own favourite.
    if driver is None and "+" in url.drivername:
        driver = url.get_driver_name()
    url = url.set(
        drivername=f"{kind.dialect}+{_driver_for(kind, driver)}",
        database=url.database or kind.maintenance_database,
    )
    try:
        told = ask(url, "SELECT version()")
    except sa.exc.DBAPIError as error:
        raise ServerUnavailable(
            f"The {kind.name} server at {url} ({origin}) does not answer: {error.orig}"
        ) from error

    version = kind.version_in(told)
    if version is None:
        raise ServerUnavailable(
            f"A {kind.name} server was asked for, but the one at {url} ({origin}) is "
            f"{recognise(told)}."
        )
    return Server(dialect=kind.dialect, url=url, version=version, origin=origin)
