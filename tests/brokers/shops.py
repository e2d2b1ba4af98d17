"""An example application under test: in this process, and in workers of its own."""

import importlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

EXAMPLES = Path(__file__).parents[2] / "examples"
#: Waits for what happens by itself soon; never reached unless it doesn't.
PATIENCE = 90.0
#: How long nothing more may come out of a broker that has nothing more.
QUIET = 1.0


class Shop:
    """An example, with a database and a warehouse of its own."""

    def __init__(
        self, client: Any, example: Path, broker_url: str, url: str, folder: Path
    ) -> None:
        self.client = client
        self.broker_url = broker_url
        self.warehouse = f"w{secrets.token_hex(4)}"
        self._example = example
        self._folder = folder
        self._engine = create_engine(url)
        self._workers: list[Worker] = []
        self._publishers: list[Any] = []
        self._environ = {
            "FLASK_APP": "shop",
            "SHOP_BROKER_URL": broker_url,
            "SHOP_DATABASE_URL": url,
        }
        self.app = self._make_app()
        self._models = importlib.import_module("shop.models")
        self._db = importlib.import_module("shop.extensions").db
        with self.app.app_context():
            self._db.create_all()

    def set_up(self) -> None:
        """Let the broker take the orders of the warehouse."""
        self.client.set_up(self.broker_url, self.warehouse)

    def order(self, count: int, warehouse: str | None = None) -> list[int]:
        """Record orders, in one transaction; return their numbers, which go on."""
        first = self._scalar("SELECT coalesce(max(id), 0) FROM shop_order") + 1
        orders = range(first, first + count)
        values: dict[str, Any] = {
            "warehouse": warehouse or self.warehouse,
            "quantity": 1,
        }
        with self.app.app_context():
            for order in orders:
                self._db.session.add(self._models.Order(id=order, **values))
                self._db.session.add(self._models.OrderPlaced(order_id=order, **values))
            self._db.session.commit()
        return list(orders)

    def flush(self, *, burst: int = 100, timeout: float = 10.0) -> int:
        """Send what is pending."""
        self.app.config.update(BURST_COUNT=burst)
        publisher = self.new_publisher(timeout=timeout)
        self.app.extensions["publisher"] = publisher
        return self.flush_again()

    def flush_again(self) -> int:
        """Send what is pending, with the connection of the last time."""
        with self.app.app_context():
            sent: int = self._db.signalbus.flushmany()
        return sent

    def new_publisher(
        self, *, url: str | None = None, timeout: float = 10.0, **options: Any
    ) -> Any:
        """Return a publisher without a connection."""
        where = url or self.broker_url
        publisher = self.client.Publisher(where, timeout=timeout, **options)
        self._publishers.append(publisher)
        return publisher

    def hang_up(self) -> None:
        """Close the connection with which this thread has flushed."""
        self.app.extensions["publisher"].close()

    def message(self, number: int, warehouse: str | None = None) -> Any:
        """Return a message about an order."""
        message = importlib.import_module("shop.messages").Message
        return message(
            id=f"{self.warehouse}-{number}",
            topic=f"orders.{warehouse or self.warehouse}",
            body=json.dumps({"order_id": number}),
        )

    def pending(self) -> int:
        """Return how many signals are in the table, as others see it."""
        return self._scalar("SELECT count(*) FROM order_placed")

    def received(self, warehouse: str | None = None) -> list[int]:
        """Take what there is for the warehouse; return the numbers of the orders."""
        orders: list[int] = []
        self.client.consume(
            self.broker_url,
            warehouse or self.warehouse,
            lambda message: orders.append(json.loads(message.body)["order_id"]),
            quiet=QUIET,
        )
        return sorted(orders)

    def start_worker(self, burst: int = 5) -> "Worker":
        """Start a process that flushes for ever."""
        worker = Worker(
            self._example,
            {**os.environ, **self._environ, "SHOP_BURST_COUNT": str(burst)},
            self._folder / f"worker-{len(self._workers)}.log",
        )
        self._workers.append(worker)
        return worker

    def wait_until(self, condition: Callable[[int], bool]) -> None:
        """Wait until the number of pending signals is as it should be."""
        deadline = time.monotonic() + PATIENCE
        while not condition(self.pending()):
            assert time.monotonic() < deadline, "\n".join(
                worker.log() for worker in self._workers
            )
            time.sleep(0.01)

    def close(self) -> None:
        """End the workers, and leave the database."""
        for worker in self._workers:
            worker.kill()
        for publisher in self._publishers:
            publisher.close()
        with self.app.app_context():
            self._db.engine.dispose()
        self._engine.dispose()

    def _make_app(self) -> Any:
        create_app = importlib.import_module("shop").create_app
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._environ.items():
                patch.setenv(name, value)
            return create_app()

    def _scalar(self, query: str) -> int:
        with self._engine.connect() as connection:
            value: int = connection.scalar(text(query))
        return value


class Worker:
    """``flask signalbus flushmany --repeat``, as in production."""

    def __init__(self, example: Path, environ: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flask", "signalbus", "flushmany", "-r", "0.2"],
                cwd=example,
                env=environ,
                stderr=file,
            )

    def terminate(self) -> None:
        """Ask it to end, and wait until it has."""
        self._process.terminate()
        self._process.wait(PATIENCE)

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        """Return the last of what it has logged."""
        return self._log.read_text()[-4000:]
