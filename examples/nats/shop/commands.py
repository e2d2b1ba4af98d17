"""The command line of the shop and its warehouses: ``flask place-order`` and others."""

from collections import Counter

import click
from flask import Blueprint, current_app

from . import broker
from .extensions import db
from .messages import Message
from .models import Reservation
from .procedures import place_order, receive

commands = Blueprint("commands", __name__, cli_group=None)


@commands.cli.command("set-up")
@click.argument("warehouse")
def set_up_command(warehouse: str) -> None:
    """Create the tables, and what WAREHOUSE needs in the broker."""
    db.create_all()
    broker.set_up(current_app.config["BROKER_URL"], warehouse)
    click.echo(f"The warehouse in {warehouse} can be told of orders.")


@commands.cli.command("place-order")
@click.argument("warehouse")
@click.argument("quantity", type=int)
@click.option("--times", type=click.IntRange(min=1), default=1)
def place_order_command(warehouse: str, quantity: int, times: int) -> None:
    """Order QUANTITY pieces from WAREHOUSE."""
    for _ in range(times):
        order = place_order(warehouse, quantity)
    click.echo(f"Order {order.id} is placed.")


@commands.cli.command("consume")
@click.argument("warehouse")
@click.option(
    "--quiet", type=float, help="End after so many seconds without a message."
)
@click.option("--forget", is_flag=True, help="Crash before the first acknowledgement.")
def consume_command(warehouse: str, quiet: float | None, forget: bool) -> None:
    """Reserve what was ordered from WAREHOUSE."""
    counter: Counter[bool] = Counter()

    def handle(message: Message) -> None:
        counter[receive(message)] += 1
        if forget:
            raise click.ClickException("Crashed after the work was committed.")

    broker.consume(current_app.config["BROKER_URL"], warehouse, handle, quiet=quiet)
    total = db.session.query(Reservation).count()
    click.echo(
        f"{counter[True]} new messages, {counter[False]} duplicates dropped; "
        f"{total} reservations in all."
    )
