"""DyStyle: a latent editor whose structure and parameters depend on what is asked (Li, Cai et al., arXiv 2109.10737).

From the paper: one expert per attribute, active only when that attribute is edited; experts see the latent code and
the target; their proposals are fused for every style layer by attention over the active experts; numeric and binary
attributes in one pass; the result is a residual on the W+ code. No code or weights of it are public.

Ours: an expert proposes `change * (direction + nonlinear mix of a bank of directions)`, so "no change" is exact and
small changes act like a linear direction; a mask, not a Python branch, switches experts (one stacked tensor serves all
of them); attention weights are scaled so that equal attention means plain addition; a small head reads the present
attributes from the code, so that changes and absolute targets are the same question.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError, MismatchError
from .layers import EqualLinear, GroupedLinear, leaky_relu

KINDS = ("numeric", "binary")
SOFTNESS = 0.02       # change, in standard deviations, at which an expert counts half when experts are weighed
SHARPNESS = 2.0       # attention scores lie within +- this


@dataclass(frozen=True)
class DyStyleConfig:
    """What rebuilds the editor.

    names, kinds, mean, std: one entry per attribute; mean and std in its unit (binary: not used, write 0 and 1).
    reader, trunk: hidden widths; expert: width of each expert; bank: directions that each expert mixes; attention:
    width of queries and keys.
    """

    num_ws: int
    w_dim: int
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    reader: int = 256
    trunk: int = 256
    expert: int = 96
    bank: int = 64
    attention: int = 32

    def __post_init__(self) -> None:
        for name in ("names", "kinds", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        count = len(self.names)
        if not count or len(set(self.names)) < count:
            raise InputError(f"An editor needs attributes with different names, found {self.names}.")
        if not count == len(self.kinds) == len(self.mean) == len(self.std) or set(self.kinds) - set(KINDS):
            raise InputError(f"{count} attributes need as many kinds ({', '.join(KINDS)}), means and deviations; found "
                             f"{self.kinds}, {self.mean} and {self.std}.")
        sizes = (self.num_ws, self.w_dim, self.reader, self.trunk, self.expert, self.bank, self.attention)
        if min(sizes) < 1 or not min(self.std) > 0 or not all(map(math.isfinite, (*self.mean, *self.std))):
            raise InputError(f"Sizes and deviations must be positive and finite; found {sizes} and {self.std}.")


class Experts(nn.Module):
    """K experts as stacked tensors: features of the code and each one's condition -> a direction per style layer."""

    CONDITION = 4

    def __init__(self, config: DyStyleConfig) -> None:
        super().__init__()
        count, width = len(config.names), config.expert
        self.features = EqualLinear(config.trunk, count * width)
        self.condition = GroupedLinear(count, self.CONDITION, width)
        self.hidden = GroupedLinear(count, width, width)
        self.condition_hidden = GroupedLinear(count, self.CONDITION, width)
        self.mix = GroupedLinear(count, width, config.bank, zero=True)
        self.bank = nn.Parameter(torch.randn(count, config.bank, config.num_ws * config.w_dim))
        self.direction = nn.Parameter(torch.zeros(count, config.num_ws * config.w_dim))
        self.gain = 1.0 / math.sqrt(config.bank)
        self.shape = (count, config.num_ws, config.w_dim)

    def forward(self, features: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """features [B,trunk], condition [B,K,4] -> directions [B,K,num_ws,w_dim] and hidden states [B,K,expert]."""
        batch, (count, _, _) = features.shape[0], self.shape
        x = leaky_relu(self.features(features).view(batch, count, -1) + self.condition(condition))
        x = leaky_relu(self.hidden(x) + self.condition_hidden(condition))
        mixed = torch.bmm(self.mix(x).transpose(0, 1), self.bank * self.gain).transpose(0, 1)
        return (mixed + self.direction).view(batch, *self.shape), x


class DyStyle(nn.Module):
    """ws [B,num_ws,w_dim] and changes [B,K] -> edited ws; see the module's docstring.

    Buffers `center` [w_dim] and `spread` [] standardise codes: mean and typical deviation of the generator's w.
    """

    def __init__(self, config: DyStyleConfig) -> None:
        super().__init__()
        self.config = config
        count, width = len(config.names), config.num_ws * config.w_dim
        self.center: Tensor
        self.spread: Tensor
        self.binary: Tensor
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("center", torch.zeros(config.w_dim))
        self.register_buffer("spread", torch.ones(1))
        binary = torch.tensor([kind == "binary" for kind in config.kinds])
        constants = {
            "binary": binary,
            "mean": torch.where(binary, 0.0, torch.tensor(config.mean)),
            "std": torch.where(binary, 1.0, torch.tensor(config.std)),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self.reader = nn.Sequential(EqualLinear(width, config.reader, activation=True),
                                    EqualLinear(config.reader, config.reader, activation=True),
                                    EqualLinear(config.reader, count))
        self.trunk = nn.Sequential(EqualLinear(width, config.trunk, activation=True),
                                   EqualLinear(config.trunk, config.trunk, activation=True))
        self.experts = Experts(config)
        self.query = nn.Parameter(torch.zeros(config.num_ws, config.w_dim, config.attention))
        self.query_bias = nn.Parameter(torch.zeros(config.num_ws, config.attention))
        self.key = GroupedLinear(count, config.expert, config.attention)

    def standardised(self, ws: Tensor) -> Tensor:
        """(ws - center) / spread in the weights' dtype. Raises MismatchError for codes of another size."""
        if ws.dim() != 3 or ws.shape[1:] != (self.config.num_ws, self.config.w_dim):
            raise MismatchError(
                f"Latent codes have the shape {list(ws.shape)}, this editor takes [B,{self.config.num_ws},"
                f"{self.config.w_dim}]: they were made for another generator.")
        return (ws.to(self.center.dtype) - self.center) / self.spread

    def logits(self, ws: Tensor) -> Tensor:
        """The head's reading [B,K]: standardised numeric values, logits of binary ones. Its layers see no other loss
        when the caller passes `current` to :meth:`forward`."""
        return self.reader(self.standardised(ws).flatten(1))

    def read(self, ws: Tensor) -> Tensor:
        """The attributes that the code has now [B,K]: numeric in their units, binary as probabilities (ours)."""
        y = self.logits(ws)
        return torch.where(self.binary, torch.sigmoid(y), y * self.std + self.mean)

    def forward(self, ws: Tensor, change: Tensor, active: Tensor | None = None,
                current: Tensor | None = None) -> Tensor:
        """Edited codes of the shape and dtype of `ws`; differentiable in all arguments.

        Args:
            ws: [B,num_ws,w_dim].
            change: [B,K]; numeric: amount to add, in units. Binary: from -1 (off) over 0 (as it is) to +1 (on).
            active: bool [B,K]; None: wherever `change` is not 0. An expert that is not active, or whose change is 0,
                has no influence and gets no gradient; rows without any active expert return bit for bit.
            current: [B,K] present attributes as :meth:`read` gives them; None: read from the codes.

        Raises:
            MismatchError: codes or changes of another size.
        """
        x = self.standardised(ws)
        if change.shape != (ws.shape[0], len(self.config.names)):
            raise MismatchError(f"{list(change.shape)} changes for {ws.shape[0]} codes and {len(self.config.names)} "
                                f"attributes; give [B,{len(self.config.names)}].")
        current = self.read(ws) if current is None else current
        active = change != 0 if active is None else active & (change != 0)
        step = torch.where(active, change.to(x.dtype), 0.0) / self.std
        directions, hidden = self.experts(self.trunk(x.flatten(1)), self.condition(step, current))
        weights = self.attention(x, hidden, step) * step[:, None, :]
        offset = torch.einsum("bnk,bknd->bnd", weights, directions) * self.spread
        return torch.where(active.any(dim=1)[:, None, None], ws + offset.to(ws.dtype), ws)

    def condition(self, step: Tensor, current: Tensor) -> Tensor:
        """The condition of each expert [B,K,4]: change, present value and target, standardised, and 1.

        For a binary attribute it says only whether it goes on or off, so the path from "as it is" is a straight line.
        """
        now = torch.where(self.binary, 2.0 * current - 1.0, (current - self.mean) / self.std)
        asked = torch.where(self.binary, step.sign(), step)
        target = torch.where(self.binary, asked, now + step)
        return torch.stack([asked, now, target, torch.ones_like(now)], dim=2)

    def attention(self, x: Tensor, hidden: Tensor, step: Tensor) -> Tensor:
        """Weights [B,num_ws,K] of the experts in each style layer: softmax over the active ones times how many they
        are. One alone has weight 1; a vanishing change lets its expert fade out instead of switching off."""
        query = torch.einsum("bnd,nda->bna", x, self.query) / math.sqrt(self.config.w_dim) + self.query_bias
        scores = torch.einsum("bna,bka->bnk", query, self.key(hidden)) / math.sqrt(self.config.attention)
        size = step.abs()
        gate = size / (size + SOFTNESS)
        votes = torch.exp(SHARPNESS * torch.tanh(scores / SHARPNESS)) * gate[:, None, :]
        share = votes / votes.sum(dim=2, keepdim=True).clamp_min(1e-12)
        effective = gate.sum(dim=1) / gate.amax(dim=1).clamp_min(1e-12)
        return share * effective[:, None, None]
