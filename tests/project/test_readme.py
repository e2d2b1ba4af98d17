"""The code in README.rst runs as it stands."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.rst"
RESULTS = ROOT / "docs" / "_generated" / "benchmarks" / "results.rst"


def blocks(language: str) -> list[str]:
    """Return the contents of the code blocks in a language, dedented."""
    found = re.findall(
        rf"^\.\. code-block:: {language}\n\n((?:(?:[ ]+.*)?\n)+)",
        README.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return [textwrap.dedent(block).strip() + "\n" for block in found]


def test_the_example_prints_what_the_readme_says(tmp_path: Path) -> None:
    [example] = blocks("python")
    [output] = blocks("text")
    script = tmp_path / "app.py"
    script.write_text(example, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stderr, done.stdout) == ("", output)


def test_its_figures_are_those_that_were_measured() -> None:
    said = " ".join(README.read_text(encoding="utf-8").split())
    results = RESULTS.read_text(encoding="utf-8")
    table = results.partition("This library, compared")[2].partition("Flushers at")[0]

    # Burst, and the ratios to a loop by hand, to the bare driver and to 0.5.20.
    rows = re.findall(r"\* - \w.*\n" + r" +- (\S+)\n" * 4, table)

    by_hand = [float(row[1]) for row in rows]
    predecessor = [float(row[3]) for row in rows if row[3][0].isdigit()]
    assert f"{min(by_hand)} to {max(by_hand)} times as fast as by a loop" in said
    assert f"{min(predecessor)} to {max(predecessor)} times as fast as by flask" in said
