"""Where the tables go that the documentation shows."""

from benchmarks.workers import ROOT

BUILD = ROOT / "build" / "bench"
PUBLISHED = ROOT / "docs" / "_generated" / "benchmarks"


def publish(name: str, text: str, *, is_rough: bool) -> None:
    """Write and print what was measured; roughly, it is not for the documentation."""
    folder = BUILD if is_rough else PUBLISHED
    folder.mkdir(parents=True, exist_ok=True)
    page = f".. Written by 'make bench'; don't edit.\n\n{text}"
    (folder / f"{name}.rst").write_text(page)
    print(page)
