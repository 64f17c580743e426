"""Tensors on disk, keyed by a hash of everything that made them. Safetensors only: data, never code."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from regunlearn.benchmark.atomic import replacing

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
            if metadata.get("sha256") != _digest(tensors):
                raise ValueError("its content does not match its sha256")
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
        metadata = {"facts": json.dumps(facts, sort_keys=True), "sha256": _digest(content)}
        with replacing(self.path(facts)) as temporary:
            try:
                save_file(content, temporary, metadata=metadata)
            except SafetensorError as error:  # hides the errno of a full disk
                raise OSError(str(error)) from error


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].contiguous()
        digest.update(f"{name}|{values.dtype}|{tuple(values.shape)}|".encode())
        if values.numel():  # an empty tensor may have a stride that no view can have
            digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
