"""How the shop talks to Redis Streams, with the client redis-py."""

import socket
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, ResponseError
from redis.retry import Retry

from .messages import Message

DEFAULT_URL = "redis://127.0.0.1:6379/0"
GROUP = "warehouse"


class Publisher:
    """Publishes messages. The client is thread-safe, fork-safe, and connects itself."""

    def __init__(self, url: str, *, timeout: float):
        self._client = connect(url, timeout)

    def publish(self, messages: Sequence[Message]) -> set[str]:
        """Return the ids of the messages that were refused; all others are stored.

        Raises if that is not known of each of them.
        """
        pipeline = self._client.pipeline(transaction=False)
        for message in messages:
            # Without a stream there is nobody who will read it: the answer is None.
            fields: Any = {"id": message.id, "body": message.body}
            pipeline.xadd(message.topic, fields, nomkstream=True)
        try:
            answers = pipeline.execute(raise_on_error=False)
            for answer in answers:
                # A demoted server: the address may lead to the new primary.
                if isinstance(answer, ReadOnlyError):
                    raise answer
        except BaseException:
            # Answers that are on their way must not meet the next burst.
            self.close()
            raise
        return {
            message.id
            for message, answer in zip(messages, answers, strict=True)
            if answer is None or isinstance(answer, ResponseError)
        }

    def close(self) -> None:
        """Close the connections that nobody uses now, until they are needed again."""
        self._client.connection_pool.disconnect(inuse_connections=False)


def connect(url: str, timeout: float | None = 10.0) -> "redis.Redis":
    """Return a client that does not try again by itself: it would wait for too long."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=timeout,
        socket_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        protocol=2,
    )


def set_up(url: str, warehouse: str) -> None:
    """Make the stream of a warehouse, and the group of its consumers."""
    try:
        connect(url).xgroup_create(f"orders.{warehouse}", GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


def consume(
    url: str,
    warehouse: str,
    handle: Callable[[Message], object],
    *,
    quiet: float | None = None,
) -> None:
    """Handle the messages in a stream; end when none has come for ``quiet`` seconds.

    A message is acknowledged when it has been handled, so it may come again.
    """
    client: Any = connect(url, timeout=None)
    topic, me = f"orders.{warehouse}", socket.gethostname()
    # What this consumer has read before it crashed comes first, then what is new.
    position = "0"
    while True:
        block = int(1000 * quiet) if quiet else 0
        answer = client.xreadgroup(GROUP, me, {topic: position}, count=100, block=block)
        entries = answer[0][1] if answer else []
        if not entries and position == ">":
            return
        if not entries:
            position = ">"
        for entry, fields in entries:
            # One whose fields are gone has been removed from the stream meanwhile.
            if fields:
                handle(Message(fields["id"], topic, fields["body"]))
            pipeline = client.pipeline()
            pipeline.xack(topic, GROUP, entry)
            # This group is the only one that reads the stream.
            pipeline.xdel(topic, entry)
            pipeline.execute()
