"""Benchmarks are collected only where they are asked for: `pytest tests/bench --benchmark-only`."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the benchmarks out of every other run, also where their plugin is switched off."""
    return None if config.getoption("benchmark_only", default=False) else True
