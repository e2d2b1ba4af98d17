"""A send method reaches nothing but the broker fake while it is checked."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from swpt_pythonlib.flask_signalbus.testing.network import NetworkGuard, ReachedNetwork

Address = tuple[str, int]


@pytest.fixture
def address() -> Iterator[Address]:
    """Return the address of a server that accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


def connect(address: Address) -> None:
    socket.create_connection(address, timeout=5).close()


def try_to_connect(address: Address) -> None:
    with socket.socket() as client:
        client.connect_ex(address)


@pytest.mark.once
@pytest.mark.parametrize("reach", [connect, try_to_connect])
def test_a_connection_is_refused_and_noted(
    address: Address, reach: Callable[[Address], None]
) -> None:
    guard = NetworkGuard()

    with pytest.raises(ReachedNetwork):
        guard.call(reach, address)

    assert guard.reached == [f"127.0.0.1:{address[1]}"]


@pytest.mark.once
@pytest.mark.parametrize("send", ["send", "sendall"])
def test_nothing_is_sent_on_a_connection_that_is_open(
    address: Address, send: str
) -> None:
    guard = NetworkGuard()

    with (
        socket.create_connection(address, timeout=5) as client,
        pytest.raises(ReachedNetwork),
    ):
        guard.call(lambda: getattr(client, send)(b"a message"))

    assert guard.reached == [f"127.0.0.1:{address[1]}"]


@pytest.mark.once
def test_the_address_of_the_fake_may_be_reached(address: Address) -> None:
    guard = NetworkGuard([("localhost", address[1])])

    guard.call(connect, address)

    assert guard.reached == []


@pytest.mark.once
def test_a_thread_that_is_begun_meanwhile_is_refused_too(address: Address) -> None:
    guard = NetworkGuard()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            connect(address)
        except OSError as error:
            errors.append(error)

    def begin() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    guard.call(begin)

    assert guard.reached == [f"127.0.0.1:{address[1]}"]
    assert isinstance(errors[0], ConnectionRefusedError)


@pytest.mark.once
def test_a_thread_of_somebody_else_is_left_alone(address: Address) -> None:
    guard = NetworkGuard()
    may_go_on, is_done = threading.Event(), threading.Event()

    def work() -> None:
        may_go_on.wait(30)
        connect(address)
        is_done.set()

    def wait() -> bool:
        may_go_on.set()
        return is_done.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    is_over = guard.call(wait)
    thread.join(30)

    assert (is_over, guard.reached) == (True, [])


@pytest.mark.once
def test_what_is_no_stream_is_let_through() -> None:
    """A measurement may be dropped."""
    guard = NetworkGuard()

    def measure() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", 9))

    guard.call(measure)

    assert guard.reached == []


@pytest.mark.once
def test_sockets_are_as_before() -> None:
    before = dict(vars(socket.socket))

    NetworkGuard().call(lambda: None)

    assert dict(vars(socket.socket)) == before
