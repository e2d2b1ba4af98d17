from typing import Any

from flask import Flask
from shop.extensions import db
from shop.models import OrderPaid

from swpt_pythonlib.flask_signalbus.testing import parametrize_signal_models


def paid(i: int) -> OrderPaid:
    """Refer to a customer that exists, which the kit cannot guess."""
    return OrderPaid(customer_id=1, amount=100 + i)


@parametrize_signal_models(db, rows={OrderPaid: paid})
def test_signal_model(check: Any, app: Flask) -> None:
    check(app)
