"""Walk through the example: run its commands, and show what each one prints.

Every run starts with an empty ``instance/`` folder. A command that does not end
as expected stops the demo with a message and exit status 1.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
INSTANCE = HERE / "instance"
OUTBOX = INSTANCE / "outbox.log"


def tell(text: str) -> None:
    """Print a paragraph of the story."""
    print(f"\n{text}\n", flush=True)


def run(command: str, *, status: int = 0) -> str:
    """Run ``flask COMMAND``, show what it prints, and check its exit status."""
    print(f"$ flask {command}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "flask", *shlex.split(command)],
        cwd=HERE,
        env={**os.environ, "FLASK_APP": "shop"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(shorten_tracebacks(done.stdout), end="", flush=True)
    if done.returncode != status:
        print(done.stdout, file=sys.stderr)
        sys.exit(f"demo: exit status {done.returncode} where {status} is right.")

    if status:
        print(f"(exit status {status})")

    return done.stdout


def shorten_tracebacks(output: str) -> str:
    """Replace the indented lines of each traceback by three dots."""
    lines: list[str] = []
    in_traceback = False
    for line in output.splitlines(keepends=True):
        if in_traceback and line.startswith("  "):
            continue

        in_traceback = line.startswith("Traceback ")
        lines.append(line)
        if in_traceback:
            lines.append("  ...\n")

    return "".join(lines)


def show_outbox() -> None:
    """Print the first and the last lines of what the broker accepted."""
    lines = OUTBOX.read_text(encoding="utf-8").splitlines()
    print(f"$ cat {OUTBOX.relative_to(HERE)}     # {len(lines)} lines")
    print("\n".join([*lines[:3], "...", *lines[-3:]]))


def expect(*, sent: int, pending: int) -> None:
    """Check the number of messages in the outbox and of signals in the database."""
    seen = len(OUTBOX.read_text(encoding="utf-8").splitlines()) if sent else 0
    if seen != sent:
        sys.exit(f"demo: {seen} messages were sent where {sent} is right.")

    if f"Total pending: {pending}\n" not in run("signalbus pending"):
        sys.exit(f"demo: {pending} pending signals would be right.")


def main() -> None:
    """Tell the story."""
    shutil.rmtree(INSTANCE, ignore_errors=True)
    run("create-tables")

    tell("1. Each order is recorded together with two signals. Nothing is sent yet.")
    run("place-order alice@example.com 3 --times 120")
    run("place-order carol-at-example.com 1")
    expect(sent=0, pending=242)

    tell("2. An order that fails takes its signals with it: 242 are still pending.")
    run("place-order dave@example.com 1000", status=1)
    expect(sent=0, pending=242)

    tell(
        "3. The signals are sent: OrderPlaced 100 at a time, InvoiceIssued one by one."
        "\n   The broker refuses the invoice with the mistyped address; the others go."
    )
    run("signalbus flushmany", status=1)
    show_outbox()

    tell("4. The signal that could not be sent is still there.")
    expect(sent=241, pending=1)

    tell("5. Once the cause is removed, the next flush sends it.")
    run("correct-email 121 carol@example.com")
    run("signalbus flushmany")
    show_outbox()
    expect(sent=242, pending=0)


if __name__ == "__main__":
    main()
