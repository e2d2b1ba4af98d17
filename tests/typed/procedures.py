"""What is done with the models keeps its types."""

from .classic_models import OrderSent
from .dataclass_models import OrderPaid
from .extensions import db
from .models import Order, OrderPlaced


@db.atomic
def place_order(email: str) -> Order:
    order = Order(email=email)
    db.session.add(order)
    db.session.flush()
    db.session.add(OrderPlaced(order_id=order.id))
    return order


@db.atomic
def correct_email(order_id: int, email: str) -> bool:
    order = Order.lock_instance(order_id)
    if order is None:
        return False

    order.email = email
    return True


@db.atomic
def ship(order_id: int) -> None:
    db.session.add(OrderPaid(order_id=order_id))
    db.session.add(OrderSent(order_id=order_id))
