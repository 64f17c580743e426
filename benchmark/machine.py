"""What hardware and which versions a record was made with."""

import hashlib
import os
import platform
import re
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from regunlearn.benchmark.registry import PACKAGE


@cache
def describe() -> dict[str, Any]:
    """Return the machine as facts: processor, cores, memory, accelerator, system."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(memory / 2**30),
        "accelerator": gpu,
        "system": f"{platform.system()} {platform.machine()}",
    }


@cache
def identity() -> str:
    """Return a short name of this kind of machine, safe as a file name."""
    facts = describe()
    words = re.findall(r"[a-z0-9]+", f"{facts['accelerator'] or facts['processor']}".lower())[:4]
    digest = hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:6]
    return "-".join([*words, f"{facts['cores']}c", digest])


@cache
def versions() -> dict[str, str]:
    """Return the versions of what computes: Python, this package, torch, numpy, scikit-learn."""
    packages = ("regunlearn", "torch", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


@cache
def commit() -> str | None:
    """Return the commit of the checkout this package runs from, with "+changes" if files differ; None outside one."""
    if not (PACKAGE / "pyproject.toml").is_file():
        return None
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git(
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--",
            "benchmark",
            "methods",
            "datasets",
            "reproduction",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+changes" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PACKAGE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
