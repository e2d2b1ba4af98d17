"""The publishers of the examples, by themselves: forks, threads, interruptions."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from brokers.shops import Shop
from servers.brokers import PrivateBroker


class Interruption(BaseException):
    """What no ``except Exception`` catches."""


@pytest.fixture
def _interruption_after_half_a_second() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise Interruption

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    yield
    signal.signal(signal.SIGALRM, before)


def test_an_interrupted_burst_does_not_answer_for_the_next_one(
    shop: Shop, private: PrivateBroker, request: pytest.FixtureRequest
) -> None:
    """What comes late must not be taken for the answer to the next message."""
    shop.set_up()
    nowhere = f"{shop.warehouse}x"
    publisher = shop.new_publisher()
    publisher.publish([shop.message(1)])

    private.freeze()
    request.getfixturevalue("_interruption_after_half_a_second")
    with pytest.raises(Interruption):
        publisher.publish([shop.message(2, nowhere)])
    private.thaw()
    refused = publisher.publish([shop.message(3)])

    assert refused == set()


def test_the_ids_of_the_refused_messages_are_returned(shop: Shop) -> None:
    shop.set_up()
    nowhere = f"{shop.warehouse}x"
    publisher = shop.new_publisher()

    refused = publisher.publish(
        [shop.message(n, nowhere if n % 3 == 0 else None) for n in range(1000)]
    )

    assert refused == {shop.message(n).id for n in range(0, 1000, 3)}
    assert shop.received() == [n for n in range(1000) if n % 3]


def test_a_forked_child_has_a_connection_of_its_own(shop: Shop) -> None:
    shop.set_up()
    publisher = shop.new_publisher()
    publisher.publish([shop.message(1)])

    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = len(publisher.publish([shop.message(n) for n in range(2, 100)]))
        finally:
            # Nothing of the parent's, such as pytest, may be run to its end here.
            os._exit(status)
    _, status = os.waitpid(child, 0)
    refused = publisher.publish([shop.message(100)])

    assert (os.waitstatus_to_exitcode(status), refused) == (0, set())
    assert shop.received() == list(range(1, 101))


def test_threads_do_not_get_in_each_others_way(shop: Shop) -> None:
    shop.set_up()
    nowhere = f"{shop.warehouse}x"
    publisher = shop.new_publisher()
    refused: dict[int, set[str]] = {}

    def publish(thread: int) -> None:
        numbers = range(thread * 100, thread * 100 + 100)
        messages = [shop.message(n, nowhere if n % 100 == 5 else None) for n in numbers]
        refused[thread] = publisher.publish(messages)
        publisher.close()

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert refused == {n: {shop.message(n * 100 + 5).id} for n in range(4)}
    assert shop.received() == [n for n in range(400) if n % 100 != 5]


def test_a_message_that_is_sent_twice_is_known_by_its_identifier(shop: Shop) -> None:
    shop.set_up()
    publisher = shop.new_publisher()

    for _ in range(2):
        publisher.publish([shop.message(1)])
    ids: list[str] = []
    shop.client.consume(
        shop.broker_url, shop.warehouse, lambda each: ids.append(each.id), quiet=1.0
    )

    assert set(ids) == {shop.message(1).id}
