"""The code in README.rst runs as it stands."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

README = Path(__file__).parents[2] / "README.rst"


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
