"""Programs that pretend to be a database server's."""

from pathlib import Path


def put_program(folder: Path, name: str, script: str) -> None:
    """Write a shell script that everybody may run."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def fake_postgresql(folder: Path, *, serve: str, initialise: str = "true") -> None:
    """Write a PostgreSQL that does as it is told."""
    version = '[ "$1" = --version ] && echo "postgres (PostgreSQL) 15.3" && exit'
    put_program(folder, "postgres", f"{version}\n{serve}")
    put_program(folder, "initdb", initialise)
