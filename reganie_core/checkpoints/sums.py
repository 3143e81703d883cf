"""SHA-256 sums of a domain's files: ``domain.json`` may hold ``"sha256": {"generator.safetensors": "<64 hex>"}``.

They find damage and files that do not belong together. They are no seal: who can change a file can change its sum.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import CorruptCheckpointError

MANIFEST = "domain.json"
MAX_MANIFEST = 1 << 20
MAX_SUMS = 1024
_SUM = re.compile(r"[0-9a-f]{64}")


def valid_sums(value: Any) -> bool:
    """Whether a manifest's ``sha256`` entry is a table of file names and hex sums."""
    return isinstance(value, dict) and len(value) <= MAX_SUMS and all(
        isinstance(v, str) and _SUM.fullmatch(v) for v in value.values()
    )


def expected_sum(path: str | os.PathLike[str]) -> str | None:
    """The sum that the manifest beside a file states for it; None without one.

    A manifest that cannot be read states nothing here: it is refused where a domain is loaded.
    """
    path = Path(path)
    try:
        with open(path.parent / MANIFEST, "rb") as handle:
            manifest = json.loads(handle.read(MAX_MANIFEST))
    except (OSError, ValueError, RecursionError):
        return None
    sums = manifest.get("sha256") if isinstance(manifest, dict) else None
    return sums.get(path.name) if isinstance(sums, dict) and valid_sums(sums) else None


def check_sum(handle: BinaryIO, path: str | os.PathLike[str]) -> None:
    """Compare an open file with the sum that the manifest beside ``path`` states; does nothing without one.

    Raises:
        CorruptCheckpointError: another content.
    """
    wanted = expected_sum(path)
    if wanted is None:
        return
    handle.seek(0)
    digest = hashlib.sha256()
    while block := handle.read(1 << 20):
        digest.update(block)
    found = digest.hexdigest()
    if found != wanted:
        raise CorruptCheckpointError(
            f"'{Path(path).name}' is not the file that {MANIFEST} beside it describes (SHA-256 {found[:12]}..., not "
            f"{wanted[:12]}...): it is damaged or was replaced. Get it again; if you replaced it on purpose, package "
            'the domain again with trainer/package.py, or delete its line under "sha256".'
        )
