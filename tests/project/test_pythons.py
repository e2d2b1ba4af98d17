"""Which Pythons the package is for, where they are found, and what tries them."""

import os
import re
import tomllib
from pathlib import Path

import pytest

from servers import matrix
from servers.errors import ServerUnavailable
from servers.pythons import promised, python_for
from support.fake_programs import put_program

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]

#: Stands for tox: it writes down what it was asked for.
FAKE_TOX = """
import os, pathlib, sys
asked = [os.environ.get("TOX_SKIP_ENV", ""), *sys.argv[1:]]
pathlib.Path(__file__).with_name("asked").write_text("\\n".join(asked))
sys.exit(3)
"""


def put_python(folder: Path, version: str, told: str) -> Path:
    folder.mkdir(parents=True)
    put_program(folder, f"python{version}", f"echo {told} {folder}/python{version}")
    return folder / f"python{version}"


def test_what_is_promised_is_what_can_be_installed() -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert metadata["project"]["requires-python"] == f">={promised()[0]}"


def test_each_python_is_tried_by_the_matrix_here_and_there() -> None:
    cells = [f"py{version.replace('.', '')}-sqlite" for version in promised()]
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")

    minors = ",".join(version.partition(".")[2] for version in promised())
    assert f"\n    py3{{{minors}}}-sqlite-short\n" in tox
    assert re.findall(r"cell: (py\d+-sqlite),", workflow) == cells


def test_a_python_is_found_though_no_path_leads_to_it(tmp_path: Path) -> None:
    python = put_python(tmp_path / ".pyenv/versions/3.99.1/bin", "3.99", told="3.99")

    found = python_for("3.99", {"HOME": str(tmp_path)}, print)

    assert found == python


def test_a_shim_that_leads_nowhere_is_no_python(tmp_path: Path) -> None:
    shims = put_python(tmp_path / "shims", "3.99", told="").parent
    python = put_python(tmp_path / "versions/3.99.1/bin", "3.99", told="3.99")
    environ = {"PATH": str(shims), "PYENV_ROOT": str(tmp_path)}

    assert python_for("3.99", environ, print) == python


def test_a_python_that_cannot_be_had_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    environ = {"SIGNALBUS_TEST_CACHE": str(tmp_path)}

    with pytest.raises(ServerUnavailable, match=r"Python 3\.99 isn't installed; .*apt"):
        python_for("3.99", environ, print)


def test_the_matrix_runs_with_what_is_there_and_names_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tox.py").write_text(FAKE_TOX, encoding="utf-8")
    python = put_python(tmp_path / "bin", promised()[-1], told=promised()[-1])
    monkeypatch.setenv("PATH", str(python.parent))
    cache = str(tmp_path / "cache")
    environ = {"PYTHONPATH": str(tmp_path), "SIGNALBUS_TEST_CACHE": cache}
    said: list[str] = []

    code = matrix.run({**environ, "PATH": os.environ["PATH"]}, said.append)

    skipped, *asked = (tmp_path / "asked").read_text(encoding="utf-8").split("\n")
    assert code == 3
    assert asked[:2] == ["run", "--discover"]
    assert str(python) in asked
    for version in promised():
        cells = f"py{version.replace('.', '')}-"
        is_found = any(path.endswith(f"python{version}") for path in asked)
        assert is_found != any(f"NOT RUN: the cells {cells}" in line for line in said)
        assert is_found != (f"{cells}.*" in skipped.split("|"))
    assert ".*mysqlclient.*" in skipped
    assert f"py{promised()[-1].replace('.', '')}-sqlite' runs it" in said[-1]
