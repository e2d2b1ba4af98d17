"""How the shop talks to RabbitMQ, with the client py-amqp."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile
from urllib.parse import unquote, urlsplit

import amqp

from .messages import Message

DEFAULT_URL = "amqp://guest:guest@127.0.0.1:5672/"
EXCHANGE = "orders"
HEARTBEAT = 60.0


class Publisher(threading.local):
    """Publishes messages. Each thread has a connection of its own, made when needed."""

    def __init__(self, url: str, *, timeout: float, heartbeat: float = HEARTBEAT):
        self._url, self._timeout, self._heartbeat = url, timeout, heartbeat
        self._forget()

    def publish(self, messages: Sequence[Message]) -> set[str]:
        """Return the ids of the messages that were refused; all others are stored.

        Raises if that is not known of each of them.
        """
        # A child must neither use nor close the connection of its parent.
        if self._pid != os.getpid():
            self._forget()
        # The broker closes quiet connections, and so do firewalls.
        if time.monotonic() - self._used_at > self._heartbeat / 2:
            self.close()
        try:
            return self._publish(messages)
        except BaseException:
            # Confirmations that are on their way must not meet the next burst.
            self.close()
            raise

    def _publish(self, messages: Sequence[Message]) -> set[str]:
        channel = self._channel or self._connect()
        for message in messages:
            self._unconfirmed[self._next_tag] = message.id
            self._next_tag += 1
            channel.basic_publish(
                amqp.Message(message.body, message_id=message.id, delivery_mode=2),
                exchange=EXCHANGE,
                routing_key=message.topic,
                mandatory=True,
            )
        deadline = time.monotonic() + self._timeout
        while self._unconfirmed:
            left = max(deadline - time.monotonic(), 0.001)
            channel.connection.drain_events(timeout=left)
        self._used_at = time.monotonic()
        refused, self._refused = self._refused, set()
        return refused

    def _connect(self) -> amqp.Channel:
        self._connection = connect(self._url, self._timeout, self._heartbeat)
        self._channel = self._connection.channel()
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._settle)
        self._channel.events["basic_nack"].add(
            lambda tag, multiple: self._refused.update(self._settle(tag, multiple))
        )
        # What no queue takes is returned first, and acknowledged then.
        self._channel.events["basic_return"].add(
            lambda *args: self._refused.add(args[-1].properties["message_id"])
        )
        return self._channel

    def _settle(self, tag: int, multiple: bool) -> list[str]:
        tags = takewhile(tag.__ge__, self._unconfirmed) if multiple else [tag]
        return [self._unconfirmed.pop(each) for each in list(tags)]

    def close(self) -> None:
        """Close the connection of this thread, until it is needed again."""
        connection = self._connection
        self._forget()
        if connection is not None:
            connection.collect()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._connection = self._channel = None
        self._unconfirmed: dict[int, str] = {}
        self._refused: set[str] = set()
        self._next_tag = 1
        self._used_at = time.monotonic()


def connect(url: str, timeout: float = 10.0, heartbeat: float = 0.0) -> amqp.Connection:
    """Open a connection."""
    parts = urlsplit(url)
    connection = amqp.Connection(
        f"{parts.hostname}:{parts.port or 5672}",
        userid=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        virtual_host=unquote(parts.path[1:]) or "/",
        connect_timeout=timeout,
        read_timeout=timeout,
        write_timeout=timeout,
        heartbeat=heartbeat,
    )
    connection.connect()
    return connection


def set_up(url: str, warehouse: str) -> None:
    """Make the queue of a warehouse, and let it have the warehouse's orders."""
    with connect(url) as connection:
        channel = connection.channel()
        channel.exchange_declare(EXCHANGE, "topic", durable=True, auto_delete=False)
        channel.queue_declare(warehouse, durable=True, auto_delete=False)
        channel.queue_bind(warehouse, EXCHANGE, routing_key=f"orders.{warehouse}")


def consume(
    url: str,
    warehouse: str,
    handle: Callable[[Message], object],
    *,
    quiet: float | None = None,
) -> None:
    """Handle the messages in a queue; end when none has come for ``quiet`` seconds.

    A message is acknowledged when it has been handled, so it may come again.
    """
    with connect(url) as connection:
        channel = connection.channel()
        channel.basic_qos(0, 100, False)

        def receive(delivery: amqp.Message) -> None:
            properties = delivery.properties
            topic = delivery.delivery_info["routing_key"]
            handle(Message(properties["message_id"], topic, delivery.body))
            channel.basic_ack(delivery.delivery_tag)

        channel.basic_consume(warehouse, callback=receive)
        try:
            with suppress(TimeoutError):
                while True:
                    connection.drain_events(timeout=quiet)
        except BaseException:
            # Closing it in peace would handle what has arrived already.
            connection.collect()
            raise
