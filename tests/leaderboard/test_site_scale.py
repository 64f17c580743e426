"""A board of 200 methods, 40 blocks and 10 seeds builds within half a minute."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from regunlearn.benchmark.registry import Card, Catalogue
from regunlearn.leaderboard.site_build import build

BLOCKS = [(f"task{task}-mlp", split) for task in range(10) for split in ("random", "band", "group", "tail")]


@pytest.mark.slow
def test_two_hundred_methods_build_within_half_a_minute(made: SimpleNamespace, tmp_path: Path) -> None:
    rng, home = np.random.default_rng(0), tmp_path / "results" / "v1" / "records"
    home.mkdir(parents=True)
    cards = {}
    for at in range(200):
        name, lines = f"m{at:03d}", []
        quality = float(rng.uniform(0, 1))
        cards[name] = Card("method", name, "", {"family": "first order"}, {}, Path("m.py"), "m", "0" * 16)
        for task, split in BLOCKS:
            for seed in range(10):
                rnc = quality + float(rng.normal(0, 0.1))
                metrics = {
                    "rnc": rnc,
                    "dsr": 4.0,
                    "utility_ratio": 1.0,
                    "mae_test_retain": 1.0,
                    "gap_test_retain": 0.0,
                }
                own = {"task": task, "split": split, "split_hash": f"{split}{seed}", "seed": seed}
                lines.append(made.record(method=name, metrics=metrics, **own).to_line())
        (home / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    before = time.perf_counter()
    written = build(tmp_path, tmp_path / "site", catalogue=Catalogue("method", cards))
    took = time.perf_counter() - before
    print(f"80,000 records: {len(written)} files in {took:.1f} s")
    assert len(json.loads((tmp_path / "site" / "files.json").read_text())) == len(written)
    assert took < 30
