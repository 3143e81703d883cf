"""StyleCLIP's global directions (Patashnik et al. 2021, section 6): a change of text becomes one of style channels.

Two ways are offered. ``relevance`` is the published one: a channel moves in proportion to how well the change it
causes points along the text's change. ``least_squares`` is ours: it looks at which of the generator's pictures the text
describes, and asks for the combination of channels whose joint effect leads there *and nowhere else*, so that what one
channel drags along another takes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError, MismatchError
from ...text.encoders import unit

__all__ = ["METHODS", "StyleStatistics", "channel_vectors", "directions_of_channels", "is_rgb"]

METHODS = ("relevance", "least_squares")
#: Strength 1 of least_squares: this share of the way to the pictures that the text describes.
SHARE = 0.45
#: Those are at least so many, lest what they have in common by chance be taken for what was said.
LEAST_MATCHES = 64
#: Of the mean variance, added to every direction's: the smallest ones are noise.
SHRINKAGE = 0.05


def is_rgb(index: int) -> bool:
    """Whether a StyleSpace vector (order: conv, rgb, then conv, conv, rgb per resolution) belongs to a ToRGB layer."""
    return index % 3 == 1


def channel_vectors(widths: Sequence[int], rows: int) -> tuple[int, ...]:
    """The StyleSpace vectors that ``rows`` channels belong to: the first K that are no ToRGB ones.

    Public tables end at different K (11 or 17 layers at 1024 px), so K follows from the number of rows.

    Raises:
        MismatchError: no K has that many channels.
    """
    found: list[int] = []
    for index, width in enumerate(widths):
        if rows == 0:
            break
        if not is_rgb(index):
            found.append(index)
            rows -= width
    if rows or not found:
        raise MismatchError(f"The table of channel directions does not fit this generator's style vectors of lengths "
                            f"{list(widths)}: it was made for another generator.")
    return tuple(found)


def directions_of_channels(embeddings: Tensor) -> Tensor:
    """``fs3``: picture embeddings ``[C,N,2,d]`` with each of C channels lowered and raised -> ``[C,d]`` unit rows.

    The unit mean over N pictures of the unit change of unit embeddings.
    """
    change = unit(embeddings)
    return unit(unit(change[:, :, 1] - change[:, :, 0]).mean(dim=1))


@dataclass
class StyleStatistics:
    """What is known of a generator's style channels.

    Attributes:
        directions: ``fs3 [C,d]``, unit rows.
        mean, std: ``[S]`` of all style channels, ToRGB included, vector after vector.
        widths: lengths of the StyleSpace vectors; they sum to S.
        response: ``[C,d]`` change of the unit embedding per standard deviation of the channel; least_squares only.
        embeddings: ``[N,d]``, unit rows, of pictures of the generator; least_squares only.
    """

    directions: Tensor
    mean: Tensor
    std: Tensor
    widths: tuple[int, ...]
    response: Tensor | None = None
    embeddings: Tensor | None = None

    def __post_init__(self) -> None:
        if self.directions.ndim != 2 or self.mean.shape != (sum(self.widths),) or self.std.shape != self.mean.shape:
            raise InputError("The statistics of the style channels do not fit together.")
        channels, dim = self.directions.shape
        self.vectors = channel_vectors(self.widths, channels)
        if self.response is not None and self.response.shape != (channels, dim):
            raise InputError("The responses of the style channels do not fit their directions.")
        if self.embeddings is not None and (self.embeddings.ndim != 2 or self.embeddings.shape[1] != dim
                                            or len(self.embeddings) < 2):
            raise InputError("The embeddings of the generator's pictures do not fit the channels' directions.")
        starts = torch.tensor([0, *self.widths]).cumsum(0).tolist()
        self.columns = torch.cat([torch.arange(starts[i], starts[i + 1]) for i in self.vectors])
        self.starts = starts

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods these statistics suffice for."""
        return METHODS if self.response is not None and self.embeddings is not None else METHODS[:1]

    def to(self, device: torch.device | str) -> StyleStatistics:
        """Move to a device; returns itself."""
        for name in ("directions", "mean", "std", "response", "embeddings", "columns"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else value.to(device))
        return self

    def relevance(self, text: Tensor, threshold: float) -> Tensor:
        """``[S]``: the published direction, in the units of the styles, for a unit text change ``[d]``.

        r = fs3 . text; zero where |r| < threshold; divided by its largest magnitude; times the channel's deviation.
        Zero everywhere when no channel is relevant enough.
        """
        r = self.directions @ text.to(self.directions)
        r = torch.where(r.abs() < threshold, 0.0, r)
        return self._spread(r / r.abs().max().clamp_min(torch.finfo(r.dtype).tiny))

    def least_squares(self, target: Tensor, neutral: Tensor, threshold: float, logit_scale: float = 100.0,
                      ridge: float = 0.1) -> Tensor:
        """``[S]``: the direction that leads from pictures like ``neutral`` to those like ``target``, and little else.

        p is the difference of the mean embeddings of the generator's pictures that the two texts describe
        (:meth:`matched`), Sigma the covariance of all. With J the channels' responses,
        x = argmin |Sigma^(-1/2) (J^T x - p)|^2 + ridge |x|^2, scaled to go SHARE of the way at strength 1.
        Channels below ``threshold`` of the largest are left out and the rest is solved again.

        The texts' own difference says less: it is a filter, long where the encoder needs a fine distinction and short
        where a coarse one will do, so that in "smiling, with glasses" the glasses hardly count.
        Ridge and constants are measured on the portraits (128 px, validation seeds): weaker ridges trust the responses
        too far, larger shares drag more along, smaller ones are lost on the least of several things said.

        Args:
            target, neutral: unit embeddings ``[d]``.
            logit_scale: of the encoder, which says how much better a better match is.
        """
        if self.response is None or self.embeddings is None:
            raise InputError("This file holds no responses of the channels or no embeddings of pictures, which "
                             "least_squares needs; use relevance.")
        embeddings = self.embeddings.double()
        values, vectors = torch.linalg.eigh(torch.cov(embeddings.t()))
        white = vectors * (values.clamp_min(0.0) + SHRINKAGE * values.mean()).rsqrt()
        wanted = (self.matched(target, logit_scale) - self.matched(neutral, logit_scale)) @ white
        response, goal = self.response.double() @ white, unit(wanted)
        x = self._solve(response, goal, ridge)
        if threshold > 0:
            response = response * (x.abs() >= threshold * x.abs().max())[:, None]
            x = self._solve(response, goal, ridge)
        gain = (response.t() @ x) @ goal
        return self._spread((x * (SHARE * wanted.norm() / gain.clamp_min(1e-3))).to(self.std))

    def matched(self, text: Tensor, logit_scale: float) -> Tensor:
        """``[d]``: mean embedding of the pictures that a text's unit embedding ``[d]`` describes.

        A picture's weight is the softmax of its logits, as in the encoder's training. Where that leaves fewer than
        LEAST_MATCHES (effective number 1 / sum w^2; of few pictures a quarter), the scale is lowered.
        """
        if self.embeddings is None:
            raise InputError("This file holds no embeddings of pictures to match a text with; use relevance.")
        embeddings = self.embeddings.double()
        least = min(LEAST_MATCHES, len(embeddings) / 4)
        cosine = embeddings @ text.to(embeddings)
        weight = (logit_scale * cosine).softmax(dim=0)
        while float(1.0 / weight.square().sum()) < least:
            logit_scale *= 0.9
            weight = (logit_scale * cosine).softmax(dim=0)
        return weight @ embeddings

    @staticmethod
    def _solve(response: Tensor, goal: Tensor, ridge: float) -> Tensor:
        gram = response.t() @ response
        weight = ridge * gram.diagonal().mean()
        return response @ torch.linalg.solve(gram + weight * torch.eye(len(gram)).to(gram), goal)

    def _spread(self, channels: Tensor) -> Tensor:
        """Channels ``[C]`` in standard deviations -> all style channels ``[S]`` in their own units."""
        whole = torch.zeros_like(self.std)
        whole[self.columns] = channels * self.std[self.columns]
        return whole

    def offsets(self, direction: Tensor) -> dict[int, Tensor]:
        """``[S]`` -> {StyleSpace vector: [C_i]} for the vectors that move."""
        parts = {i: direction[self.starts[i]:self.starts[i + 1]] for i in self.vectors}
        return {index: part for index, part in parts.items() if bool((part != 0).any())}
