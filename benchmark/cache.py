"""Tensors on disk, keyed by a hash of everything that made them. Safetensors only: data, never code."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from regunlearn.benchmark import locking, seals
from regunlearn.benchmark.atomic import write_bytes

log = logging.getLogger("regunlearn")

Facts = Mapping[str, Any]


def key_of(facts: Facts) -> str:
    """Return the key of what the facts describe: 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()[:32]


class Cache:
    """A folder of checkpoints and outputs. Entries appear whole or not at all; a broken one counts as absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, facts: Facts) -> Path:
        """Return where the entry is or would be."""
        key = key_of(facts)
        return self.folder / key[:2] / f"{key}.safetensors"

    def __contains__(self, facts: Facts) -> bool:
        return self.path(facts).is_file()

    def load(self, facts: Facts) -> dict[str, Tensor] | None:
        """Return the tensors on the CPU, or None if there are none or they are broken (reported and removed)."""
        path = self.path(facts)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as entry:
                metadata = entry.metadata() or {}
                tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118 - not a mapping
            seals.require(metadata, facts, tensors)
        except (SafetensorError, OSError, ValueError) as error:
            log.warning("cache entry %s is broken (%s): removed, it is made anew.", path, error)
            path.unlink(missing_ok=True)
            return None
        return tensors

    def save(self, facts: Facts, tensors: Mapping[str, Tensor]) -> None:
        """Write the tensors under the key of the facts.

        Raises:
            BenchmarkError: the disk is full or the folder cannot be written to; nothing is left behind.
        """
        content = {name: values.detach().cpu().contiguous() for name, values in tensors.items()}
        # Not `save_file`: it writes beside the path under a name of its own, which a killed process would leave there.
        write_bytes(self.path(facts), save(content, seals.seal(facts, content)))

    def making(self, wanted: Iterable[Facts]) -> AbstractContextManager[None]:
        """Let nobody else make these entries in the block; whoever waited looks whether they are there by now.

        Raises:
            BenchmarkError: the folder cannot be written to, or has no locks.
        """
        return locking.all_held(self.path(facts) for facts in wanted)
