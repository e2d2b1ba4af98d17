"""How each broker is greeted: what is said to it until it has let us in.

No client is needed, so that a broker can be asked wherever its tests are not installed.
"""

import json
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import SplitResult, unquote, urlsplit

_SECONDS = 5.0

#: What is said, and what must be in the answer.
Talk = list[tuple[bytes, bytes]]


def lets_us_in(url: str) -> bool:
    """Tell whether the broker at a URL answers, and takes the password in it."""
    with suppress(OSError):
        parts = urlsplit(url)
        where = (parts.hostname or "", parts.port or 0)
        with socket.create_connection(where, timeout=_SECONDS) as connection:
            return all(
                _answers(connection, said, wanted)
                for said, wanted in _TALKS[parts.scheme](parts)
            )
    return False


def _answers(connection: socket.socket, said: bytes, wanted: bytes) -> bool:
    connection.sendall(said)
    heard = b""
    deadline = time.monotonic() + _SECONDS
    while wanted not in heard and time.monotonic() < deadline:
        piece = connection.recv(65536)
        if not piece:
            return False
        heard += piece
    return wanted in heard


def _amqp(url: SplitResult) -> Talk:
    user, password = _credentials(url)
    secret = f"\0{user}\0{password}".encode()
    start_ok = b"".join(
        [
            struct.pack(">HHI", 10, 11, 0),
            b"\x05PLAIN",
            struct.pack(">I", len(secret)),
            secret,
            b"\x05en_US",
        ]
    )
    frame = struct.pack(">BHI", 1, 0, len(start_ok)) + start_ok + b"\xce"
    start, tune = struct.pack(">HH", 10, 10), struct.pack(">HH", 10, 30)
    return [(b"AMQP\x00\x00\x09\x01", start), (frame, tune)]


def _redis(url: SplitResult) -> Talk:
    login = [(f"AUTH {url.password}\r\n".encode(), b"+OK")] if url.password else []
    return [*login, (b"PING\r\n", b"+PONG")]


def _nats(url: SplitResult) -> Talk:
    user, password = _credentials(url)
    words = json.dumps({"user": user, "pass": password, "verbose": False})
    return [(b"", b"INFO"), (f"CONNECT {words}\r\nPING\r\n".encode(), b"PONG")]


def _credentials(url: SplitResult) -> tuple[str, str]:
    return unquote(url.username or "guest"), unquote(url.password or "guest")


_TALKS: Mapping[str, Callable[[SplitResult], Talk]] = {
    "amqp": _amqp,
    "redis": _redis,
    "nats": _nats,
}
