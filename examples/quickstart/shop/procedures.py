"""What the shop does. Each procedure is one transaction."""

from .extensions import db
from .models import InvoiceIssued, Order, OrderPlaced

LARGEST_ORDER = 100


class OrderRefused(Exception):
    """The shop does not take this order."""


@db.atomic
def place_order(email: str, quantity: int) -> Order:
    """Record an order, together with the signals that announce it."""
    order = Order(email=email, quantity=quantity)
    db.session.add(order)
    db.session.flush()
    db.session.add(OrderPlaced(order_id=order.id, quantity=quantity))
    db.session.add(InvoiceIssued(order_id=order.id, email=email))
    db.session.flush()

    # Deliberately late: the order and both of its signals are already in the
    # database. The exception rolls all three of them back.
    if quantity > LARGEST_ORDER:
        raise OrderRefused(f"Orders end at {LARGEST_ORDER} pc., not {quantity}.")

    return order


@db.atomic
def correct_email(order_id: int, email: str) -> None:
    """Correct an order's address, and that of its invoice if it is still pending."""
    order = db.session.get_one(Order, order_id)
    order.email = email
    invoice = db.session.get(InvoiceIssued, order_id)
    if invoice is not None:
        invoice.email = email
