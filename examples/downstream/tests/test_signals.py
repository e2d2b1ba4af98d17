from typing import Any

from flask import Flask
from shop.extensions import db
from shop.models import OrderPaid, ShopVisited

from swpt_pythonlib.flask_signalbus.testing import (
    RecordingBroker,
    parametrize_signal_models,
)

FIRE_AND_FORGET = "visits are counted for the statistics only, some may be lost"


def paid(i: int) -> OrderPaid:
    return OrderPaid(customer_id=1, amount=100 + i)


@parametrize_signal_models(
    db,
    rows={OrderPaid: paid},
    expected_failures={
        (ShopVisited, "check_single_send_propagates_broker_errors"): FIRE_AND_FORGET,
    },
    advice=True,
)
def test_signal_model(check: Any, app: Flask, shop_broker: RecordingBroker) -> None:
    check(app, broker=shop_broker)
