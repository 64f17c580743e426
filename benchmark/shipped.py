"""Reference models that come with a protocol, so that a method is scored without training one.

A protocol's folder `references/` holds one safetensors file of the weights of the originals a task and forget split,
one of the views of all reference models, and `manifest.json` with the sha256 of each and where they were made. An
entry is found by what made it (task, rows, recipe, code, seed), as in the cache, whatever the machine and the version
of torch: the numbers of a protocol are compared with these very models everywhere.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from regunlearn.benchmark import machine
from regunlearn.benchmark.atomic import write_bytes, write_text
from regunlearn.benchmark.cache import Cache, Facts, key_of
from regunlearn.benchmark.errors import BenchmarkError

log = logging.getLogger("regunlearn")

FOLDER, MANIFEST = "references", "manifest.json"
MACHINE = ("device", "torch")
"""Facts of a cache entry that a shipped one does not depend on."""
LARGEST = 40_000_000
"""Bytes that all shipped references of a protocol may take together."""


def shipped_key(facts: Facts) -> str:
    """Return the key of an entry: of everything that made it but the machine."""
    return key_of({name: value for name, value in facts.items() if name not in MACHINE})


class Shipped:
    """The folder `references` of a protocol, read only.

    Args:
        folder: of the protocol.

    Raises:
        BenchmarkError: on the first use, if the manifest is broken, or a file is missing or not what the manifest
            says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """File names with sha256 and size, and the machine; empty if the protocol ships nothing."""
        path = self.folder / MANIFEST
        if not path.is_file():
            return {"files": {}}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            for name, facts in content["files"].items():
                if Path(name).name != name or not isinstance(facts["sha256"], str):
                    raise ValueError(f"an entry for {name!r:.60}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BenchmarkError(
                f"{path}: expected the names and hashes of the shipped references, found {error!r:.100}. Restore it."
            ) from error
        return dict(content)

    @cached_property
    def index(self) -> Mapping[str, tuple[Path, list[str]]]:
        """File and tensor names of each entry, by its key; all files are checked against the manifest."""
        found: dict[str, tuple[Path, list[str]]] = {}
        for name, facts in self.manifest["files"].items():
            path = self.folder / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != facts["sha256"]:
                raise BenchmarkError(
                    f"{path}: expected the shipped file with sha256 {facts['sha256'][:16]}..., found "
                    f"{'another one' if path.is_file() else 'none'}. Restore it, or remove {self.folder} to train the "
                    "reference models here."
                )
            with safe_open(path, framework="pt") as content:
                for tensor in content.keys():  # noqa: SIM118 - not a mapping
                    found.setdefault(tensor.partition("/")[0], (path, []))[1].append(tensor)
        return found

    @cached_property
    def tasks(self) -> frozenset[str]:
        """Names of the tasks whose reference models are shipped."""
        return frozenset(name.partition(".")[0] for name in self.manifest["files"])

    def __contains__(self, facts: Facts) -> bool:
        return shipped_key(facts) in self.index

    def load(self, facts: Facts) -> dict[str, Tensor] | None:
        """Return the tensors of an entry on the CPU, or None if it is not shipped."""
        path, names = self.index.get(shipped_key(facts), (None, []))
        if path is None:
            return None
        with safe_open(path, framework="pt") as content:
            return {name.partition("/")[2]: content.get_tensor(name) for name in names}


class Layered(Cache):
    """The cache, with shipped entries before it: what is shipped is never trained, and never written."""

    def __init__(self, folder: Path, shipped: Shipped) -> None:
        super().__init__(folder)
        self.shipped, self.warned = shipped, set[str]()

    def __contains__(self, facts: Facts) -> bool:
        return facts in self.shipped or super().__contains__(facts)

    def load(self, facts: Facts) -> dict[str, Tensor] | None:
        """Return the shipped entry, else the one of the cache, else None."""
        found = self.shipped.load(facts)
        if found is not None:
            return found
        if facts["kind"] == "view" and facts["task"] in self.shipped.tasks - self.warned:
            self.warned.add(facts["task"])
            log.warning(
                "the shipped reference models of task %s are not those of the code here: it trains its own, and its "
                "records cannot be compared with the published ones.",
                facts["task"],
            )
        return super().load(facts)


def ship(files: Mapping[str, Sequence[Facts]], source: Cache, folder: Path) -> Mapping[str, int]:
    """Copy entries of the cache into the references of a protocol; return the size of each file in bytes.

    Args:
        files: entries by the name of the file that gets them; other files of the manifest stay.
        source: has them all.
        folder: of the protocol.

    Raises:
        BenchmarkError: an entry is not in the cache, or all files together would be larger than `LARGEST`; nothing is
            written then.
    """
    home = folder / FOLDER
    known, written = dict(Shipped(folder).manifest["files"]), dict[str, bytes]()
    for name, entries in files.items():
        tensors: dict[str, Tensor] = {}
        for facts in entries:
            content = source.load(facts)
            if content is None:
                raise BenchmarkError(
                    f"{name}: a {facts['kind']} of task {facts['task']} (seed {facts['seed']}) is not in the cache "
                    f"{source.folder}. Make it with `regunlearn check --gates --protocol {folder.name}`."
                )
            tensors |= {
                f"{shipped_key(facts)}/{leaf}": values.contiguous() for leaf, values in content.items()
            }
        written[name] = save(tensors)
        known[name] = {
            "sha256": hashlib.sha256(written[name]).hexdigest(),
            "bytes": len(written[name]),
            "entries": len(entries),
            "machine": machine.identity(),
            "versions": machine.versions(),
        }
    total = sum(facts["bytes"] for facts in known.values())
    if total > LARGEST:
        raise BenchmarkError(
            f"{home}: the references take {total / 1e6:.1f} MB, expected at most {LARGEST / 1e6:.0f}. Ship fewer tasks "
            "or smaller ensembles."
        )
    for name, content_bytes in written.items():
        write_bytes(home / name, content_bytes)
    write_text(home / MANIFEST, json.dumps({"files": known}, indent=1, sort_keys=True) + "\n")
    return {name: facts["bytes"] for name, facts in known.items()}
