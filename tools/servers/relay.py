"""A relay before a server, which counts round trips and can make them longer.

It stands for a network, and shows what a client has to wait for.
"""

import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import sqlalchemy as sa

_CHUNK = 65536


class Relay:
    """Passes on what clients and a server tell each other.

    A client that speaks after it has heard the server has begun another round trip.

    :param server: The URL of the server, with its host and port.
    :param delay: Seconds that are added to each round trip.
    """

    def __init__(self, server: sa.URL, delay: float = 0.0) -> None:
        assert server.host is not None
        assert server.port is not None
        self._target = (server.host, server.port)
        self._delay = delay
        self._listener = socket.create_server(("127.0.0.1", 0))
        #: How many round trips there have been.
        self.count = 0
        #: Where clients reach the server by way of the relay.
        self.url = server.set(host="127.0.0.1", port=self._listener.getsockname()[1])
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no further connections; those there are end with their clients."""
        # A thread that waits for connections would not notice a mere 'close'.
        self._listener.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with self._listener, suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                Thread(target=self._carry, args=[client], daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with (
            client,
            socket.create_connection(self._target) as server,
            suppress(OSError),
        ):
            other = {client: server, server: client}
            for end in other:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            speaker = server
            for speaks, said in _listen(client, server):
                if speaks is client and speaker is server:
                    self.count += 1
                    time.sleep(self._delay)
                speaker = speaks
                other[speaks].sendall(said)


def _listen(*ends: socket.socket) -> Iterator[tuple[socket.socket, bytes]]:
    """Yield what the ends say, until one of them goes away."""
    while True:
        readable, _, _ = select.select(ends, [], [])
        for end in readable:
            said = end.recv(_CHUNK)
            if not said:
                return
            yield end, said


@contextmanager
def relayed(server: sa.URL, delay: float = 0.0) -> Iterator[Relay]:
    """Yield a relay before a server."""
    relay = Relay(server, delay)
    try:
        yield relay
    finally:
        relay.close()
