"""How the signals of a burst are handed to the senders of their model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Row

from ._lazy import has_not_run
from ._models import SINGLE_SENDER, Model, has_bulk_sender


def is_sent_in_bulk(model: Model, rows: Sequence[Row[Any]]) -> bool:
    """Tell whether one call of the bulk sender is to send all of the rows."""
    return len(rows) > 1 and has_bulk_sender(model)


def send(
    model: Model, rows: Sequence[Row[Any]], after_each_call: Callable[[int], None]
) -> None:
    """Hand the rows to the model's bulk sender, or one by one to the single sender.

    :param after_each_call: Called with the number of rows that the call has sent.
    :raises TypeError: If a sender is a generator or a coroutine. It has sent nothing.
    """
    try:
        if is_sent_in_bulk(model, rows):
            _check_has_run(model, model.send_signalbus_messages(list(rows)))
            after_each_call(len(rows))
            return

        for row in rows:
            _check_has_run(model, model.send_signalbus_message(row))
            after_each_call(1)
    except AttributeError as error:
        if any(error.obj is row for row in rows):
            error.add_note(
                f"A sender gets a row of the table of '{model.__name__}', and no"
                f" instance of the model: '{error.name}' is not one of its columns."
            )
        raise
    except TypeError as error:
        # The call itself has failed, and nothing that the sender did.
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            error.add_note(
                f"The senders of '{model.__name__}' must be class methods that take the"
                f" class and one argument, as in 'def {SINGLE_SENDER}(cls, signal)'."
            )
        raise


def _check_has_run(model: Model, result: object) -> None:
    # Not the function itself: it may be wrapped, or return what another one made.
    if has_not_run(result):
        raise TypeError(
            f"A sender of '{model.__name__}' is a generator or a coroutine, and has"
            f" sent nothing; it must be a plain class method. Its signals are pending."
        )
