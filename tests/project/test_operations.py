"""The page on operations names tests that there are, and options that there are."""

import re
import textwrap
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from swpt_pythonlib.flask_signalbus.signalbus_cli import flushmany

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"


@pytest.mark.once
def test_each_guarantee_names_tests_that_exist() -> None:
    page = (DOCS / "operations.rst").read_text(encoding="utf-8")
    known = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.M)
    }

    rows = re.findall(r"^    \* - (.+)\n      - yes\n      - (.+)$", page, re.M)
    named = [re.findall(r"``(test_\w+)``", proof) for _, proof in rows]

    assert len(rows) == page.count("      - yes\n") >= 10
    assert all(named)
    assert [name for names in named for name in names if name not in known] == []


@pytest.mark.once
def test_each_option_of_the_command_is_documented() -> None:
    page = (DOCS / "cli.rst").read_text(encoding="utf-8")
    documented = " ".join(re.findall(r"^\.\. option:: (.*)$", page, re.M))

    options = [
        name
        for parameter in flushmany.params
        for name in parameter.opts
        if name.startswith("-")
    ]

    assert [name for name in options if name not in documented] == []


def documented_connect_args() -> list[dict[str, int]]:
    page = (DOCS / "operations.rst").read_text(encoding="utf-8")
    found = []
    for code in re.findall(r"^    connect_args = (\{.*?\})$", page, re.M | re.S):
        found.append(eval(textwrap.dedent(code)))
    return found


def test_the_timeouts_that_are_documented_exist(
    database_url: str, dialect_name: str
) -> None:
    for_postgresql, for_mysql = documented_connect_args()
    driver = create_engine(database_url).dialect.driver
    if dialect_name == "sqlite" or driver == "mysqldb":
        for_this = {}
    else:
        for_this = for_postgresql if dialect_name == "postgresql" else for_mysql

    engine = create_engine(database_url, connect_args=for_this)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    engine.dispose()
