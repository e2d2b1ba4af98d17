"""Sample values are what the database takes, for each type of its dialect."""

import sqlite3
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.types import TypeEngine

from conformance.applications import Database, signal_model
from swpt_pythonlib.flask_signalbus.testing import RecordingBroker, check_signal_model

#: What these types need to be made.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "ARRAY": (sa.Integer,),
    "ENUM": ("a", "b"),
    "SET": ("a", "b"),
    "NVARCHAR": (50,),
    "VARBINARY": (20,),
    "VARCHAR": (50,),
}

#: Types of extensions, and of versions of the servers that need not be there.
ELSEWHERE = {"HSTORE", "CITEXT", "DOMAIN", "INET4", "INET6", "VECTOR"}


def types_of(url: sa.URL) -> Iterator[tuple[str, TypeEngine[Any]]]:
    dialect = url.get_backend_name().replace("mariadb", "mysql")
    module = import_module(f"sqlalchemy.dialects.{dialect}")
    for name in sorted(set(module.__all__) - ELSEWHERE - lacking(url)):
        kind = getattr(module, name)
        if isinstance(kind, type) and issubclass(kind, TypeEngine) and name.isupper():
            arguments = ARGUMENTS.get(name, ())
            options = {"name": "kind"} if name == "ENUM" else {}
            yield name.lower(), kind(*arguments, **options)


def lacking(url: sa.URL) -> set[str]:
    """Return the types that the driver lacks, or its version."""
    lacking = set()
    if url.get_driver_name() == "psycopg2":
        lacking = {
            f"{n}MULTIRANGE" for n in ("INT4", "INT8", "NUM", "DATE", "TS", "TSTZ")
        }
    if url.get_backend_name() == "sqlite" and sqlite3.sqlite_version_info < (3, 45):
        lacking = {"JSONB"}
    return lacking


def test_every_type_of_the_dialect_has_a_sample(
    start: Callable[[SQLAlchemy], Flask],
    kit_broker: RecordingBroker,
    own_database_url: str,
) -> None:
    db = Database()
    types: dict[str, Any] = {
        f"a_{name}": sa.Column(kind, nullable=False)
        for name, kind in types_of(sa.make_url(own_database_url))
    }
    model = signal_model(db, **types)

    report = check_signal_model(model, start(db), broker=kit_broker)

    assert len(types) > 10
    assert report.failures == []
