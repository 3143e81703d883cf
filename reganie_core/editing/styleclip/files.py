"""Reading text editors: ours (statistics and, beside them, the text encoder), public mappers and public tables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...belonging import differ, trained_with
from ...checkpoints import fingerprint, read_checkpoint
from ...checkpoints.directions import control_name
from ...checkpoints.records import ArrayRecord
from ...errors import CorruptCheckpointError, InputError, MismatchError, NotFoundError, ReganieError
from ...paths import safe_join
from ...text import TextImageEncoder, load_text_encoder
from .editor import MapperEditor, StyleCLIPEditor
from .stylespace import StyleStatistics

__all__ = ["ENCODER_FILE", "load_styleclip_editor", "load_statistics", "read_public_tables"]

#: The text encoder of a statistics file lies beside it under this name, unless the file says another one.
ENCODER_FILE = "text.safetensors"
TABLES = ("fs3.npy", "S_mean_std")
CLIP_FOLDER = "clip"
MAX_VECTORS = 64


def load_styleclip_editor(path: str | os.PathLike[str], device: torch.device | str = "cpu",
                          encoder: TextImageEncoder | str | os.PathLike[str] | None = None
                          ) -> StyleCLIPEditor | MapperEditor:
    """A text editor from one of three things.

    - our file of kind "styleclip": global directions, whose text encoder lies beside it, or a mapper;
    - a public mapper ``.pt``;
    - a folder with ``fs3.npy`` and ``S_mean_std``, and CLIP's files in its folder ``clip``.

    Args:
        encoder: a text-image encoder, or its file or folder, in place of the one beside the statistics.

    Raises:
        NotFoundError: a file or the text encoder is missing; the message says where it is looked for.
        CheckpointError: a file that cannot be read.
        MismatchError: a text encoder that is not the one the statistics were made with.
    """
    path = Path(path)
    if path.is_dir():
        statistics = read_public_tables(path)
        return StyleCLIPEditor(statistics, _encoder(encoder, path / CLIP_FOLDER), provenance={
            "source": path.name}).to(device)
    kind, config, tensors, provenance = _read(path)
    del kind
    try:
        if config.get("mode") == "mapper":
            return _mapper(config, tensors, provenance, path.stem).to(device)
        return _global(config, tensors, provenance, path, encoder).to(device)
    except (InputError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ReganieError) and type(error) is not InputError:
            raise
        raise CorruptCheckpointError(f"{path.name} holds an unusable text editor: {error}") from error


def _read(path: Path) -> tuple[str, dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    from ...checkpoints.loading import choose, is_ours, naming, provenance_of, read_tensors
    from ...checkpoints.source import open_source

    with naming(path):
        source = open_source(path)
        if is_ours(source):
            ours = read_checkpoint(path, "styleclip")
            return ours.kind, ours.config, ours.tensors, ours.provenance
        part = choose(source, "styleclip")
        return part.kind, part.config, read_tensors(part), provenance_of(source, part)


def _mapper(config: Mapping[str, Any], tensors: dict[str, Tensor], provenance: dict[str, Any],
            stem: str) -> MapperEditor:
    from ...checkpoints.loading import build

    network = {key: value for key, value in config.items() if key not in ("mode", "prompt", "name")}
    name = control_name(str(config.get("name") or stem), "mapper")
    prompt = config.get("prompt")
    about = f"Trained for: {prompt}" if isinstance(prompt, str) and prompt.isprintable() else "A trained mapper."
    net = build("styleclip", network, tensors)
    return MapperEditor(net, name, about[:300], fingerprint(tensors), provenance)


def _global(config: Mapping[str, Any], tensors: dict[str, Tensor], provenance: dict[str, Any], path: Path,
            encoder: TextImageEncoder | str | os.PathLike[str] | None) -> StyleCLIPEditor:
    settings = {key: config[key] for key in ("method", "neutral", "strength", "threshold") if key in config}
    beside = safe_join(path.parent, str(config.get("text_encoder", ENCODER_FILE)))
    found = _encoder(encoder, beside)
    wanted = trained_with(provenance).get("text_encoder")
    if differ(wanted, found):
        raise MismatchError(f"{path.name} was made with text encoder {repr(wanted)[:40]}, but this is "
                            f"{found.fingerprint}. Use the one it was made with, or compute the directions again.")
    return StyleCLIPEditor(load_statistics(config, tensors), found, fingerprint=fingerprint(tensors),
                           provenance=provenance, **settings)


def _encoder(given: TextImageEncoder | str | os.PathLike[str] | None, beside: Path) -> TextImageEncoder:
    if given is not None and not isinstance(given, str | os.PathLike):
        return given
    place = Path(given) if given is not None else beside
    if not place.exists():
        what = ("CLIP ViT-B/32 (model.safetensors, vocab.json, merges.txt) into this folder"
                if place.name == CLIP_FOLDER else "the text encoder that the editor was made with under this name")
        raise NotFoundError(f"The text encoder is missing: there is no {place}. Put {what}.")
    return load_text_encoder(place)


def load_statistics(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> StyleStatistics:
    """Statistics from the tensors of one of our files. Raises InputError or KeyError where they do not fit."""
    widths = config["widths"]
    if not isinstance(widths, list) or not all(type(w) is int and 0 < w <= 4096 for w in widths):
        raise InputError("its style vectors have no lengths.")
    return StyleStatistics(tensors["directions"], tensors["mean"], tensors["std"], tuple(widths),
                           tensors.get("response"), tensors.get("embeddings"))


def read_public_tables(folder: str | os.PathLike[str]) -> StyleStatistics:
    """StyleCLIP's ``fs3.npy`` and ``S_mean_std`` (a pickle of plain arrays, read without unpickling anything else).

    Raises:
        NotFoundError: a file is missing.
        CheckpointError: a file that is unsafe or damaged.
        MismatchError: tables of different generators.
    """
    from ...checkpoints.source import open_source

    folder = Path(folder)
    for name in TABLES:
        if not (folder / name).is_file():
            raise NotFoundError(f"The folder {folder} lacks {name}. StyleCLIP's global directions need {TABLES[0]} and "
                                f"{TABLES[1]}, both from its repository (global_torch/npy/ffhq).")
    directions = _array(open_source(folder / TABLES[0]).root, TABLES[0]).float()
    root = open_source(folder / TABLES[1]).root
    if not isinstance(root, list | tuple) or len(root) != 2 or not all(isinstance(p, list | tuple) for p in root):
        raise CorruptCheckpointError(f"{TABLES[1]} must hold a list of means and a list of deviations.")
    means, stds = ([_array(item, TABLES[1]).flatten().float() for item in part[:MAX_VECTORS]] for part in root)
    if len(means) != len(stds) or not means or directions.ndim != 2:
        raise CorruptCheckpointError(f"{TABLES[0]} and {TABLES[1]} hold no channel directions and deviations.")
    return StyleStatistics(directions, torch.cat(means), torch.cat(stds), tuple(len(m) for m in means))


def _array(value: Any, name: str) -> Tensor:
    record = value.tensor if isinstance(value, ArrayRecord) else value
    if record is None or not hasattr(record, "read"):
        raise CorruptCheckpointError(f"{name} holds something that is no array of numbers.")
    return record.read()
