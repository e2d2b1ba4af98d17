"""procrastinate, with its asynchronous connector, as its documentation recommends."""

import asyncio
from typing import Any

from procrastinate import App, PsycopgConnector, RetryStrategy

from benchmarks.contestants.sending import MOMENT, Sender, serve

CRON = "*/10 * * * *"


def application(url: str, sender: Sender, cron: str) -> tuple[Any, Any]:
    app: Any = App(connector=PsycopgConnector(conninfo=url))

    @app.task(name="send", retry=RetryStrategy(max_attempts=10, wait=5))  # type: ignore[untyped-decorator]
    async def send(text: str, recorded_at: str) -> None:
        sender.send(text)

    # What a killed worker had in hand is left to this, by the documentation.
    @app.periodic(cron=cron)  # type: ignore[untyped-decorator]
    @app.task(  # type: ignore[untyped-decorator]
        name="retry_stalled_jobs", queueing_lock="retry_stalled_jobs", pass_context=True
    )
    async def retry_stalled_jobs(context: Any, timestamp: int) -> None:
        for job in await app.job_manager.get_stalled_jobs():
            await app.job_manager.retry_job(job)

    return app, send


def record(url: str) -> None:
    app, send = application(url, Sender(), CRON)

    async def defer(texts: list[str]) -> None:
        jobs = ({"text": text, "recorded_at": MOMENT} for text in texts)
        await send.batch_defer_async(*jobs)

    async def create() -> None:
        await app.open_async()
        await app.schema_manager.apply_schema_async()

    with asyncio.Runner() as runner:
        runner.run(create())
        serve(["procrastinate"], lambda texts: runner.run(defer(texts)))


def work(url: str, batch: int, sender: Sender, cron: str = CRON) -> None:
    app, _ = application(url, sender, cron)
    app.run_worker(concurrency=batch, delete_jobs="successful")
