"""The machine that the measurements were made on."""

import os
import platform
import re
from pathlib import Path


def facts() -> dict[str, str]:
    """Return what tells how fast the machine is, and nothing that tells whose it is."""
    return {
        "Processor": _processor(),
        "Cores": str(os.cpu_count()),
        "Kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    found = (
        re.search(r"model name\s*:\s*(.+)", path.read_text()) if path.exists() else None
    )
    return found[1] if found else platform.machine()
