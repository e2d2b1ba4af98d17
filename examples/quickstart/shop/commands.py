"""The shop's command line: ``flask place-order`` and others."""

import click
from flask import Blueprint

from .extensions import db
from .procedures import OrderRefused, correct_email, place_order

commands = Blueprint("commands", __name__, cli_group=None)


@commands.cli.command("create-tables")
def create_tables_command() -> None:
    """Create the tables that do not exist yet."""
    db.create_all()
    click.echo("The tables are there.")


@commands.cli.command("place-order")
@click.argument("email")
@click.argument("quantity", type=int)
@click.option(
    "--times",
    type=click.IntRange(min=1),
    default=1,
    help="How many orders to place.",
)
def place_order_command(email: str, quantity: int, times: int) -> None:
    """Place an order of QUANTITY pieces for EMAIL."""
    try:
        orders = [place_order(email, quantity) for _ in range(times)]
    except OrderRefused as refusal:
        raise click.ClickException(str(refusal)) from refusal

    click.echo(f"Order {orders[-1].id} is placed.")


@commands.cli.command("correct-email")
@click.argument("order_id", type=int)
@click.argument("email")
def correct_email_command(order_id: int, email: str) -> None:
    """Set the address of order ORDER_ID to EMAIL."""
    correct_email(order_id, email)
    click.echo(f"Order {order_id} now goes to {email}.")
