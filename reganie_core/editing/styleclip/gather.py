"""What does each style channel do to a picture's embedding? Measured channel by channel (StyleCLIP, section 6.2).

The work is a fixed sequence of pictures, so it can be done in pieces of any size and continued after a stop: first
``samples`` pictures of the generator, whose embeddings are kept; then for every channel and each of
``images`` pictures a pair, the channel lowered and raised by ``step`` standard deviations.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...text import TextImageEncoder
from ...text.encoders import unit
from .stylespace import StyleStatistics, is_rgb

__all__ = ["Gatherer"]

STYLE_SAMPLES = 4096


class Gatherer(nn.Module):
    """Collects the statistics of one generator; its buffers are all there is to save.

    Args:
        generator, encoder: on the same device.
        images: pictures per channel (100 in the paper).
        samples: pictures whose embeddings are kept.
        step: how far a channel is moved, in its standard deviations (5 in the paper).
        seed: of the pictures.
    """

    def __init__(self, generator: nn.Module, encoder: TextImageEncoder, images: int = 100, samples: int = 4000,
                 step: float = 5.0, seed: int = 0) -> None:
        super().__init__()
        if images < 1 or samples < 2 or step <= 0:
            raise InputError(f"Needs at least one picture a channel, two samples and a positive step; found {images}, "
                             f"{samples}, {step:g}.")
        # Not submodules: what is saved and moved is the statistics alone.
        self.__dict__["networks"] = (generator, encoder)
        self.images, self.samples, self.step = images, samples, step
        self.widths = tuple(generator.synthesis.style_dims())
        self.device = next(generator.parameters()).device
        self.vectors = tuple(i for i in range(len(self.widths)) if not is_rgb(i))
        self.owner = [(i, c) for i in self.vectors for c in range(self.widths[i])]
        random = torch.Generator().manual_seed(seed)
        mean, std = self._style_moments(random)
        self.codes = torch.randn(max(samples, images), generator.z_dim, generator=random)
        channels, dim = len(self.owner), encoder.dim
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        for name in ("response_sum", "direction_sum"):
            self.register_buffer(name, torch.zeros(channels, dim, dtype=torch.float64, device=self.device))
        self.register_buffer("embeddings", torch.zeros(samples, dim, device=self.device))

    @torch.no_grad()
    def _style_moments(self, random: torch.Generator) -> tuple[Tensor, Tensor]:
        generator = self.networks[0]
        z = torch.randn(STYLE_SAMPLES, generator.z_dim, generator=random).to(self.device)
        styles = torch.cat([torch.cat(generator.synthesis.styles(generator.mapping(part)), dim=1).double()
                            for part in z.split(512)])
        return styles.mean(dim=0).float(), styles.std(dim=0).float()

    @property
    def total(self) -> int:
        """Pictures to make in all."""
        return self.samples + 2 * self.images * len(self.owner)

    @torch.no_grad()
    def run(self, start: int, stop: int) -> None:
        """Make and count the pictures number ``start`` to ``stop`` - 1; pairs are never cut.

        Raises:
            InputError: a border inside a pair.
        """
        stop = min(stop, self.total)
        if any(border > self.samples and (border - self.samples) % 2 for border in (start, stop)):
            raise InputError("A batch must hold whole pairs: use even numbers of pictures.")
        if start < self.samples:
            self._sample(start, min(stop, self.samples))
        if stop > self.samples:
            self._pairs((max(start, self.samples) - self.samples) // 2, (stop - self.samples) // 2)

    def _embed(self, styles: list[Tensor]) -> Tensor:
        generator, encoder = self.networks
        return unit(encoder.encode_image(generator.synthesis(styles=styles).float().clamp(-1.0, 1.0)).double())

    def _styles(self, numbers: Tensor) -> list[Tensor]:
        generator = self.networks[0]
        return list(generator.synthesis.styles(generator.mapping(self.codes[numbers].to(self.device))))

    def _sample(self, start: int, stop: int) -> None:
        self.embeddings[start:stop] = self._embed(self._styles(torch.arange(start, stop))).float()

    def _pairs(self, start: int, stop: int) -> None:
        pairs = torch.arange(start, stop)
        channels = pairs // self.images
        styles = [torch.stack([s, s], dim=1) for s in self._styles(pairs % self.images)]      # [n,2,C]
        offset = 0
        moves = torch.tensor([-self.step, self.step], device=self.device)
        for vector, width in enumerate(self.widths):
            if not is_rgb(vector):
                rows = ((channels >= offset) & (channels < offset + width)).nonzero()[:, 0]
                if len(rows):
                    columns = channels[rows] - offset
                    deviation = self.std[sum(self.widths[:vector]) + columns.to(self.std.device)]
                    styles[vector][rows.to(self.device), :, columns.to(self.device)] += deviation[:, None] * moves
                offset += width
        seen = self._embed([s.flatten(0, 1) for s in styles]).unflatten(0, (-1, 2))
        change = seen[:, 1] - seen[:, 0]
        where = channels.to(self.device)
        self.response_sum.index_add_(0, where, change / (2 * self.step))
        self.direction_sum.index_add_(0, where, unit(change))

    def statistics(self) -> StyleStatistics:
        """The result; complete once ``run`` has covered 0 ... ``total``."""
        return StyleStatistics(
            unit(self.direction_sum / self.images).float(), self.mean, self.std, self.widths,
            (self.response_sum / self.images).float(), self.embeddings)
