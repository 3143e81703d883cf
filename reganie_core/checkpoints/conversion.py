"""Any dialect to our safetensors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..kinds import KINDS, of_network
from .files import sha256_of
from .loading import build, choose, is_ours, naming, provenance_of, read_tensors
from .ours import fingerprint, read_checkpoint, save_checkpoint
from .source import open_source


@torch.inference_mode(False)
def convert(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    kind: str | None = None,
    encoder_type: str | None = None,
    dtype: torch.dtype | None = None,
) -> dict[str, Any]:
    """Write the network or directions of ``src`` as one of our files.

    Args:
        src: a file of any dialect; it is never changed.
        dst: ends in ``.safetensors``; replaced if it exists and is not ``src``.
        kind: which part of a file with several ("generator", "discriminator", "encoder", "directions"); None takes
            the main one (the encoder of an e4e file, else the generator).
        encoder_type: as for ``load_encoder``.
        dtype: stored dtype of the floating tensors, for example ``torch.float16``; None keeps float32.

    Returns:
        ``{"kind", "dialect", "config", "fingerprint", "provenance"}`` of what was written.

    Raises:
        InputError: ``dst`` is not a safetensors name, or is ``src``.
        ReganieError: as the loaders.
    """
    src, dst = Path(src), Path(dst)
    if dst.suffix != ".safetensors":
        raise InputError(f"'{dst.name}' must end in .safetensors, the format that is written.")
    if dst.exists() and src.exists() and os.path.samefile(src, dst):
        raise InputError(f"'{dst.name}' is the source itself, which is never overwritten. Choose another name.")
    with naming(src):
        source = open_source(src)
        if is_ours(source):
            checkpoint = read_checkpoint(src, kind)
            found, config, provenance = checkpoint.kind, checkpoint.config, checkpoint.provenance
            tensors, dialect = checkpoint.tensors, "reganie"
        else:
            part = choose(source, kind, encoder_type)
            tensors = read_tensors(part)
            found, config, dialect = part.kind, part.config, part.dialect
            provenance = {**provenance_of(source, part), "sha256": sha256_of(src)}
        if found in of_network() and KINDS[found].loader != "load_editor":
            build(found, config, tensors)  # nothing is written that the loaders would refuse
    save_checkpoint(dst, found, config, tensors, provenance, dtype)
    return {
        "kind": found,
        "dialect": dialect,
        "config": config,
        "fingerprint": fingerprint(tensors if dtype is None else read_checkpoint(dst).tensors),
        "provenance": provenance,
    }
