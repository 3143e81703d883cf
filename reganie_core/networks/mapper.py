"""StyleCLIP's latent mappers (Patashnik et al. 2021, section 5): one network per prompt, latent -> residual.

w' = w + 0.1 M(w). Parameter names follow the public files (``course_mapping`` is theirs).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError, MismatchError
from .layers import EqualLinear

#: The published step: the residual is added times this.
STEP = 0.1
#: Style vectors of the coarse and the medium level; the rest is fine.
COARSE, MEDIUM = slice(0, 4), slice(4, 8)
LAYERS = 4


class LayerNorm1(nn.Module):
    """x / sqrt(mean over axis 1 of x^2).

    Axis 1 of [B,k,w_dim] is the *layer* axis, not the features: the published networks were trained that way.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class LevelMapper(nn.Module):
    """Normalisation and four equalised linear layers (learning rate factor 0.01) with leaky ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [EqualLinear(width, width, lr_multiplier=0.01, activation=True) for _ in range(LAYERS)]
        self.mapping = nn.Sequential(LayerNorm1(), *layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.mapping(x)


@dataclass(frozen=True)
class LevelsMapperConfig:
    """Which of the levels have a network; the others leave their style vectors alone."""

    w_dim: int = 512
    coarse: bool = True
    medium: bool = True
    fine: bool = True

    def __post_init__(self) -> None:
        if self.w_dim < 1 or not (self.coarse or self.medium or self.fine):
            raise InputError("A mapper needs at least one level and a code length of at least 1.")


class LevelsMapper(nn.Module):
    """W+ codes [B,num_ws,w_dim] -> residual of the same shape, one network a level."""

    def __init__(self, config: LevelsMapperConfig) -> None:
        super().__init__()
        self.config = config
        if config.coarse:
            self.course_mapping = LevelMapper(config.w_dim)
        if config.medium:
            self.medium_mapping = LevelMapper(config.w_dim)
        if config.fine:
            self.fine_mapping = LevelMapper(config.w_dim)

    def forward(self, ws: Tensor) -> Tensor:
        levels = ((COARSE, "course_mapping"), (MEDIUM, "medium_mapping"), (slice(8, None), "fine_mapping"))
        parts = []
        for rows, name in levels:
            part = ws[:, rows]
            net = getattr(self, name, None)
            parts.append(net(part) if net is not None and part.shape[1] else torch.zeros_like(part))
        return torch.cat(parts, dim=1)


@dataclass(frozen=True)
class SingleMapperConfig:
    """One network for all style vectors."""

    w_dim: int = 512

    def __post_init__(self) -> None:
        if self.w_dim < 1:
            raise InputError("A mapper needs a code length of at least 1.")


class SingleMapper(nn.Module):
    """W+ codes [B,num_ws,w_dim] -> residual of the same shape."""

    def __init__(self, config: SingleMapperConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = LevelMapper(config.w_dim)

    def forward(self, ws: Tensor) -> Tensor:
        return self.mapping(ws)


@dataclass(frozen=True)
class StyleSpaceMapperConfig:
    """indices: StyleSpace vectors that have a network; widths: their lengths."""

    indices: tuple[int, ...]
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        indices, widths = tuple(self.indices), tuple(self.widths)
        if not indices or len(indices) != len(widths) or len(set(indices)) < len(indices) or min(indices + widths) < 0:
            raise InputError("A StyleSpace mapper lists its style vectors, each once, and as many lengths.")


class StyleSpaceMapper(nn.Module):
    """StyleSpace vectors (a list of [B,C_i]) -> residuals {index: [B,C_i]} for those that have a network."""

    def __init__(self, config: StyleSpaceMapperConfig) -> None:
        super().__init__()
        self.config = config
        for index, width in zip(config.indices, config.widths, strict=True):
            setattr(self, f"mapper_{index}", LevelMapper(width))

    def forward(self, styles: list[Tensor]) -> dict[int, Tensor]:
        for index, width in zip(self.config.indices, self.config.widths, strict=True):
            if index >= len(styles) or styles[index].shape[1] != width:
                found = styles[index].shape[1] if index < len(styles) else "none"
                raise MismatchError(f"The mapper moves {width} channels of style vector {index}, this generator has "
                                    f"{found}; it was made for another generator.")
        return {i: getattr(self, f"mapper_{i}")(styles[i]) for i in self.config.indices}
