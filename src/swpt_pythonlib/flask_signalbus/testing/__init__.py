"""A conformance kit for signal models, and a broker fake for an application's tests.

It works with and without pytest, which only :func:`parametrize_signal_models` and the
module ``plugin`` import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .._reports import Result
from .broker import BrokerRefused, Confirmation, RecordingBroker
from .catalogue import all_checks, signal_models
from .definition import Check
from .failures import CannotCheck, ConformanceFailure
from .outbox import Outbox
from .reports import Report
from .rows import default_row
from .runner import check_signal_model, static_report

if TYPE_CHECKING:
    from .parametrize import parametrize_signal_models as parametrize_signal_models

__all__ = [
    "BrokerRefused",
    "CannotCheck",
    "Check",
    "Confirmation",
    "ConformanceFailure",
    "Outbox",
    "RecordingBroker",
    "Report",
    "Result",
    "all_checks",
    "check_signal_model",
    "default_row",
    "parametrize_signal_models",
    "signal_models",
    "static_report",
]


def __getattr__(name: str) -> Any:
    # Not imported above, because pytest need not be installed.
    if name != "parametrize_signal_models":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    return import_module(".parametrize", __name__).parametrize_signal_models
