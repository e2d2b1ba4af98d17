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
        "are blocked by it. They prove that a flush can begin, and cannot tell what "
        "the table is like in the database, nor what a send method does.",
    ),
    "bus": (
        "Checks of the bus with the model's table",
        "They record rows and flush them, with recorders in place of the send methods. "
        "They prove that the library keeps its promises with this table, on this "
        "database and driver, with these rows. They cannot tell what the send methods "
        "do, nor what happens in a crash.",
    ),
    "sender": (
        "Checks of the send methods",
        "They call the model's own send methods, with the objects that the bus hands "
        "over, and look at what arrives at the broker fake. They prove nothing of a "
        "client that the fake does not stand for.",
    ),
}

#: What a check of the send methods cannot tell, though one might think so.
BLIND = {
    "check_send_needs_columns_only": "branches that these rows do not take",
    "check_one_accepted_message_per_row": "whether it is the right message, or whether "
    "the send method returns before the real client has a confirmation",
    "check_batch_equals_single": "the order of the messages",
    "check_batch_accepts_any_iterable": "iterables that are endless",
    "check_send_does_not_end_the_flushing_transaction": "sessions of the sender's own; "
    "``check_real_flush_takes_back_writes`` looks at those",
    "check_single_send_propagates_broker_errors": "errors that the fake was not given",
    "check_batch_send_propagates_errors_at_each_position": "errors that the fake was "
    "not given, and several messages that are refused at once",
    "check_real_flush_sends_and_deletes": "locks that only several flushers take",
    "check_real_flush_keeps_what_is_refused": "messages that are lost by the client "
    "after it has confirmed them",
    "check_real_flush_takes_back_writes": "writes to anything but the databases of the "
    "application",
    "check_send_emits_no_sql": "SQL on engines that the application does not know",
    "check_send_is_silent_about_order": "orders other than forwards and backwards",
    "check_send_copes_with_null": "whether such a row can occur; what a constraint or "
    "a validator refuses is left out",
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
    if check.name in BLIND:
        remarks.append(f"It cannot tell: {BLIND[check.name]}.")
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
