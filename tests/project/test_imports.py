"""What an application loads that only sends signals: neither the kit nor strangers."""

import subprocess
import sys

from support.models import db
from swpt_pythonlib.flask_signalbus.signalbus_cli import Bus

PACKAGE = "import swpt_pythonlib.flask_signalbus"

APPLICATION = """
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from swpt_pythonlib.flask_signalbus import AtomicProceduresMixin, SignalBusMixin

class Database(AtomicProceduresMixin, SignalBusMixin, SQLAlchemy):
    pass

db = Database()

class Greeting(db.Model):
    id = db.Column(db.Integer, primary_key=True)

    @classmethod
    def send_signalbus_message(cls, signal):
        pass

app = Flask("shop")
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
db.init_app(app)
run = app.test_cli_runner().invoke
assert run(args=["signalbus", "signals"]).stdout == "Greeting\\n"
assert run(args=["signalbus", "check"]).exit_code == 0
with app.app_context():
    db.create_all()
    db.session.add(Greeting())
    db.session.commit()
    assert db.signalbus.flushmany() == 1
    db.engine.dispose()
"""

#: What is only for tests, and the dialects of other databases, which take long to load.
UNWANTED = (
    "pytest",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.postgresql",
    "swpt_pythonlib.flask_signalbus.testing",
    "unittest.mock",
)


def unwanted_after(code: str) -> list[str]:
    """Return what a new process has loaded in vain when it has executed the code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "swpt_pythonlib.flask_signalbus" in loaded
    return [name for name in UNWANTED if name in loaded]


def test_the_package_loads_neither_the_kit_nor_a_dialect() -> None:
    assert unwanted_after(PACKAGE) == []


def test_an_application_loads_no_dialect_but_its_own() -> None:
    assert unwanted_after(APPLICATION) == []


def test_what_is_unwanted_would_be_noticed() -> None:
    """Or else the tests above prove nothing."""
    code = f"{PACKAGE}.testing, pytest"

    assert unwanted_after(code) == list(UNWANTED)


def test_the_bus_is_what_the_commands_need() -> None:
    """They cannot import its class, which imports them; the type checker compares."""
    bus: Bus = db.signalbus

    assert bus is db.signalbus
