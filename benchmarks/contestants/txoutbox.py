"""txoutbox, as its README says, with what it recommends where nothing has a key."""

import asyncio

import asyncpg
from txoutbox import OutboxMessage, Relay, RelayConfig
from txoutbox.adapters.postgres import PostgresStorage

from benchmarks.contestants.sending import MOMENT, Sender, serve


def storage(pool: asyncpg.Pool) -> PostgresStorage:
    return PostgresStorage(
        pool, strict_ordering=False, delete_on_ack=True, notify_channel="outbox"
    )


def record(url: str) -> None:
    async def create() -> PostgresStorage:
        outbox = storage(await asyncpg.create_pool(url))
        await outbox.create_schema()
        return outbox

    async def insert(texts: list[str]) -> None:
        async with outbox.pool.acquire() as connection, connection.transaction():
            for text in texts:
                payload = {"text": text, "recorded_at": MOMENT}
                await outbox.insert(connection, "bench", payload)

    with asyncio.Runner() as runner:
        outbox = runner.run(create())
        serve(["txoutbox"], lambda texts: runner.run(insert(texts)))


def work(url: str, batch: int, sender: Sender) -> None:
    asyncio.run(run(url, batch, sender))


async def run(url: str, batch: int, sender: Sender) -> None:
    async def publish(message: OutboxMessage) -> None:
        sender.send(message.json()["text"])

    outbox = storage(await asyncpg.create_pool(url))
    # Five messages for each place, as by default: a round must end within its lease.
    config = RelayConfig(batch_size=batch, concurrency=max(1, batch // 5))
    relay = Relay(outbox, publish, config=config)
    async with await outbox.listen(relay.wake):
        await relay.run(handle_signals=True)
