"""At least a hundred faults at drawn moments: no record is lost, doubled or wrong. Run by `make drill`."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.endurance.faults import KINDS
from tests.endurance.harness import Tally, calm, chosen, table

from regunlearn.benchmark import machine

REPORT = Path(__file__).resolve().parents[2] / "build" / "drill.json"
METHODS = ("original", "fine_tune", "blindspot", "retrain", "amnesiac")
FAULTS = 100


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_nothing_is_lost_doubled_or_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin = time.monotonic()
    undisturbed = calm(tmp_path / "calm", [*chosen(*METHODS), "--seeds", "0,1"])

    def one(place: int) -> Tally:
        kind = KINDS[place]
        return kind(undisturbed, tmp_path / kind.__name__, random.Random(place))

    with ThreadPoolExecutor(2) as pool:
        tallies = list(pool.map(one, range(len(KINDS))))
    seconds = time.monotonic() - begin
    with capsys.disabled():
        print(f"\n{table(tallies)}\n{len(undisturbed.records)} records a run, {seconds:.0f} s")
    total = {name: sum(getattr(t, name) for t in tallies) for name in ("faults", "lost", "doubled", "wrong")}
    facts = {
        **total,
        "records": len(undisturbed.records),
        "seconds": round(seconds, 1),
        "kinds": [asdict(tally) for tally in tallies],
        "machine": machine.describe(),
        "versions": machine.versions(),
    }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    assert [note for tally in tallies for note in tally.notes] == []
    assert (total["lost"], total["doubled"], total["wrong"]) == (0, 0, 0)
    assert total["faults"] >= FAULTS
