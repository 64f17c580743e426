"""Chromium by Playwright, and made-up sites: a small one with hostile texts, and one of 200 methods."""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regunlearn.benchmark.grid import Protocol, save
from regunlearn.benchmark.records import Record
from regunlearn.benchmark.registry import Card, Catalogue
from regunlearn.leaderboard.site_build import build

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><b>bold</b>"
UNITS = 10


def chromium() -> str | None:
    """Return the path of a Chromium: of the variable CHROMIUM, or one of the system's."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium; tests are skipped, with the reason, where there is none."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    path = chromium()
    if path is None:
        pytest.skip("no Chromium was found: install Debian's chromium, or name one in the variable CHROMIUM")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


def _record(name: str, task: str, split: str, score: float, cost: float, rng: np.random.Generator) -> Record:
    ends = {key: np.clip(score + rng.normal(0, 0.01, UNITS), 0, 1).tolist() for key in ("score", "s_forget")}
    metrics = {"score": score, "s_forget": score, "tv": 0.9 - 0.8 * score, "tv_null": 0.1, "tv_none": 0.9}
    metrics |= {"utility_ratio": 1.01, "utility_limit": 1.1, "models": float(UNITS), "permutation_p": 0.01}
    return Record(
        protocol="v1",
        method=name,
        method_hash="f" * 16,
        hyperparameters={"rate": 0.1},
        task=task,
        task_hash="t",
        split=split,
        split_hash=split,
        seed=0,
        status="ok",
        metrics=metrics,
        curves={"jackknife": ends},
        passes=cost,
        machine="box",
        versions={"python": "3.11"},
        commit="abc",
    )


def records_of(methods: int, tasks: int) -> list[Record]:
    """Return ensembles of made-up methods, the same on every run."""
    rng = np.random.default_rng(7)
    found = []
    for name in ("original", "retrain", "truncated_retrain", *(f"m{at:03d}" for at in range(methods - 3))):
        quality = {"original": 0.0, "retrain": 0.98}.get(name, float(rng.uniform(0.05, 0.9)))
        cost = {"original": 0.0, "retrain": 1.0}.get(name, float(rng.uniform(0.005, 0.6)))
        for at in range(tasks):
            for split in ("random", "band", "group", "tail"):
                own = float(np.clip(quality + rng.normal(0, 0.05), 0, 1)) if cost else 0.0
                found.append(_record(name, f"task{at}-mlp", split, own, cost, rng))
    return found


def cards_of(records: list[Record]) -> Catalogue:
    """Return cards of the made-up methods."""
    cards = {}
    for name in sorted({record.method for record in records}):
        facts: dict[str, Any] = {
            "family": "first order" if name < "m004" else "distillation",
            "needs": ["retain"],
        }
        if name in ("original", "retrain", "truncated_retrain"):
            facts = {"family": "reference", "reference": True}
        if name == "m000":
            facts |= {"paper": HOSTILE, "needs": ["forget"]}
        summary = HOSTILE if name == "m000" else f"Method {name}."
        cards[name] = Card("method", name, summary, facts, {}, Path(f"{name}.py"), name, "0" * 16)
    return Catalogue("method", cards)


def write(root: Path, records: list[Record]) -> Path:
    """Write a repository's results and build its site; return the site's folder."""
    home = root / "results" / "v1"
    (home / "records").mkdir(parents=True)
    for name in {record.method for record in records}:
        lines = [record.to_line() for record in sorted(records, key=lambda r: r.key) if record.method == name]
        (home / "records" / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    blocks = sorted({(record.task, record.split) for record in records})
    tasks = sorted({task for task, _ in blocks})
    splits = {task: [split for own, split in blocks if own == task] for task in tasks}
    sizes = {task: [UNITS, UNITS] for task in tasks}
    save(Protocol(name="v1", splits=splits, ensembles=sizes, tiers=[0.02, 0.1, 0.25]), home)
    limits = {"gate": "G1", "what": "DSR", "value": 4.0, "low": 3.9, "high": 4.1, "least": 1.5, "most": None}
    sizes_of = {"design": "fixed set", "originals": UNITS, "retrained": UNITS, "passed": True}
    rows = [{"task": task, "split": split, **sizes_of, **limits} for task, split in blocks]
    (home / "gates.json").write_text(json.dumps(rows), encoding="utf-8")
    (home / "verified.json").write_text(json.dumps({"m001": {"method_hash": "f" * 16}}), encoding="utf-8")
    build(root, root / "site", catalogue=cards_of(records))
    return root / "site"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of nine entries on eight blocks, with hostile texts in a card and in a record."""
    records = records_of(9, 2)
    for at, record in enumerate(records):
        if record.method == "m000" and record.split == "band":
            records[at] = dataclasses.replace(
                record, status="error", reason=HOSTILE, metrics={}, curves={}, machine=HOSTILE, commit=HOSTILE
            )
    return write(tmp_path_factory.mktemp("small"), records)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of 200 entries on 40 blocks."""
    return write(tmp_path_factory.mktemp("large"), records_of(200, 10))
