"""What 'flask signalbus check --database' finds in the database, and in no class."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event

from support import capabilities
from support.own_models import OwnModel, model_of
from support.signatures import DBFactory
from swpt_pythonlib.flask_signalbus import SignalBusMixin
from swpt_pythonlib.flask_signalbus._inspection import DATABASE_RULES, judge_table

ALL = {rule.name: "" for rule in DATABASE_RULES}
COLUMNS = "a VARCHAR(9) NOT NULL, b INTEGER NOT NULL, text VARCHAR(9)"


class Database(SignalBusMixin, SQLAlchemy):
    """An application's database with one signal model, which has a composite key."""

    def __init__(self) -> None:
        super().__init__()

        class Entry(self.Model):  # type: ignore[name-defined,misc]
            __tablename__ = "inspected"
            a = sa.Column(sa.String(9), primary_key=True)
            b = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
            text = sa.Column(sa.String(9))
            send_signalbus_message = classmethod(lambda cls, signal: None)

        self.model = Entry


class Place:
    """A database in which tables are made by hand, and how applications see it."""

    def __init__(self, url: str, cleanup: ExitStack) -> None:
        self.url = sa.make_url(url)
        self._admin = sa.create_engine(url)
        self._cleanup = cleanup
        cleanup.callback(self._admin.dispose)

    def execute(self, *statements: str) -> None:
        with self._admin.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def ask(self, query: str) -> Any:
        with self._admin.begin() as connection:
            return connection.exec_driver_sql(query).scalar_one()

    def make_table(self, *constraints: str, columns: str = COLUMNS) -> None:
        self._cleanup.callback(self.execute, "DROP TABLE inspected")
        self.execute(f"CREATE TABLE inspected ({', '.join([columns, *constraints])})")

    def application(
        self, url: sa.URL | None = None, *, on_connect: str = "", **options: Any
    ) -> tuple[Flask, Database]:
        app, db = Flask("inspected"), Database()
        app.config["SQLALCHEMY_DATABASE_URI"] = url or self.url
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
        db.init_app(app)
        with app.app_context():
            engine = db.engine
        self._cleanup.callback(engine.dispose)
        if on_connect:
            event.listen(engine, "connect", _execute(on_connect))
        return app, db

    def faults(self, url: sa.URL | None = None, **options: Any) -> dict[str, str]:
        """Return what the checks say that do not pass, by the names of the checks."""
        app, db = self.application(url, **options)
        with app.app_context():
            results = list(judge_table(db.model, db.session))
        assert [result.check for result in results] == list(ALL)
        return {
            result.check: result.reason
            for result in results
            if result.outcome != "passed"
        }


def _execute(statement: str) -> Callable[[Any, object], None]:
    def execute(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
        connection.commit()

    return execute


@pytest.fixture
def place(database_url: str) -> Iterator[Place]:
    with ExitStack() as cleanup:
        yield Place(database_url, cleanup)


def blocked_by(check: str, *exempt: str) -> dict[str, str]:
    names = list(ALL)
    blocked = names[names.index(check) + 1 :]
    return {
        name: f"blocked by {check}: see its failure"
        for name in blocked
        if name not in exempt
    }


def test_a_good_table_breaks_no_rule(place: Place) -> None:
    place.make_table("PRIMARY KEY (a, b)")

    assert place.faults() == {}


def test_nothing_is_changed(place: Place) -> None:
    place.make_table("PRIMARY KEY (a, b)")
    place.execute("INSERT INTO inspected VALUES ('x', 1, 'precious')")

    app, _ = place.application()
    done = app.test_cli_runner().invoke(args=["signalbus", "check", "--database"])

    assert (done.exit_code, done.stdout) == (
        0,
        "signal models: 1 models, 20 checks, 20 passed\n",
    )
    assert place.ask("SELECT text FROM inspected") == "precious"


def test_a_fault_is_printed_and_is_exit_status_1(place: Place) -> None:
    app, db = place.application()
    db.model.signalbus_burst_count = 0

    done = app.test_cli_runner().invoke(args=["signalbus", "check", "--database"])

    assert done.exit_code == 1
    assert "check_burst_count_is_positive_int" in done.stdout
    assert "Entry does not conform: check_table_exists" in done.stdout
    assert "  docs:     cli.html#check-table-exists" in done.stdout


def test_the_database_is_left_alone_unless_asked_for(place: Place) -> None:
    app, _ = place.application()

    done = app.test_cli_runner().invoke(args=["signalbus", "check"])

    assert done.exit_code == 0
    assert done.stdout == "signal models: 1 models, 11 checks, 11 passed\n"


def test_a_database_that_cannot_be_reached_is_a_fault(place: Place) -> None:
    elsewhere = place.url.set(database="/nowhere/at/all")

    faults = place.faults(elsewhere)

    assert "the database does not answer: " in faults["check_database_answers"]
    assert len(faults["check_database_answers"].splitlines()) == 5
    assert faults | blocked_by("check_database_answers") == faults


def test_a_missing_table_is_a_fault(place: Place) -> None:
    faults = place.faults()

    assert "there is no table inspected at " in faults.pop("check_table_exists")
    assert faults == blocked_by("check_table_exists", "check_server_is_writable")


def test_the_password_is_not_told(place: Place) -> None:
    secret = f"{secrets.token_hex(8)}"
    app, db = place.application(on_connect="SELECT 1")
    with app.app_context():
        db.engine.url = place.url.set(password=secret)
        results = list(judge_table(db.model, db.session))

    assert not any(secret in result.reason for result in results)


def test_another_order_of_the_index_is_worth_a_note(place: Place) -> None:
    place.make_table("PRIMARY KEY (b, a)")

    assert place.faults() == {}
    app, _ = place.application()
    done = app.test_cli_runner().invoke(args=["signalbus", "check", "--database"])
    assert done.exit_code == 0
    assert "declares the primary key (a, b)" in done.stdout
    assert "index in the database is (b, a)" in done.stdout


def test_a_unique_constraint_may_take_the_place_of_the_key(place: Place) -> None:
    place.make_table("UNIQUE (a, b)")

    assert place.faults() == {}


def test_a_unique_index_may_take_the_place_of_the_key(place: Place) -> None:
    place.make_table()
    place.execute("CREATE UNIQUE INDEX whole ON inspected (b, a)")

    assert place.faults() == {}


@pytest.mark.parametrize(
    "constraints",
    [
        pytest.param([], id="none"),
        pytest.param(["UNIQUE (a)"], id="of one column"),
        pytest.param(["UNIQUE (a, b, text)"], id="of another column too"),
    ],
)
def test_a_table_without_an_index_of_the_key_is_a_fault(
    place: Place, constraints: list[str]
) -> None:
    place.make_table(*constraints)

    fault = place.faults()["check_flush_walks_an_index"]

    assert (
        "no primary key or unique index of inspected consists of (a, b), whole and in"
        " one direction"
    ) in fault
    assert "ALTER TABLE inspected ADD PRIMARY KEY (a, b)" in fault


def test_a_view_is_a_fault(place: Place) -> None:
    """It has no index, and can have none."""
    place.make_table("PRIMARY KEY (a, b)")
    place.execute("ALTER TABLE inspected RENAME TO behind")
    place.execute("CREATE VIEW inspected AS SELECT * FROM behind")

    try:
        fault = place.faults()["check_flush_walks_an_index"]
    finally:
        place.execute("DROP VIEW inspected", "ALTER TABLE behind RENAME TO inspected")

    assert "found:    inspected is a view" in fault
    assert "hint:     map the model to the table itself" in fault


def test_an_index_that_admits_nulls_is_no_key(place: Place) -> None:
    place.make_table("UNIQUE (a, b)", columns="a VARCHAR(9), b INTEGER, text TEXT")

    assert list(place.faults()) == ["check_flush_walks_an_index"]


def test_a_partial_index_is_no_key(place: Place, dialect_name: str) -> None:
    place.make_table()
    for number, what in enumerate(capabilities.PARTIAL_INDEXES[dialect_name]):
        place.execute(f"CREATE UNIQUE INDEX partial_{number} ON inspected {what}")

    assert list(place.faults()) == ["check_flush_walks_an_index"]


@contextmanager
def user_with(place: Place, rights: str, dialect: str) -> Iterator[sa.URL]:
    """Yield the URL of a user with these rights on the table."""
    user = f"poor_{secrets.token_hex(4)}"
    names = {"user": user, "rights": rights, "table": "inspected"}
    place.execute(*(s.format(**names) for s in capabilities.CREATE_USER[dialect]))
    try:
        yield place.url.set(username=user, password="secret")
    finally:
        place.execute(*(s.format(**names) for s in capabilities.DROP_USER[dialect]))


@pytest.mark.requires("roles")
def test_missing_rights_are_a_fault(place: Place, dialect_name: str) -> None:
    place.make_table("PRIMARY KEY (a, b)")

    for rights, refused in capabilities.POOR_RIGHTS[dialect_name].items():
        with user_with(place, rights, dialect_name) as url:
            faults = place.faults(url)

        assert list(faults) == ["check_rights_suffice"]
        assert f"  found:    {refused} is refused: " in faults["check_rights_suffice"]
        assert "denied" in faults["check_rights_suffice"]
        assert capabilities.RIGHTS[dialect_name] in faults["check_rights_suffice"]


@pytest.mark.requires("roles")
def test_the_documented_rights_suffice(place: Place, dialect_name: str) -> None:
    place.make_table("PRIMARY KEY (a, b)")

    with user_with(place, capabilities.RIGHTS[dialect_name], dialect_name) as url:
        assert place.faults(url) == {}


@pytest.mark.requires("row_level_security")
@pytest.mark.parametrize(
    ("policies", "missing"),
    [
        pytest.param([], "SELECT, UPDATE, DELETE", id="none"),
        pytest.param(["FOR SELECT", "FOR DELETE"], "UPDATE", id="of reading, deleting"),
        pytest.param(["FOR SELECT"], "UPDATE, DELETE", id="of reading"),
        pytest.param(["AS RESTRICTIVE"], "SELECT, UPDATE, DELETE", id="restrictive"),
        pytest.param(["TO CURRENT_USER"], "SELECT, UPDATE, DELETE", id="of others"),
        pytest.param(["TO {user}"], "", id="of the user"),
        pytest.param(["FOR SELECT", "FOR UPDATE", "FOR DELETE"], "", id="of each"),
    ],
)
def test_rows_that_no_policy_lets_a_flusher_lock_are_a_fault(
    policies: list[str], missing: str, place: Place, dialect_name: str
) -> None:
    """Nothing would be sent, without an error."""
    place.make_table("PRIMARY KEY (a, b)")
    place.execute("ALTER TABLE inspected ENABLE ROW LEVEL SECURITY")

    with user_with(place, capabilities.RIGHTS[dialect_name], dialect_name) as url:
        for number, policy in enumerate(policies):
            what = policy.format(user=url.username)
            place.execute(f"CREATE POLICY p{number} ON inspected {what} USING (true)")
        faults = place.faults(url)

    assert list(faults) == ["check_rights_suffice"] * bool(missing)
    assert all(f"no policy for {missing}\n" in fault for fault in faults.values())


def test_a_server_that_is_read_only_is_a_fault(place: Place, dialect_name: str) -> None:
    place.make_table("PRIMARY KEY (a, b)")
    begin, end = capabilities.READ_ONLY[dialect_name]

    try:
        faults = place.faults(on_connect=begin)
    finally:
        place.execute(end)

    assert "is on at " in faults.pop("check_server_is_writable")
    assert faults == {
        "check_rights_suffice": "blocked by check_server_is_writable: see its failure"
    }


@pytest.mark.requires("in_memory")
def test_a_file_that_is_read_only_is_a_fault(place: Place) -> None:
    place.make_table("PRIMARY KEY (a, b)")

    url = place.url.set(
        database=f"file:{place.url.database}", query={"mode": "ro", "uri": "true"}
    )
    faults = place.faults(url)

    assert list(faults) == ["check_rights_suffice"]
    assert "readonly database" in faults["check_rights_suffice"]


@pytest.mark.requires("in_memory")
def test_a_locked_file_is_not_taken_for_missing_rights(place: Place) -> None:
    place.make_table("PRIMARY KEY (a, b)")
    app, db = place.application(connect_args={"timeout": 0})

    with app.app_context(), place._admin.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        results = {r.check: r.reason for r in judge_table(db.model, db.session)}
        connection.rollback()

    assert "database is locked" in results["check_rights_suffice"]
    assert "is refused" not in results["check_rights_suffice"]


DEFERRED = "REFERENCES inspected (a, b) {} DEFERRABLE INITIALLY DEFERRED"


@pytest.mark.requires("deferred_keys")
@pytest.mark.parametrize(
    ("action", "is_fault"),
    [
        pytest.param("", True, id="no action"),
        pytest.param("ON DELETE CASCADE", False, id="cascade"),
        pytest.param("ON DELETE SET NULL", False, id="set null"),
    ],
)
def test_a_deferred_foreign_key_is_a_fault(
    place: Place, action: str, is_fault: bool
) -> None:
    """Unless it gives way."""
    place.make_table("PRIMARY KEY (a, b)")
    place.execute(
        "CREATE TABLE follower (a VARCHAR(9), b INTEGER,"
        f" CONSTRAINT waits FOREIGN KEY (a, b) {DEFERRED.format(action)})"
    )

    try:
        faults = place.faults()
    finally:
        place.execute("DROP TABLE follower")

    assert list(faults) == ["check_no_deferred_foreign_key"] * is_fault
    assert all("follower." in fault for fault in faults.values())


@pytest.mark.requires("deferred_keys")
def test_a_table_is_found_by_a_name_that_needs_quoting(make_db: DBFactory) -> None:
    own_db = make_db()

    @model_of(own_db)
    class Odd(OwnModel):
        __tablename__ = "odd % :table"
        id = sa.Column(sa.Integer, primary_key=True)
        send_signalbus_message = classmethod(lambda cls, signal: None)

    key = sa.ForeignKey(Odd.id, deferrable=True, initially="DEFERRED")
    sa.Table("follower", own_db.metadata, sa.Column("odd_id", sa.Integer, key))
    own_db.create_all()

    results = list(judge_table(Odd, own_db.session))

    own_db.drop_all()
    failed = [result.check for result in results if result.outcome == "failed"]
    assert failed == ["check_no_deferred_foreign_key"]


@pytest.mark.requires("storage_engines")
def test_a_table_without_transactions_is_a_fault(place: Place) -> None:
    place.make_table("PRIMARY KEY (a, b)")
    place.execute("ALTER TABLE inspected ENGINE=MyISAM")

    faults = place.faults()

    assert list(faults) == ["check_table_has_transactions"]
    assert "engine of the table is MyISAM" in faults["check_table_has_transactions"]


@pytest.mark.requires("storage_engines")
def test_a_binary_log_of_statements_is_a_fault(place: Place) -> None:
    """Where there is a binary log."""
    place.make_table("PRIMARY KEY (a, b)")
    is_logging = bool(place.ask("SELECT @@log_bin"))

    faults = place.faults(on_connect="SET SESSION binlog_format = 'STATEMENT'")

    assert list(faults) == ["check_binary_log_takes_flushes"] * is_logging
    assert all("binlog_format is STATEMENT" in fault for fault in faults.values())


@pytest.mark.requires("isolation_levels")
def test_an_isolation_level_that_does_not_arrive_is_a_fault(
    place: Place, dialect_name: str
) -> None:
    place.make_table("PRIMARY KEY (a, b)")
    options = capabilities.ASK_FOR_LEVEL[dialect_name]
    forget = capabilities.FORGET_LEVEL[dialect_name]

    faults = place.faults(on_connect=forget, **options)

    assert list(faults) == ["check_isolation_level_arrives"]
    assert "reports READ COMMITTED" in faults["check_isolation_level_arrives"]
    assert "SERIALIZABLE, as" in faults["check_isolation_level_arrives"]


@pytest.mark.requires("isolation_levels")
def test_an_isolation_level_that_arrives_is_no_fault(
    place: Place, dialect_name: str
) -> None:
    place.make_table("PRIMARY KEY (a, b)")

    assert place.faults(**capabilities.ASK_FOR_LEVEL[dialect_name]) == {}
    assert place.faults(isolation_level="REPEATABLE READ") == {}
    assert place.faults(isolation_level="AUTOCOMMIT") == {}


def test_the_connection_is_the_one_for_writing(place: Place) -> None:
    """The statements run where a flush runs them."""
    place.make_table("PRIMARY KEY (a, b)")
    app, db = place.application()
    asked: list[tuple[Any, str]] = []
    begun: list[object] = []

    with app.app_context():
        session: Any = db.session()
        get_bind = session.get_bind

        def spy(mapper: Any = None, *, clause: Any = None, **kwargs: Any) -> Any:
            asked.append((mapper.class_, type(clause).__name__))
            return get_bind(mapper=mapper, clause=clause, **kwargs)

        session.get_bind = spy
        event.listen(session, "after_begin", lambda *_: begun.append(1))
        results = list(judge_table(db.model, db.session))

    assert {result.outcome for result in results} == {"passed"}
    assert set(asked) == {(db.model, "Delete")}
    assert len(begun) >= len(ALL)
