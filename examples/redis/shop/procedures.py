"""What the shop and its warehouses do. Each procedure is one transaction."""

import json

from .extensions import db
from .messages import Message
from .models import Order, OrderPlaced, ReceivedMessage, Reservation


@db.atomic
def place_order(warehouse: str, quantity: int) -> Order:
    """Record an order, together with the signal that announces it."""
    order = Order(warehouse=warehouse, quantity=quantity)
    db.session.add(order)
    db.session.flush()
    db.session.add(
        OrderPlaced(order_id=order.id, warehouse=warehouse, quantity=quantity)
    )
    return order


@db.atomic
def receive(message: Message) -> bool:
    """Reserve what was ordered, unless this message has been dealt with before.

    The inbox is written in the transaction of the work, so neither is there without the
    other. Returns whether the message was a new one.
    """
    # Two consumers may have received the same message at the same time.
    with db.retry_on_integrity_error():
        if db.session.get(ReceivedMessage, message.id):
            return False
        db.session.add(ReceivedMessage(id=message.id))

    db.session.add(Reservation(**json.loads(message.body)))
    return True
