"""faststream-outbox, as a queue of its own, with what it recommends for throughput."""

import asyncio
import logging
from typing import Any

from faststream import FastStream
from faststream_outbox import OutboxBroker, make_outbox_table, outbox_autovacuum_ddl
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from benchmarks.contestants.sending import MOMENT, Sender, serve

# Warnings and errors. It would log each message, too, and where we say what was sent.
logger = logging.getLogger("bench")
metadata = MetaData()
table = make_outbox_table(metadata, table_name="outbox")


def broker_on(url: str) -> tuple[Any, OutboxBroker]:
    engine = create_async_engine(url)
    return engine, OutboxBroker(engine, outbox_table=table, logger=logger)


def record(url: str) -> None:
    engine, broker = broker_on(url)
    new_session = async_sessionmaker(engine, expire_on_commit=False)

    async def create() -> None:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.execute(text(outbox_autovacuum_ddl("outbox")))
        await broker.connect()

    async def publish(texts: list[str]) -> None:
        bodies = ({"text": text, "recorded_at": MOMENT} for text in texts)
        async with new_session() as session, session.begin():
            await broker.publish_batch(*bodies, queue="bench", session=session)

    with asyncio.Runner() as runner:
        runner.run(create())
        serve(["faststream-outbox"], lambda texts: runner.run(publish(texts)))


def work(url: str, batch: int, sender: Sender) -> None:
    async def handle(body: dict[str, str]) -> None:
        sender.send(body["text"])

    _, broker = broker_on(url)
    sizes = {"fetch_batch_size": batch, "terminal_flush_batch_size": batch}
    broker.subscriber("bench", **sizes)(handle)
    asyncio.run(FastStream(broker, logger=logger).run())
