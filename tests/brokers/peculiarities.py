"""What is done to each broker in its own words."""

import asyncio
from collections.abc import Callable
from typing import Any

from brokers.shops import Shop


def _limit_queue(shop: Shop) -> Callable[[], None]:
    shop.set_up()
    with shop.client.connect(shop.broker_url) as connection:
        channel = connection.channel()
        channel.queue_delete(shop.warehouse)
        channel.queue_declare(
            shop.warehouse,
            durable=True,
            auto_delete=False,
            arguments={"x-max-length": 2, "x-overflow": "reject-publish"},
        )
        topic = f"orders.{shop.warehouse}"
        channel.queue_bind(shop.warehouse, shop.client.EXCHANGE, routing_key=topic)
    return lambda: None


def _limit_memory(shop: Shop) -> Callable[[], None]:
    shop.set_up()
    client = shop.client.connect(shop.broker_url)
    client.config_set("maxmemory", 1)

    def make_room() -> None:
        client.config_set("maxmemory", 0)
        client.close()

    return make_room


def _limit_stream(shop: Shop) -> Callable[[], None]:
    async def limit() -> None:
        client = await shop.client.connect(shop.broker_url)
        await client.jetstream().add_stream(
            name=f"orders-{shop.warehouse}",
            subjects=[f"orders.{shop.warehouse}"],
            max_msgs=2,
            discard="new",
            # What was consumed makes room.
            retention="workqueue",
        )
        await client.close()

    asyncio.run(limit())
    return lambda: None


#: Makes a warehouse for which the broker stores a few messages at most, and refuses the
#: rest; returns what makes room after they have been consumed.
LIMITS = {
    "rabbitmq": _limit_queue,
    "redis": _limit_memory,
    "nats": _limit_stream,
}


def impatient_publisher(name: str, shop: Shop) -> Any:
    """Return a publisher with which the broker loses patience after a few seconds."""
    if name == "redis":
        client = shop.client.connect(shop.broker_url)
        client.config_set("timeout", 1)
        client.close()
    options: dict[str, Any] = {"heartbeat": 1.0} if name == "rabbitmq" else {}
    return shop.new_publisher(**options)


#: How often a message may be stored twice after an outage, at the most, in bursts.
BURSTS_TWICE = {"rabbitmq": 1, "redis": 1, "nats": 0}
