"""Seals: what a file carries that tells whether it is whole, and what it was written as.

A file without a seal, or with one that does not fit, is not believed: whoever reads it makes it again.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def seal(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return what is written beside tensors: the facts that name them, and the sha256 of names, types and numbers."""
    return {"facts": json.dumps(facts, sort_keys=True), "sha256": digest_of(tensors)}


def require(found: Mapping[str, str], facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Check tensors that were read against the seal beside them, and the seal against what was asked for.

    Raises:
        ValueError: there is no seal, it is that of another entry, or the tensors are not those that were written.
    """
    if "sha256" not in found or "facts" not in found:
        raise ValueError("it has no seal")
    if found["facts"] != json.dumps(facts, sort_keys=True):
        raise ValueError("it is another entry than its name says")
    if found["sha256"] != digest_of(tensors):
        raise ValueError("its content does not match its sha256")


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of tensors by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].contiguous()
        digest.update(f"{name}|{values.dtype}|{tuple(values.shape)}|".encode())
        if values.numel():  # an empty tensor may have a stride that no view can have
            digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
