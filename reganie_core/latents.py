"""What a latent code is: W+ vectors, what an inversion changes beside them, and which generator they belong to."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .belonging import differ, fingerprint_of
from .errors import CorruptCheckpointError, InputError, MismatchError
from .images import clamp

if TYPE_CHECKING:
    from .networks.stylegan2 import Generator

__all__ = ["Latent", "blend", "concatenate", "load_latent", "render", "save_latent", "synthesize"]


@dataclass(frozen=True)
class Latent:
    """A batch of latent codes.

    Attributes:
        ws: ``[B,num_ws,w_dim]``; W is W+ with equal rows.
        offsets: StyleSpace additions, index of the style vector -> ``[B,channels]`` (StyleCLIP's global edits chain).
        changes: additions to the generator's own parameters for each image, name -> ``[B,*shape]`` (pivotal tuning).
        generator: fingerprint of the generator they belong to; None when unknown.
        features: maps injected into the generator's layers, "b64.conv0" -> ``[B,2,C,h,w]`` = (scale, shift) (HFGI).
        residual: what the inversion missed, ``[B,3,s,s]``; ``aligner`` makes features of it.
        aligner: ``aligner.features(residual, picture) -> features`` fits the features to the picture of the codes as
            they are now, so that they follow an edit. It is not stored in files; without it ``features`` stand still.
    """

    ws: Tensor
    offsets: Mapping[int, Tensor] = field(default_factory=dict)
    changes: Mapping[str, Tensor] = field(default_factory=dict)
    generator: str | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)
    residual: Tensor | None = None
    aligner: Any = None  # a network

    def __post_init__(self) -> None:
        ws = self.ws
        if not isinstance(ws, Tensor) or ws.ndim != 3 or 0 in ws.shape or not ws.is_floating_point():
            found = list(ws.shape) if isinstance(ws, Tensor) else type(ws).__name__
            raise InputError(f"A latent holds floats [B,num_ws,w_dim], found {found}.")
        residual = {} if self.residual is None else {"residual": self.residual}
        parts = (*self.offsets.items(), *self.changes.items(), *self.features.items(), *residual.items())
        for name, tensor in parts:
            if tensor.shape[:1] != self.ws.shape[:1]:
                raise InputError(
                    f"Latent part {name} is for {list(tensor.shape[:1])} images, the codes are "
                    f"{self.batch}."
                )

    @property
    def batch(self) -> int:
        """Number of codes."""
        return self.ws.shape[0]

    @property
    def num_ws(self) -> int:
        """Style vectors per code."""
        return self.ws.shape[1]

    @property
    def w_dim(self) -> int:
        """Length of a style vector."""
        return self.ws.shape[2]

    def with_ws(self, ws: Tensor) -> Latent:
        """The same latent with edited codes; offsets and changes stay."""
        return replace(self, ws=ws)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Latent:
        offsets = {index: function(tensor) for index, tensor in self.offsets.items()}
        changes = {name: function(tensor) for name, tensor in self.changes.items()}
        features = {name: function(tensor) for name, tensor in self.features.items()}
        residual = None if self.residual is None else function(self.residual)
        return replace(self, ws=function(self.ws), offsets=offsets, changes=changes, features=features,
                       residual=residual)

    def to(self, device: torch.device | str) -> Latent:
        """The latent on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def __getitem__(self, index: int | slice | Sequence[int]) -> Latent:
        """Some of the codes; the batch dimension stays."""
        if isinstance(index, int):
            if not -self.batch <= index < self.batch:
                raise IndexError(f"Code {index} of a latent with {self.batch}.")
            index = [index % self.batch]
        rows = index if isinstance(index, slice) else list(index)
        return self._map(lambda tensor: tensor[rows])

    def __len__(self) -> int:
        return self.batch

    def repeat_interleave(self, times: int) -> Latent:
        """Each code ``times`` times, image-major: the order in which one difference serves several edits."""
        return self._map(lambda tensor: tensor.repeat_interleave(times, 0))

    def check(self, generator: Generator) -> None:
        """Raise :class:`MismatchError` unless the codes belong to ``generator``: sizes, fingerprints when known."""
        if (self.num_ws, self.w_dim) != (generator.num_ws, generator.w_dim):
            raise MismatchError(
                f"The latent has {self.num_ws} style vectors of {self.w_dim}, the generator takes {generator.num_ws} "
                f"of {generator.w_dim}: it was made for another generator. Invert the picture again with this one."
            )
        if differ(self.generator, generator):
            raise MismatchError(
                f"The latent belongs to generator {self.generator}, but this is {fingerprint_of(generator)}. Use "
                "the one it was made with, or invert the picture again."
            )


def concatenate(latents: Sequence[Latent]) -> Latent:
    """One batch from several latents of the same generator; missing offsets, changes and features count as zero.

    Features follow edits only where all latents have the same aligner; otherwise they stay as they are.

    Raises:
        InputError: nothing to concatenate.
        MismatchError: different generators or sizes.
    """
    if not latents:
        raise InputError("There is no latent to concatenate.")
    first = latents[0]
    owners = {latent.generator for latent in latents if latent.generator is not None}
    if len(owners) > 1 or len({latent.ws.shape[1:] for latent in latents}) > 1:
        shapes = sorted({tuple(latent.ws.shape[1:]) for latent in latents})
        raise MismatchError(f"Latents of different generators cannot be joined: {sorted(owners)}, sizes {shapes}.")

    def join(parts: list[Mapping[Any, Tensor]]) -> dict[Any, Tensor]:
        shapes = {key: tensor for part in parts for key, tensor in part.items()}
        return {
            key: torch.cat([
                part[key] if key in part else like.new_zeros(latent.batch, *like.shape[1:])
                for part, latent in zip(parts, latents, strict=True)
            ])
            for key, like in shapes.items()
        }

    residuals = [latent.residual for latent in latents if latent.residual is not None]
    aligned = len(residuals) == len(latents) and all(latent.aligner is first.aligner for latent in latents)
    return replace(
        first,
        features=join([latent.features for latent in latents]),
        residual=torch.cat(residuals) if aligned else None,
        aligner=first.aligner if aligned else None,
        ws=torch.cat([latent.ws for latent in latents]),
        offsets=join([latent.offsets for latent in latents]),
        changes=join([latent.changes for latent in latents]),
        generator=owners.pop() if owners else None,
    )


def blend(first: Latent, second: Latent, amount: float, layers: Sequence[int] | None = None) -> Latent:
    """``first`` at 0, ``second`` at 1, both bit for bit; linear between and beyond.

    Args:
        amount: a finite number.
        layers: style vectors to blend, the others stay ``first``'s; None for all.

    A latent of one code goes with every code of the other.

    Raises:
        InputError: an amount that is not finite, batches that do not pair, or single layers of latents that carry
            StyleSpace offsets or generator changes (these belong to no single style vector).
        MismatchError: latents of different generators.
    """
    if not math.isfinite(amount):
        raise InputError(f"The amount of a blend must be a finite number, found {amount}.")
    extra = any(x.offsets or x.changes or x.features for x in (first, second))
    if layers is not None and extra:
        raise InputError("A latent with StyleSpace edits or generator changes blends as a whole; set layers to all.")
    if first.batch != second.batch and 1 not in (first.batch, second.batch):
        raise InputError(f"There are {first.batch} and {second.batch} codes to blend; give as many, or one.")
    size = max(first.batch, second.batch)
    first, second = (x if x.batch == size else x.repeat_interleave(size) for x in (first, second))
    joined = concatenate([first, second])  # checks that they fit, and fills missing parts with zeros
    ws = torch.lerp(joined.ws[:size], joined.ws[size:], float(amount))
    if layers is not None:
        unchanged = torch.ones(ws.shape[1], dtype=torch.bool, device=ws.device)
        unchanged[list(layers)] = False
        ws = torch.where(unchanged[:, None], joined.ws[:size], ws)
    mixed = joined._map(lambda tensor: torch.lerp(tensor[:size], tensor[size:], float(amount)))
    return replace(mixed, ws=ws)


def synthesize(generator: Generator, latent: Latent, noise: str = "const", chunk: int = 8) -> Tensor:
    """G(latent) -> ``[B,3,R,R]`` clamped to [-1,1], ``chunk`` images at a time; differentiable in the codes.

    Raises:
        MismatchError: the latent belongs to another generator, or its offsets do not fit.
    """
    return clamp(render(generator, latent, noise, chunk))


def render(generator: Generator, latent: Latent, noise: str = "const", chunk: int = 8) -> Tensor:
    """:func:`synthesize` without the clamp: what iterative inversions measure."""
    latent.check(generator)
    size = 1 if latent.changes else max(1, chunk)  # changed parameters belong to one image
    parts = [_render_part(generator, latent[i : i + size], noise) for i in range(0, latent.batch, size)]
    return torch.cat(parts)


def _render_part(generator: Generator, latent: Latent, noise: str) -> Tensor:
    paint = _synthesize_changed if latent.changes else _synthesize_plain
    if latent.aligner is None or latent.residual is None:
        return paint(generator, latent, noise)
    bare = replace(latent, features={}, residual=None, aligner=None)
    aligner = latent.aligner.to(latent.ws.device)  # it is small and follows the codes
    features = aligner.features(latent.residual, clamp(paint(generator, bare, noise)))
    return paint(generator, replace(bare, features=features), noise)


def _synthesize_plain(generator: Generator, latent: Latent, noise: str) -> Tensor:
    more = {"features": latent.features} if latent.features else {}
    if not latent.offsets:
        return generator.synthesis(latent.ws, noise=noise, **more).float()
    styles = list(generator.synthesis.styles(latent.ws))
    for index, offset in latent.offsets.items():
        if not 0 <= index < len(styles) or styles[index].shape != offset.shape:
            raise MismatchError(
                f"The StyleSpace offset {index} of shape {list(offset.shape)} does not fit this "
                "generator."
            )
        styles[index] = styles[index] + offset
    return generator.synthesis(styles=styles, noise=noise, **more).float()


class _Plain(nn.Module):
    """The plain synthesis as a module, so that ``functional_call`` can run it with other parameters."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latent: Latent, noise: str) -> Tensor:
        return _synthesize_plain(self.generator, latent, noise)


def _synthesize_changed(generator: Generator, latent: Latent, noise: str) -> Tensor:
    """One image by a generator whose parameters are changed for this image only."""
    own = dict(generator.named_parameters())
    bad = [name for name, change in latent.changes.items() if name not in own or own[name].shape != change.shape[1:]]
    if bad:
        raise MismatchError(f"The latent changes parameters this generator does not have: {', '.join(bad[:3])}.")
    changed = {f"generator.{name}": own[name] + change[0] for name, change in latent.changes.items()}
    plain = replace(latent, changes={})
    return torch.func.functional_call(_Plain(generator), changed, (plain, noise))


def save_latent(latent: Latent, path: str | os.PathLike[str], provenance: Mapping[str, Any] | None = None) -> None:
    """Write a latent as our safetensors (kind "latent"); exact float32 values. An aligner is not part of it."""
    from .checkpoints import save_checkpoint

    tensors = {"ws": latent.ws.detach().cpu().float()}
    tensors |= {f"offset.{index}": tensor.detach().cpu().float() for index, tensor in latent.offsets.items()}
    tensors |= {f"change.{name}": tensor.detach().cpu().float() for name, tensor in latent.changes.items()}
    tensors |= {f"feature.{name}": tensor.detach().cpu().float() for name, tensor in latent.features.items()}
    if latent.residual is not None:
        tensors["residual"] = latent.residual.detach().cpu().float()
    config = {"num_ws": latent.num_ws, "w_dim": latent.w_dim, "batch": latent.batch, "generator": latent.generator}
    save_checkpoint(path, "latent", config, tensors, dict(provenance or {}))


def load_latent(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Latent:
    """Read what :func:`save_latent` wrote, or the bare codes of another program, whose generator is unknown.

    Raises:
        ReganieError: what ``read_checkpoint`` raises; a file without codes.
        CorruptCheckpointError: tensors or metadata that make no latent.
    """
    from .checkpoints import read_checkpoint
    from .checkpoints.codes import read_codes

    bare = read_codes(path)
    if bare is not None:
        return Latent(bare).to(device)
    checkpoint = read_checkpoint(path, "latent")
    offsets: dict[int, Tensor] = {}
    changes: dict[str, Tensor] = {}
    features: dict[str, Tensor] = {}
    for name, tensor in checkpoint.tensors.items():
        if not tensor.is_floating_point():
            raise CorruptCheckpointError(f"{os.path.basename(path)}: the tensor {repr(name)[:80]} is no code.")
        tensor = tensor.float()
        index = re.fullmatch(r"offset\.(\d{1,3})", name)
        if index:
            offsets[int(index[1])] = tensor
        elif name.startswith("change."):
            changes[name.removeprefix("change.")] = tensor
        elif name.startswith("feature."):
            features[name.removeprefix("feature.")] = tensor
    owner = checkpoint.config.get("generator")
    if "ws" not in checkpoint.tensors or not (owner is None or isinstance(owner, str)):
        raise CorruptCheckpointError(f"{os.path.basename(path)} is of kind latent but holds no codes.")
    try:
        residual = checkpoint.tensors.get("residual")
        return Latent(checkpoint.tensors["ws"].float(), offsets, changes, owner, features, residual).to(device)
    except InputError as error:
        raise CorruptCheckpointError(f"{os.path.basename(path)} holds an unusable latent: {error}") from error
