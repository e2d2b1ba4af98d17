"""Write down every check for the documentation; ``make generated`` runs this."""

from pathlib import Path

from swpt_pythonlib.flask_signalbus.testing import Check, all_checks

PAGE = Path(__file__).parents[2] / "docs" / "_generated" / "checks.rst"

_NEEDS = {
    "broker": "a broker fake",
    "second_connection": "a database that is not in memory",
    "row_locks": "PostgreSQL, MySQL or MariaDB",
}

_KINDS = {
    "static": (
        "Static checks",
        "They look at the class only. If one of them fails, the model's other checks "
        "are blocked by it.",
    ),
    "bus": (
        "Checks of the bus with the model's table",
        "They record rows and flush them, with recorders in place of the send methods.",
    ),
    "sender": (
        "Checks of the send methods",
        "They call the model's own send methods, with the objects that the bus hands "
        "over, and look at what arrives at the broker fake.",
    ),
}


def page() -> str:
    checks = list(all_checks().values())
    sections = [
        _section(title, text, [check for check in checks if check.kind == kind])
        for kind, (title, text) in _KINDS.items()
    ]
    notice = ".. Written by 'make generated'; don't edit.\n"
    return "\n".join([notice, *sections])


def _section(title: str, text: str, checks: list[Check]) -> str:
    return "\n".join([title, "~" * len(title), "", text, "", *map(_entry, checks)])


def _entry(check: Check) -> str:
    remarks = [f"Why: {check.why}."]
    if check.needs:
        remarks.append(f"Needs {', '.join(_NEEDS[need] for need in check.needs)}.")
    if check.kind == "bus" and not check.records:
        remarks.append("Only looks at what the database says of the table.")
    if check.of_bulk_sender:
        remarks.append("Only for models with a bulk sender.")
    if check.is_advice:
        remarks.append("Advice; off unless ``advice=True`` is passed.")
    anchor = check.anchor.partition("#")[2]
    return (
        f".. _{anchor}:\n\n``{check.name}``\n    {check.rule}\n\n"
        f"    {' '.join(remarks)}\n\n    .. versionadded:: {check.since}\n"
    )


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
