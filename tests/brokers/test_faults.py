"""Whatever happens to a broker or to a worker, nothing is lost."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from brokers.peculiarities import BURSTS_TWICE, LIMITS, impatient_publisher
from brokers.shops import PATIENCE, Shop
from servers.brokers import PrivateBroker
from swpt_pythonlib.flask_signalbus import SignalsRefused

BURST = 5
MANY = 3000


@pytest.fixture
def silent_url(broker_url: str) -> Iterator[str]:
    """Return the address of somebody who accepts connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        scheme = broker_url.split("://")[0]
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"


def times_too_often(received: list[int]) -> int:
    return sum(times - 1 for times in Counter(received).values())


def test_signals_are_deleted_when_the_broker_has_confirmed_them_and_not_before(
    shop: Shop, private: PrivateBroker
) -> None:
    shop.set_up()
    (first,) = shop.order(1)
    sent: list[int] = []
    is_connected, is_frozen = threading.Event(), threading.Event()

    def flush() -> None:
        # The connection belongs to the thread.
        sent.append(shop.flush())
        is_connected.set()
        is_frozen.wait(PATIENCE)
        sent.append(shop.flush_again())
        shop.hang_up()

    flusher = threading.Thread(target=flush)
    flusher.start()
    is_connected.wait(PATIENCE)
    orders = shop.order(10)
    private.freeze()
    is_frozen.set()
    flusher.join(1.0)
    waiting = (flusher.is_alive(), shop.pending())
    private.thaw()
    flusher.join()

    assert waiting == (True, len(orders))
    assert (sent, shop.pending()) == ([1, len(orders)], 0)
    assert shop.received() == [first, *orders]


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_broker_that_falls_silent_is_not_waited_for_longer_than_the_timeout(
    shop: Shop, private: PrivateBroker, is_connected: bool
) -> None:
    shop.set_up()
    publisher = shop.new_publisher(timeout=2.0)
    message = shop.message(1)
    if is_connected:
        publisher.publish([message])

    private.freeze()
    started = time.monotonic()
    with pytest.raises(Exception, match=r".*"):
        publisher.publish([message])

    assert 1.5 < time.monotonic() - started < 5.0


def test_who_accepts_and_says_nothing_is_not_waited_for_longer_than_the_timeout(
    shop: Shop, silent_url: str
) -> None:
    publisher = shop.new_publisher(url=silent_url, timeout=2.0)

    started = time.monotonic()
    with pytest.raises(Exception, match=r".*"):
        publisher.publish([shop.message(1)])

    assert 1.5 < time.monotonic() - started < 5.0


def test_a_flush_that_a_silent_broker_has_failed_is_made_good_by_the_next(
    shop: Shop, private: PrivateBroker, broker_name: str
) -> None:
    """The burst may have been heard, and is carried out when the broker wakes up."""
    shop.set_up()
    shop.order(1)
    shop.flush(timeout=1.0)
    orders = shop.order(3)

    private.freeze()
    with pytest.raises(Exception, match=r".*"):
        shop.flush_again()
    still_pending = shop.pending()
    private.thaw()
    shop.flush()

    received = shop.received()[1:]
    assert still_pending == len(orders)
    assert sorted(set(received)) == orders
    assert times_too_often(received) <= len(orders) * BURSTS_TWICE[broker_name]


@pytest.mark.parametrize("end", [PrivateBroker.stop, PrivateBroker.kill])
def test_a_worker_outlives_its_broker(
    shop: Shop,
    private: PrivateBroker,
    broker_name: str,
    end: Callable[[PrivateBroker], None],
) -> None:
    shop.set_up()
    orders = shop.order(MANY)

    shop.start_worker(BURST)
    shop.wait_until(lambda pending: pending < MANY - 200)
    end(private)
    left = shop.pending()
    private.start()
    shop.wait_until(lambda pending: pending == 0)

    received = shop.received()
    assert left > 0
    assert sorted(set(received)) == orders
    assert times_too_often(received) <= BURST * BURSTS_TWICE[broker_name]


def test_a_worker_that_is_terminated_in_the_middle_loses_nothing(
    shop: Shop, broker_name: str
) -> None:
    shop.set_up()
    orders = shop.order(MANY)

    worker = shop.start_worker(BURST)
    shop.wait_until(lambda pending: pending < MANY - 200)
    worker.terminate()
    left = shop.pending()
    shop.start_worker()
    shop.wait_until(lambda pending: pending == 0)

    received = shop.received()
    assert left > 0
    assert sorted(set(received)) == orders
    assert times_too_often(received) <= BURST * BURSTS_TWICE[broker_name]


def test_a_worker_that_is_killed_sends_its_burst_again(
    shop: Shop, broker_name: str
) -> None:
    shop.set_up()
    orders = shop.order(MANY)

    worker = shop.start_worker(BURST)
    shop.wait_until(lambda pending: pending < MANY - 200)
    worker.kill()
    # The database may not have noticed yet who is dead, and hold its rows.
    shop.start_worker()
    shop.wait_until(lambda pending: pending == 0)

    received = shop.received()
    assert sorted(set(received)) == orders
    assert times_too_often(received) <= BURST * BURSTS_TWICE[broker_name]


def test_two_workers_send_everything_once(shop: Shop) -> None:
    shop.set_up()
    orders = shop.order(MANY)

    for _ in range(2):
        shop.start_worker(BURST)
    shop.wait_until(lambda pending: pending == 0)

    assert shop.received() == orders


def test_a_refused_message_stays_and_the_others_of_its_burst_are_sent_once(
    shop: Shop,
) -> None:
    shop.set_up()
    nowhere = f"{shop.warehouse}x"
    before = shop.order(3)
    (refused,) = shop.order(1, nowhere)
    after = shop.order(3)

    with pytest.raises(SignalsRefused):
        shop.flush()
    pending, received = shop.pending(), shop.received()
    shop.client.set_up(shop.broker_url, nowhere)
    shop.flush_again()

    assert pending == 1
    assert received == [*before, *after]
    assert shop.received(nowhere) == [refused]
    assert shop.pending() == 0


def test_what_a_full_queue_refuses_stays_until_there_is_room(
    shop: Shop, broker_name: str
) -> None:
    make_room = LIMITS[broker_name](shop)
    orders = shop.order(5)

    try:
        with pytest.raises(SignalsRefused):
            shop.flush()
        pending, received = shop.pending(), shop.received()
    finally:
        make_room()
    while shop.pending():
        with suppress(SignalsRefused):
            shop.flush_again()
        received += shop.received()

    assert pending > 0
    assert sorted(received) == orders


def test_a_quiet_hour_costs_nothing(shop: Shop, broker_name: str) -> None:
    shop.set_up()
    publisher = impatient_publisher(broker_name, shop)
    message = shop.message(1)

    publisher.publish([message])
    # What happens is that nothing happens.
    time.sleep(5.0)
    refused = publisher.publish([message])

    assert refused == set()
