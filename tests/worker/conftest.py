"""Fixtures: a worker in a process of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.worker_app import Worker

StartWorker = Callable[..., Worker]


@pytest.fixture
def start_worker(tables: str, tmp_path: Path) -> Iterator[StartWorker]:
    """Return what starts a worker, which shares a folder with the test."""
    workers = []

    def start_worker(*arguments: str, **options: Any) -> Worker:
        worker = Worker(tables, tmp_path, *arguments, **options)
        workers.append(worker)
        return worker

    yield start_worker

    for worker in workers:
        worker.kill()
