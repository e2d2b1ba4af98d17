"""What has to be fetched for each server, as data."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

#: Libraries that the servers' packages depend on but that no server here needs: a
#: whole Perl, the code generator of a feature that's switched off, and the like.
_UNNEEDED = "perl|llvm|pam-modules|systemd-shared|c-l10n|.*-perl$"
_LIBRARIES = rf"lib(?!{_UNNEEDED})|zlib1g$"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The Debian packages that make up one thing, and how they're put to use.

    ``{root}`` stands for the folder into which the packages are unpacked.
    """

    name: str
    #: Debian's unstable release, instead of the one that the machine runs.
    unstable: bool = False
    packages: tuple[str, ...]
    #: Which of the packages that apt names are wanted, as a regular expression.
    wanted: str
    #: The folder of programs, as a pattern; it's what BINDIR would name.
    folder: str = "usr/bin"
    #: Programs that need the libraries that were fetched with them.
    wrapped: tuple[str, ...] = ()
    #: Options that programs need since they aren't where they were built for.
    options: Mapping[str, str] = field(default_factory=dict)
    #: Scripts that name the folder they were built for, and that folder.
    moved: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: Programs that are wanted in the folder of programs too.
    linked: tuple[str, ...] = field(default=(), repr=False)
    #: Programs that start themselves again, which find the fetched libraries by the
    #: environment, and what else is to be set in it.
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)


_SERVERS = (
    Recipe(
        name="postgresql",
        packages=("postgresql",),
        wanted=rf"{_LIBRARIES}|postgresql-\d+$",
        folder="usr/lib/postgresql/*/bin",
        wrapped=("initdb", "postgres"),
    ),
    Recipe(
        name="postgresql-newest",
        unstable=True,
        packages=("postgresql-18",),
        wanted=rf"{_LIBRARIES}|postgresql-18$",
        folder="usr/lib/postgresql/18/bin",
        wrapped=("initdb", "postgres"),
    ),
    Recipe(
        name="mysql",
        unstable=True,
        packages=("mysql-server-core",),
        wanted=rf"{_LIBRARIES}|mysql-server-core",
        folder="usr/sbin",
        wrapped=("mysqld",),
        options={"mysqld": "--lc-messages-dir={root}/usr/share/mysql"},
    ),
    Recipe(
        name="mariadb",
        packages=("mariadb-server-core", "mariadb-client-core"),
        wanted=rf"{_LIBRARIES}|mariadb-(server|client)-core$",
        folder="usr/sbin",
        wrapped=("mariadbd", "my_print_defaults", "resolveip"),
    ),
    Recipe(
        name="mariadb-newest",
        unstable=True,
        packages=("mariadb-server-core", "mariadb-client-core"),
        wanted=rf"{_LIBRARIES}|mariadb-(server|client)-core$",
        folder="usr/sbin",
        wrapped=("mariadbd", "my_print_defaults", "resolveip"),
    ),
)

#: What topologies need besides a server, or as a server.
_TOPOLOGIES = (
    Recipe(
        name="pgbouncer",
        packages=("pgbouncer",),
        wanted=rf"{_LIBRARIES}|pgbouncer$",
        folder="usr/sbin",
        wrapped=("pgbouncer",),
    ),
    Recipe(
        name="postgres-failover",
        packages=("postgresql", "postgresql-client"),
        wanted=rf"{_LIBRARIES}|postgresql-(client-)?\d+$",
        folder="usr/lib/postgresql/*/bin",
        wrapped=("initdb", "postgres", "pg_basebackup"),
    ),
    Recipe(
        name="galera",
        # A node that joins is sent a copy by a script, which asks lsof for ports.
        packages=("mariadb-server", "galera-4", "rsync", "lsof"),
        wanted=rf"{_LIBRARIES}|mariadb-(server|client)(-core)?$|(galera-4|rsync|lsof)$",
        folder="usr/sbin",
        wrapped=("mariadbd", "my_print_defaults", "resolveip", "rsync", "lsof"),
    ),
)

_BROKERS = (
    Recipe(
        name="rabbitmq",
        packages=("rabbitmq-server",),
        # No libraries: the machine's own apt, bash and Python need the same ones.
        wanted=r"erlang-|rabbitmq-server$",
        folder="usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
        moved={"usr/lib/erlang/bin/erl": "/usr/lib/erlang"},
        linked=("usr/lib/erlang/bin/erl", "usr/lib/erlang/bin/epmd"),
    ),
    Recipe(
        name="redis",
        packages=("redis-server",),
        wanted=rf"{_LIBRARIES}|lua-|redis-(server|tools)$",
        wrapped=("redis-server",),
    ),
    Recipe(
        name="nats",
        packages=("nats-server",),
        wanted=r"nats-server$",
        folder="usr/sbin",
    ),
)

#: What the pages of the documentation are looked at with.
_BROWSER = Recipe(
    name="chromium",
    packages=("chromium", "fonts-dejavu-core", "fontconfig-config"),
    # The C library has to fit the loader, which is the machine's.
    wanted=rf"(?!libc6$)({_LIBRARIES})|chromium(-common)?$|font",
    folder="usr/lib/chromium",
    settings={"chromium": "FONTCONFIG_SYSROOT={root}"},
)

#: What mysqlclient is built against and runs with.
MYSQLCLIENT_HEADERS = Recipe(
    name="mysqlclient-headers",
    packages=("libmariadb-dev", "libmariadb3"),
    wanted=r"libmariadb3$|libmariadb-dev$|libssl|libzstd|zlib1g",
)


def python_recipe(version: str) -> Recipe:
    """Return what has to be fetched for a Python that the machine's release lacks."""
    return Recipe(
        name=f"python{version}",
        unstable=True,
        packages=(f"python{version}",),
        wanted=rf"{_LIBRARIES}|python{re.escape(version)}",
        wrapped=(f"python{version}",),
    )


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (*_SERVERS, *_TOPOLOGIES, *_BROKERS, _BROWSER, MYSQLCLIENT_HEADERS)
}
