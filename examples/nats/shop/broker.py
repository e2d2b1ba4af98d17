"""How the shop talks to NATS JetStream, with the client nats-py."""

import asyncio
import math
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import nats
from nats.errors import MaxPayloadError
from nats.js.errors import APIError, NoStreamResponseError

from .messages import Message

DEFAULT_URL = "nats://127.0.0.1:4222"
MESSAGE_ID = "Nats-Msg-Id"
#: By which a message was certainly not stored.
REFUSALS = (APIError, NoStreamResponseError, MaxPayloadError)


class Publisher:
    """Publishes messages. The event loop of the client runs in a thread of its own."""

    def __init__(self, url: str, *, timeout: float):
        self._url, self._timeout = url, timeout
        self._forget()
        # A child has neither the thread, nor a connection that it may use.
        os.register_at_fork(after_in_child=self._forget)

    def publish(self, messages: Sequence[Message]) -> set[str]:
        """Return the ids of the messages that were refused; all others are stored.

        Raises if that is not known of each of them.
        """
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, daemon=True).start()
        burst = self._publish(messages)
        future = asyncio.run_coroutine_threadsafe(burst, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _publish(self, messages: Sequence[Message]) -> set[str]:
        # One burst at a time, until all of it has come to its end.
        async with self._turn:
            try:
                async with asyncio.timeout(self._timeout):
                    return await self._publish_now(messages)
            except BaseException:
                await self._drop()
                raise

    async def _publish_now(self, messages: Sequence[Message]) -> set[str]:
        if self._client is None:
            # Before it is connected, so that it is closed if that fails.
            self._client = nats.NATS()
            await connect(self._url, self._timeout, self._client)
        stream = self._client.jetstream(timeout=self._timeout)
        sends = (self._send(stream, message) for message in messages)
        return set(filter(None, await asyncio.gather(*sends)))

    async def _send(self, stream: Any, message: Message) -> str | None:
        """Return the id if the message was refused."""
        headers = {MESSAGE_ID: message.id}
        try:
            await stream.publish(message.topic, message.body.encode(), headers=headers)
        except REFUSALS:
            return message.id
        return None

    def close(self) -> None:
        """Close the connection, until it is needed again."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()

    async def _hang_up(self) -> None:
        async with self._turn:
            await self._drop()

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):
                await asyncio.wait_for(client.close(), 1.0)

    def _forget(self) -> None:
        # Not collected in a child: that would close what it shares with its parent.
        self._inherited = getattr(self, "_client", None), getattr(self, "_loop", None)
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._turn = asyncio.Lock()


async def _ignore(error: Exception) -> None:
    """Keep quiet: whoever waits for the answer is told."""


async def connect(url: str, timeout: float = 10.0, client: Any = None) -> Any:
    """Open a connection that does not come back by itself: it would hide outages."""
    client = client or nats.NATS()
    await client.connect(
        url,
        connect_timeout=math.ceil(timeout),
        allow_reconnect=False,
        # Zero would be "for ever", and the wait is one before the first attempt fails.
        max_reconnect_attempts=1,
        reconnect_time_wait=0,
        error_cb=_ignore,
    )
    return client


def set_up(url: str, warehouse: str) -> None:
    """Make the stream of a warehouse."""

    async def add_stream() -> None:
        client = await connect(url)
        await client.jetstream().add_stream(
            name=f"orders-{warehouse}", subjects=[f"orders.{warehouse}"]
        )
        await client.close()

    asyncio.run(add_stream())


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

    asyncio.run(_consume(url, warehouse, handle, quiet))


async def _consume(
    url: str,
    warehouse: str,
    handle: Callable[[Message], object],
    quiet: float | None,
) -> None:
    client = await connect(url)
    topic = f"orders.{warehouse}"
    entries: list[Any] = []
    try:
        stream = client.jetstream()
        subscription = await stream.pull_subscribe(topic, durable=warehouse)
        while entries := await _fetch(subscription, quiet):
            while entries:
                entry = entries[0]
                handle(Message(entry.headers[MESSAGE_ID], topic, entry.data.decode()))
                await entry.ack_sync()
                del entries[0]
    finally:
        # What was not handled need not wait until somebody misses the answer.
        for entry in entries:
            await entry.nak()
        await client.close()


async def _fetch(subscription: Any, quiet: float | None) -> list[Any]:
    """Return the next messages, none if none has come for ``quiet`` seconds."""
    while True:
        try:
            return list(await subscription.fetch(100, timeout=quiet or 60.0))
        except TimeoutError:
            if quiet:
                return []
