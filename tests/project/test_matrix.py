"""The pytest plugin of the matrix: what a run is about, and which skips it allows."""

import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
TABLE = ROOT / "tests" / "support" / "capabilities.py"

#: The real table, but for one row, which lacks one thing.
CAPABILITIES = f"""
{TABLE.read_text(encoding="utf-8")}

MEANINGS = {{"flying": "can fly", "swimming": "can swim"}}
ROWS = (Row(dialect="sqlite", capabilities=frozenset({{"swimming"}})),)

pytest_signalbus_row = row_of
"""

REQUIRING_TESTS = """
import pytest

@pytest.mark.requires("flying")
def test_fly():
    raise AssertionError("It fell.")

@pytest.mark.requires("swimming")
def test_swim():
    pass
"""

TEST_TO_RUN_ONCE = """
@pytest.mark.once
def test_dream():
    raise AssertionError("Another row dreams.")
"""

STRANGERS = {
    "in a test": "def test_it(): pytest.skip('not today')",
    "in a module": "pytest.skip('not today', allow_module_level=True)",
    "by a mark": "@pytest.mark.skip(reason='not today')\ndef test_it(): pass",
}


@pytest.fixture
def suite(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """Return a folder with a suite of its own, which uses the plugin."""
    for name in [*os.environ]:
        if name.startswith(("PYTEST_ADDOPTS", "PYTEST_XDIST", "SIGNALBUS_TEST_")):
            monkeypatch.delenv(name)
    pytester.makeconftest(f'{CAPABILITIES}\npytest_plugins = ["servers.plugin"]')
    pytester.makeini(f"[pytest]\ntestpaths = tests\npythonpath = {TOOLS}")
    pytester.mkdir("tests")
    return pytester


def run(suite: pytest.Pytester, content: str, *options: str) -> pytest.RunResult:
    (suite.path / "tests" / "test_it.py").write_text(content, encoding="utf-8")
    return suite.runpytest_inprocess(*options)


def add_stranger(suite: pytest.Pytester, name: str, content: str) -> None:
    (suite.path / "tests" / name).write_text(f"import pytest\n{content}\n")


def complaints_about_skips(result: pytest.RunResult) -> list[str]:
    """Return the modules whose skips the run complains about."""
    text = r"tests/(\w+\.py)\S* \(not today\): the table of capabilities doesn't allow"
    return sorted(set(re.findall(text, result.stdout.str())))


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_skip_in_the_table_is_counted_with_its_reason(
    suite: pytest.Pytester, workers: str
) -> None:
    result = run(suite, REQUIRING_TESTS + TEST_TO_RUN_ONCE, "-n", workers)

    result.assert_outcomes(passed=1, skipped=2)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.re_match_lines(
        [
            r"=+ signalbus: sqlite [\d.]+, SQLAlchemy [\w.]+, private files =+",
            r"1 passed, 0 failed, 2 skipped",
            r"  1 skipped: needs no database; it is run once, with another one",
            r"  1 skipped: sqlite lacks flying",
        ]
    )


@pytest.mark.parametrize(
    "stranger",
    [pytest.param(stranger, id=place) for place, stranger in STRANGERS.items()],
)
def test_a_skip_out_of_the_table_makes_the_run_red(
    suite: pytest.Pytester, stranger: str
) -> None:
    add_stranger(suite, "test_more.py", stranger)

    result = run(suite, REQUIRING_TESTS)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert complaints_about_skips(result) == ["test_more.py"]


def test_workers_tell_of_the_skips_out_of_the_table(suite: pytest.Pytester) -> None:
    for number, stranger in enumerate(STRANGERS.values()):
        add_stranger(suite, f"test_{number}.py", stranger)

    result = run(suite, REQUIRING_TESTS, "-n", "2")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert complaints_about_skips(result) == ["test_0.py", "test_1.py", "test_2.py"]


def test_an_expected_failure_is_no_skip(suite: pytest.Pytester) -> None:
    failing = "\n@pytest.mark.xfail\ndef test_sink(): raise AssertionError\n"

    result = run(suite, REQUIRING_TESTS + failing)

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["1 passed, 0 failed, 1 skipped, 1 xfailed"])


@pytest.mark.parametrize(
    ("options", "code"),
    [
        pytest.param([], pytest.ExitCode.TESTS_FAILED, id="in the whole suite"),
        pytest.param(["-n", "2"], pytest.ExitCode.TESTS_FAILED, id="or its workers"),
        pytest.param(["-k", "swim"], pytest.ExitCode.OK, id="but not in a selection"),
        pytest.param(["tests/test_it.py"], pytest.ExitCode.OK, id="nor in a file"),
    ],
)
def test_a_missing_capability_must_be_missed_by_a_test(
    suite: pytest.Pytester, options: list[str], code: pytest.ExitCode
) -> None:
    result = run(suite, "def test_swim(): pass", *options)

    assert result.ret == code
    complaint = "'flying' is missing from sqlite, but no test requires it."
    assert (complaint in result.stdout.str()) == (code != pytest.ExitCode.OK)


def test_a_capability_must_be_in_the_table(suite: pytest.Pytester) -> None:
    result = run(suite, REQUIRING_TESTS.replace("swimming", "diving"))

    result.assert_outcomes(skipped=1, errors=1)
    result.stdout.fnmatch_lines(["*The test requires diving, which the table of*"])


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_without_its_server_ends_at_once(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setenv("SIGNALBUS_TEST_MYSQL_BINDIR", "/nowhere")

    result = run(suite, REQUIRING_TESTS, "--signalbus-db=mysql", "-n", workers)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*SIGNALBUS_TEST_MYSQL_BINDIR is '/nowhere', but /nowhere has no mysqld.*"]
    )


def test_each_worker_has_databases_of_its_own(suite: pytest.Pytester) -> None:
    printing = """
import pytest

@pytest.mark.parametrize("number", range(2))
def test_it(number, database_url, new_database, dialect_name):
    print(f"<{dialect_name} {database_url} {new_database()} {new_database()}>")

@pytest.mark.requires("flying")
def test_fly():
    pass
"""

    result = run(suite, printing, "-n", "2", "--dist", "each", "-rA")

    lines = re.findall(r"<sqlite (.+)>", result.stdout.str())
    urls = {url for line in lines for url in line.split()}
    names = sorted(re.sub("[0-9a-f]{8}", "RUN", url.split("/")[-1]) for url in urls)
    assert names == sorted(
        f"fsb_RUN_{worker}{number}.db"
        for worker in ("gw0", "gw1")
        for number in ("", "_1", "_2", "_3", "_4")
    )
    assert len(set(re.findall("fsb_([0-9a-f]{8})_", " ".join(urls)))) == 1
