"""Copy the reference models of a protocol from the cache into its folder: weights of originals, views of all.

Run `regunlearn check --gates --protocol NAME` first, which trains them.
"""

import argparse
import json
from typing import Any

from regunlearn.benchmark import grid, runner, shipped
from regunlearn.benchmark.cache import Cache
from regunlearn.benchmark.fetch import cache_folder


def main() -> None:
    """Write `references/` of the protocol's folder and print the size of each file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocol")
    parser.add_argument("--task", action="append", help="only this task; may be repeated")
    chosen = parser.parse_args()
    protocol, folder = grid.of_name(chosen.protocol)
    settings = runner.Settings(cache=cache_folder() / "models", device="cpu")
    files: dict[str, list[dict[str, Any]]] = {}
    for design in grid.narrow(protocol, tasks=chosen.task or ()).designs():
        references = runner.open_ensembles(design, settings)
        originals = files.setdefault(f"{design.task}.originals.safetensors", [])
        views = files.setdefault(f"{design.task}.views.safetensors", [])
        if references.whole.kind == "tail":  # the one kind that needs them
            views.append(references.models.held_out_facts)
        for seed in range(design.size):
            originals.append(references.models.facts("model", seed, references.without("original", seed)))
        for role, size in references.sizes.items():
            views.extend(references.facts(role, seed) for seed in range(size))
    distinct = {
        name: list({json.dumps(one): one for one in entries}.values()) for name, entries in files.items()
    }
    sizes = shipped.ship(distinct, Cache(settings.cache), folder)
    for name, size in sorted(sizes.items()):
        print(f"{name}: {size / 1e6:.2f} MB")
    print(f"together {sum(sizes.values()) / 1e6:.2f} MB in {folder / shipped.FOLDER}")


if __name__ == "__main__":
    main()
