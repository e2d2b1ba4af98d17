"""The one logger of the library, and the facts that its records carry."""

from __future__ import annotations

import logging

logger: logging.Logger = logging.getLogger(__package__)


def facts(**values: object) -> dict[str, object]:
    """Return what a record is to carry as ``extra``; what is ``None`` is not known."""
    return {f"signalbus_{k}": v for k, v in values.items() if v is not None}
