from collections.abc import Callable

from flask import Flask
from shop.models import OrderPlaced, place_order

from swpt_pythonlib.flask_signalbus.testing import Outbox, RecordingBroker


def test_an_order_is_recorded(app: Flask, signalbus_outbox: Outbox) -> None:
    with app.app_context():
        place_order("book", 3)

    signalbus_outbox.assert_recorded(OrderPlaced, article="book", pieces=3)


def test_an_order_is_published(
    app: Flask, signalbus_outbox: Outbox, shop_broker: RecordingBroker
) -> None:
    with app.app_context():
        place_order("book", 3)

    sent = signalbus_outbox.flush(OrderPlaced)

    assert sent == 1
    assert shop_broker.sent == [{"type": "OrderPlaced", "article": "book", "pieces": 3}]
    assert signalbus_outbox.pending(OrderPlaced) == []


def test_orders_are_sent_together(
    app: Flask, signalbus_outbox: Outbox, signalbus_stub: Callable[..., object]
) -> None:
    recorder = signalbus_stub(OrderPlaced)
    with app.app_context():
        place_order("book", 1)
        place_order("pen", 2)

    signalbus_outbox.flush(OrderPlaced)

    assert [signal.article for signal in recorder.signals] == ["book", "pen"]
    assert len(recorder.accepted) == 1
