"""From a file to a network that is ready to use."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from ..errors import (
    CheckpointError,
    CorruptCheckpointError,
    ReganieWarning,
    UnsupportedCheckpointError,
    WrongKindError,
)
from ..kinds import KINDS, of_network
from .building import build, check_shapes, skeleton
from .dialects import explain_unknown, recognise
from .ours import Checkpoint, check_finite, check_kind, describe, fingerprint, read_checkpoint
from .parts import Part
from .source import Source, open_source

if TYPE_CHECKING:
    from ..networks.discriminator import Discriminator
    from ..networks.face_detector import FaceDetectorNet
    from ..networks.rectifier import Rectifier
    from ..networks.stylegan2 import Generator
    from ..networks.text_image import TextImageNet

AVERAGE_SAMPLES = 8192


@torch.inference_mode(False)
def load_generator(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Generator:
    """A StyleGAN2 generator from any dialect: rosinality, NVIDIA, PTI, the decoder of e4e / pSp, or our own.

    It is in eval mode, without gradients on its weights, and carries ``fingerprint`` (16 hex characters),
    ``provenance`` (a table) and ``source`` (the file name).

    Raises:
        NotFoundError, InputError: no such file.
        UnsafeCheckpointError: the file asks for something outside the allow-list; nothing was executed.
        CorruptCheckpointError, UnsupportedCheckpointError: damaged, or of a dialect that is not read.
        WrongKindError: a readable file without a generator; the message says which loader reads it.
    """
    return _load(path, "generator", device)


@torch.inference_mode(False)
def load_discriminator(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Discriminator:
    """A StyleGAN2 discriminator (rosinality ``d``, NVIDIA ``D``, or our own). Raises as ``load_generator``."""
    return _load(path, "discriminator", device)


@torch.inference_mode(False)
def load_encoder(
    path: str | os.PathLike[str], device: torch.device | str = "cpu", encoder_type: str | None = None
) -> nn.Module:
    """An encoder: e4e, pSp or our own. Raises as ``load_generator``.

    Args:
        encoder_type: "e4e", "psp" or "psp-w" (or "Encoder4Editing", "GradualStyleEncoder", "SingleStyleCodeEncoder"),
            for public files that do not say which of them they hold.
    """
    return _load(path, "encoder", device, encoder_type)


@torch.inference_mode(False)
def load_rectifier(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Rectifier:
    """A rectifying network of ours. Raises as ``load_generator``."""
    return _load(path, "rectifier", device)


@torch.inference_mode(False)
def load_face_detector(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> FaceDetectorNet:
    """The networks of a face detector of ours. Raises as ``load_generator``."""
    return _load(path, "face_detector", device)


@torch.inference_mode(False)
def load_text_image(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> TextImageNet:
    """A small text-image network of ours. Raises as ``load_generator``."""
    return _load(path, "text_image", device)


@torch.inference_mode(False)
def load_method(
    path: str | os.PathLike[str], device: torch.device | str = "cpu", encoder_type: str | None = None
) -> tuple[str, nn.Module]:
    """(kind, network) of an inversion method's file: "restyle", "hfgi" or "hyperstyle", or an ordinary "encoder".

    Public files and ours. Raises as ``load_generator``.
    """
    with naming(path):
        source = open_source(path)
        if is_ours(source):
            kind = describe_source(source)[0]
        else:
            kind = choose(source, None, encoder_type).kind
        if not KINDS[kind].inverts:
            raise WrongKindError(
                f"The file is of kind '{kind}', which inverts nothing. Read it with {KINDS[kind].loader}(), or give a "
                f"file of kind {', '.join(name for name, entry in KINDS.items() if entry.inverts)}."
            )
    return kind, _load(path, kind, device, encoder_type)


def kinds(path: str | os.PathLike[str]) -> list[str]:
    """Kinds of everything in a file, the main one first; no weight is read. Raises as ``load_generator``."""
    with naming(path):
        source = open_source(path)
        return [describe_source(source)[0]] if is_ours(source) else [part.kind for part in recognise(source)]


@torch.inference_mode(False)
def load_directions(path: str | os.PathLike[str]) -> Checkpoint:
    """Edit directions as tensors ``direction.<name>`` [1 or num_ws, w_dim], with ``config["controls"]``.

    Reads our files, e4e's ``.pt``, boundaries in ``.npy`` (also flat ones), tables of named directions, rosinality's
    SeFa factors and GANSpace's tables (one control per component, in standard deviations). Raises as
    ``load_generator``.
    """
    with naming(path):
        source = open_source(path)
        if is_ours(source):
            return read_checkpoint(path, "directions")
        part = choose(source, "directions")
        return Checkpoint("directions", part.config, provenance_of(source, part), read_tensors(part))


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put the file's name in front of what is said about it."""
    name = Path(path).name
    try:
        yield
    except CheckpointError as error:
        if name in str(error):
            raise
        raise type(error)(f"'{name}': {error}") from error


def is_ours(source: Source) -> bool:
    return "format_version" in source.metadata


def choose(source: Source, kind: str | None, encoder_type: str | None = None) -> Part:
    """The part of a public file that is of the wanted kind (None: the main one)."""
    parts = recognise(source, encoder_type)
    if not parts:
        explain_unknown(source)
    wanted = parts[:1] if kind is None else [part for part in parts if part.kind == kind]
    for part in wanted:
        if part.problem is None:
            return part
    if wanted:
        assert wanted[0].problem is not None
        raise wanted[0].problem
    found = parts[0].kind
    raise WrongKindError(
        f"The file is of kind '{found}' ({parts[0].dialect} dialect), not '{kind}'. "
        f"Read it with {KINDS[found].loader}(), or give another file."
    )


def _load(
    path: str | os.PathLike[str], kind: str, device: torch.device | str, encoder_type: str | None = None
) -> Any:
    with naming(path):
        source = open_source(path)
        if is_ours(source):
            checkpoint = _read_ours(source, path, kind)
        else:
            part = choose(source, kind, encoder_type)
            tensors = read_tensors(part)
            checkpoint = Checkpoint(kind, part.config, provenance_of(source, part), tensors)
        network = build(checkpoint.kind, checkpoint.config, checkpoint.tensors)
    facts = {"fingerprint": fingerprint(network.state_dict()), "provenance": checkpoint.provenance,
             "source": source.name}
    for name, value in facts.items():
        setattr(network, name, value)
    return network.to(device)


def _read_ours(source: Source, path: str | os.PathLike[str], kind: str) -> Checkpoint:
    """Check kind and shapes by the header before any weight is read."""
    found, config, _ = describe_source(source)
    check_kind(found, kind, source.name)
    check_shapes(skeleton(kind, config), {name: record.shape for name, record in source.root.items()})
    return read_checkpoint(path, kind)


def describe_source(source: Source) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """(kind, config, provenance) of one of our files."""
    return describe(source.metadata, source.name)


def provenance_of(source: Source, part: Part) -> dict[str, Any]:
    """Where the weights of a public file come from; only the file's name, never the path of anybody's machine."""
    return {"source": source.name, "dialect": part.dialect, "container": source.container,
            "notes": [*part.notes, *part.cautions]}


# --- tensors ----------------------------------------------------------------------------------------------------------


def read_tensors(part: Part) -> dict[str, torch.Tensor]:
    """All tensors of a part under our names, checked and completed: everything the network needs, and finite."""
    if part.kind in of_network() and part.kind != "styleclip":
        empty = skeleton(part.kind, part.config)
        expected = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
        optional = {name for name in expected if _may_be_missing(part, name)}
        for name, mapped in part.tensors.items():  # one number is one number, on however many axes
            if name in expected and mapped.shape != expected[name] and math.prod(mapped.shape) == 1:
                if math.prod(expected[name]) == 1:
                    part.tensors[name] = replace(mapped, shape=expected[name])
        check_shapes(empty, {name: m.shape for name, m in part.tensors.items()}, optional)
    else:
        expected = {}
    _check_budget(part)
    _check_filters(part)
    tensors = {name: mapped.read() for name, mapped in part.tensors.items()}
    check_finite(tensors)
    _complete(part, tensors, expected)
    for sentence in part.cautions:
        warnings.warn(sentence, ReganieWarning, stacklevel=2)
    # What is computed from finite weights may overflow all the same.
    check_finite({name: tensors[name] for name in ("mapping.w_avg", "latent_avg") if name in tensors})
    return tensors


def _may_be_missing(part: Part, name: str) -> bool:
    last = name.rsplit(".", 1)[-1]
    return (
        last in ("noise_const", "noise_strength", "num_batches_tracked")
        or (name == "mapping.w_avg" and part.needs_w_avg)
        or (name == "latent_avg" and part.average_from is not None)
    )


def _check_budget(part: Part) -> None:
    """Views may share a storage; together they must not ask for much more than the file holds."""
    wanted = sum(m.record.numel * m.record.dtype.itemsize for m in part.tensors.values())
    if wanted > 2 * part.file_size + (64 << 20):
        raise CorruptCheckpointError(
            "The tensors are together far larger than the file. It was made to do harm: do not use it."
        )


def _check_filters(part: Part) -> None:
    """The FIR filter is a constant of the architecture here; a file with another one is another network."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8.0
    for name, record, gain in part.filters:
        expected = torch.outer(taps, taps) * gain if len(record.shape) == 2 else taps
        if tuple(record.shape) != tuple(expected.shape) or not torch.allclose(
            record.read().float(), expected, rtol=0.0, atol=1e-4
        ):
            raise UnsupportedCheckpointError(
                f"The filter '{name[:80]}' is not the [1,3,3,1] of StyleGAN2, which alone is supported. Use "
                "another network."
            )


def _complete(part: Part, tensors: dict[str, torch.Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Fill in what files of this dialect may lack; the result does not depend on anything but the file."""
    noise = torch.Generator().manual_seed(0)
    missing_noise = []
    for name in expected:  # in the order of the network: the same noises for the same file
        if name in tensors:
            continue
        last = name.rsplit(".", 1)[-1]
        if last == "noise_const":
            tensors[name] = torch.randn(expected[name], generator=noise)
            missing_noise.append(name)
        elif last in ("noise_strength", "num_batches_tracked"):
            tensors[name] = torch.zeros(expected[name], dtype=torch.int64 if last[1] == "u" else torch.float32)
    if missing_noise:
        part.notes.append(f"{len(missing_noise)} noise maps are not in the file; seeded ones (seed 0) are used.")
    if part.kind == "generator" and part.needs_w_avg:
        tensors["mapping.w_avg"] = mean_latent(part.config, tensors)
    if part.average_from is not None:
        generator = part.average_from
        average = mean_latent(generator.config, read_tensors(generator))
        tensors["latent_avg"] = average.repeat(part.config["num_ws"], 1)


def mean_latent(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """w_avg [w_dim]: the mean of 8192 mapped latents, seed 0 (what a file without latent_avg would have stored)."""
    complete = dict(tensors)
    complete.setdefault("mapping.w_avg", torch.zeros(config["w_dim"]))
    mapping = cast("Generator", build("generator", config, complete)).mapping
    z = torch.randn(AVERAGE_SAMPLES, config["z_dim"], generator=torch.Generator().manual_seed(0))
    labels = None
    if classes := config.get("c_dim", 0):
        labels = torch.eye(classes)[torch.arange(AVERAGE_SAMPLES) % classes]
    with torch.no_grad():
        w = [mapping.w(part, None if labels is None else labels[i * 1024 :][:1024]) for i, part in
             enumerate(z.split(1024))]
    return torch.cat(w).double().mean(dim=0).float()
