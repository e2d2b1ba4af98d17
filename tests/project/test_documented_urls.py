"""Each URL in the documentation leads to a database, with what an extra installs."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from swpt_pythonlib.flask_signalbus import SignalBusMixin

ROOT = Path(__file__).parents[2]
URL = re.compile(r"\b(?:sqlite|postgresql|mysql|mariadb)(?:\+\w+)?://[^\s\"'`)]*")


class Database(SignalBusMixin, SQLAlchemy):
    pass


def documented_urls() -> Iterator[sa.URL]:
    pages = [ROOT / "README.rst", *(ROOT / "docs").glob("*.rst")]
    for page in (*pages, *(ROOT / "examples").glob("**/*.rst")):
        yield from map(sa.make_url, URL.findall(page.read_text(encoding="utf-8")))


def test_each_documented_url_of_this_database_leads_to_it(
    dialect_name: str, new_database: Callable[[], str]
) -> None:
    drivers = {
        url.drivername
        for url in documented_urls()
        if url.get_backend_name() == dialect_name
    }

    for driver in drivers:
        app = Flask("shop")
        url = sa.make_url(new_database()).set(drivername=driver)
        app.config["SQLALCHEMY_DATABASE_URI"] = url
        db = Database(app)
        with app.app_context():
            assert db.session.scalar(sa.text("SELECT 1")) == 1
            assert db.signalbus.flushmany() == 0
            db.session.remove()
            db.engine.dispose()

    assert drivers


@pytest.mark.once
def test_the_plain_url_is_among_them() -> None:
    """It is what tutorials show, and means another driver to each SQLAlchemy."""
    drivers = {url.drivername for url in documented_urls()}

    assert {"postgresql", "postgresql+psycopg", "mysql+pymysql"} <= drivers
