"""The deletion of what a failed burst is known to have sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row

from ._deletions import Rows
from ._keys import Key
from ._retry import RetryPolicy
from ._sessions import Record, owned_transaction
from ._sources import Source
from ._transactions import Attempt


class Settlement(Attempt[int]):
    """The deletion of signals that have been sent by a burst that failed afterwards.

    :param claim_only: Deletes the signal with a key, unless somebody else holds it.
    :param confirmed: The signals that have been sent.
    :param version: The version of the data when they were sent.
    """

    def __init__(
        self,
        source: Source,
        claim_only: Callable[[Connection, Key], Rows],
        confirmed: Rows,
        version: object,
    ) -> None:
        self._source = source
        self._claim_only = claim_only
        self._confirmed = confirmed
        self._version = version
        self._record = Record(sends=source.signals.name)
        #: The signals that another one may have taken the place of in the meantime.
        self.doubtful: Rows = ()

    def work(self) -> int:
        """Delete the signals by their keys; return how many were still there.

        :raises RuntimeError: If some of them are doubtful. Nothing is deleted then.
        """
        source = self._source
        with owned_transaction(source.session, self._record):
            source.join()
            found = [self._delete(row) for row in self._confirmed]
            self.doubtful = self._doubtful_among(found)
            if self.doubtful:
                raise RuntimeError(
                    f"Signals of '{source.signals.name}' may have been replaced by"
                    f" others with the same primary keys after they were sent."
                )

        return sum(map(len, found))

    def _delete(self, row: Row[Any]) -> Rows:
        key = self._source.signals.key_of(row)
        return self._claim_only(self._source.connection, key)

    def _doubtful_among(self, found: list[Rows]) -> Rows:
        # Where keys are used again, another signal may have the same values too.
        version = self._source.version()
        if any(found) and version is not None and version != self._version:
            return self._confirmed

        pairs = zip(self._confirmed, found, strict=True)
        return [row for row, now in pairs if now and not _is_same(row, now[0])]

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """How patiently to retry, if it lost a race."""
        lost_race = self.error is not None and self._record.lost_race(self.error)
        return self._source.policy if lost_race else None


def _is_same(row: Row[Any], other: Row[Any]) -> bool:
    """Tell whether two rows certainly have the same values."""
    try:
        pairs = zip(row, other, strict=True)
        # What differs from itself is not a number.
        return all(a == b or (a != a and b != b) for a, b in pairs)
    except Exception:
        # Values of the application's own types need not be comparable.
        return False
