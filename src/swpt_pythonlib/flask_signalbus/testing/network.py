"""A guard that lets a send method reach nothing but the broker fake."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import ExitStack
from types import FrameType
from typing import Any
from unittest.mock import patch

_FAMILIES = {socket.AF_INET, socket.AF_INET6}
_CONNECTING = ("connect", "connect_ex")
_SENDING = ("send", "sendall")


class ReachedNetwork(BaseException):
    """A send method has reached for the network; nothing on its way may handle that."""


class NetworkGuard:
    """Refuses connections of a send method, and what it sends on open ones.

    It sees the sockets of Python only, and streams only: a name may be looked up, and
    a measurement be dropped. Whatever SQLAlchemy does is the database's.

    :param addresses: Pairs of host and port that may be reached.
    """

    def __init__(self, addresses: Collection[tuple[str, int]] = ()) -> None:
        self.reached: list[str] = []
        self._ports = {port for _, port in addresses}
        self._allowed = {(ip, port) for host, port in addresses for ip in _ips_of(host)}

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function; refuse the connections of it, and of threads it starts."""
        thread = threading.get_ident()
        others = {each.ident for each in threading.enumerate()} - {thread}
        frame = sys._getframe()

        def refuse(sock: socket.socket, address: str) -> None:
            caller = threading.get_ident()
            if caller in others or _is_of_database(frame):
                return

            self.reached.append(address)
            sock.close()
            if caller == thread:
                raise ReachedNetwork(address)
            raise ConnectionRefusedError(f"The conformance kit refuses {address}.")

        with ExitStack() as stack:
            for name in (*_CONNECTING, *_SENDING):
                for kind in _socket_classes():
                    guarded = self._guarded(kind, name, refuse)
                    stack.enter_context(patch.object(kind, name, guarded))
            return function(*args)

    def _guarded(
        self, kind: type[Any], name: str, refuse: Callable[[socket.socket, str], None]
    ) -> Callable[..., Any]:
        original = getattr(kind, name)

        def guarded(sock: socket.socket, *args: Any, **named: Any) -> Any:
            is_unix = sock.family == getattr(socket, "AF_UNIX", None)
            if sock.type == socket.SOCK_STREAM and (
                sock.family in _FAMILIES or (is_unix and name in _CONNECTING)
            ):
                address = args[0] if name in _CONNECTING else _peer_of(sock)
                if address is not None and not self._is_allowed(address):
                    refuse(sock, _in_words(address))
            return original(sock, *args, **named)

        return guarded

    def _is_allowed(self, address: Any) -> bool:
        if not isinstance(address, tuple) or address[1] not in self._ports:
            return False

        return any((ip, address[1]) in self._allowed for ip in _ips_of(address[0]))


def _socket_classes() -> list[type[Any]]:
    classes: list[type[Any]] = [socket.socket]
    # It does not send by the methods of its base.
    if "ssl" in sys.modules:
        classes.append(sys.modules["ssl"].SSLSocket)
    return classes


def _is_of_database(outermost: FrameType) -> bool:
    """Tell whether SQLAlchemy is at work, further in than a frame."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame is not outermost:
        if frame.f_globals.get("__name__", "").partition(".")[0] == "sqlalchemy":
            return True
        frame = frame.f_back
    return False


def _ips_of(host: str) -> set[Any]:
    try:
        return {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return {host}


def _peer_of(sock: socket.socket) -> Any:
    try:
        return sock.getpeername()
    except OSError:
        return None


def _in_words(address: Any) -> str:
    if isinstance(address, tuple):
        return ":".join(map(str, address[:2]))

    return str(address)
