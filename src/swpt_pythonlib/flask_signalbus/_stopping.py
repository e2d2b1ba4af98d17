"""How a process is asked to end, and what it does then."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ._logs import logger

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# What a second signal finds hanging in the code of a driver ends after so many seconds.
_GRACE = 1.0
# What a shell reports of a process that a signal has ended.
_STATUS = 128


class Stop:
    """Whether SIGTERM or SIGINT has been received.

    The first one sets :attr:`event`. The second one raises ``SystemExit`` in the main
    thread, so that what is under way is rolled back.
    """

    def __init__(self) -> None:
        #: Is set as soon as somebody wants the process to end.
        self.event = threading.Event()
        #: The exit status, if it was a signal.
        self.status: int | None = None
        self._count = 0

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to the signals, if this is the main thread; another one cannot."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        reader, writer = socket.socketpair()
        writer.setblocking(False)
        # A driver written in C may let Python handle a signal only when it returns; and
        # to set an event is not safe where the main thread may be waiting for it.
        watcher = threading.Thread(target=self._watch, args=[reader], daemon=True)
        watcher.start()
        previous = {number: signal.getsignal(number) for number in _SIGNALS}
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        restore = _Restoration(previous, wakeup)
        for number in _SIGNALS:
            # What starts a process in the background may want it to ignore Ctrl-C.
            if previous[number] is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        try:
            yield
        finally:
            restore()
            writer.close()
            watcher.join()
            reader.close()

    def _handle(self, number: int, _: FrameType | None) -> None:
        self._count += 1
        if self._count > 1:
            raise SystemExit(_STATUS + number)

    def _watch(self, reader: socket.socket) -> None:
        numbers = (byte[0] for byte in iter(lambda: reader.recv(1), b""))
        for number in filter(_SIGNALS.__contains__, numbers):
            if self.event.is_set():
                self._end_soon(reader, number)
                return

            self.status = _STATUS + number
            self.event.set()
            name = signal.Signals(number).name
            logger.info("Received %s: ending after the burst in hand.", name)

    def _end_soon(self, reader: socket.socket, number: int) -> None:
        reader.settimeout(_GRACE)
        try:
            while reader.recv(1):
                pass
        except TimeoutError:
            # The database rolls back what is under way, as for any process that dies.
            os._exit(_STATUS + number)


class _Restoration:
    """Puts back what handled the signals before, also in processes that fork."""

    def __init__(self, previous: dict[signal.Signals, Any], wakeup: int) -> None:
        self._previous = previous
        self._wakeup = wakeup
        self._is_due = True
        register = getattr(os, "register_at_fork", None)  # not on Windows
        if register is not None:
            # A child of the sender must not take its own end for ours.
            register(after_in_child=self)

    def __call__(self) -> None:
        if not self._is_due:
            return

        self._is_due = False
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._previous.items():
            if handler is not None:  # if it is C's, it cannot be put back
                signal.signal(number, handler)
