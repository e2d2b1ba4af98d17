"""The errors that callers may want to catch."""

from __future__ import annotations


class DBSerializationError(Exception):
    """A transaction lost a race against another one and can be repeated.

    Raise it inside an atomic block to have the whole block rolled back and
    executed again, as if the database itself had reported a serialization
    conflict. It reaches the caller when the attempts run out, and when a block
    that has to be repeated had joined work which it can not repeat; then
    ``__cause__`` is the conflict that the database reported.

    .. versionadded:: 1.0
    """
