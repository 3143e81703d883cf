"""StyleCLIP's global directions (Patashnik et al. 2021, section 6): a change of text becomes one of style channels.

Two ways are offered. ``relevance`` is the published one: a channel moves in proportion to how well the change it
causes points along the text's change. ``least_squares`` is ours: it asks for the combination of channels whose joint
effect is the wanted change of picture *and nothing else*, so that what one channel drags along another takes back.
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
#: Strength 1 of least_squares, in standard deviations of the described quality among the generator's pictures.
DEVIATIONS = 1.0


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
        covariance: ``[d,d]`` of the unit embeddings of the generator's pictures; least_squares only.
    """

    directions: Tensor
    mean: Tensor
    std: Tensor
    widths: tuple[int, ...]
    response: Tensor | None = None
    covariance: Tensor | None = None

    def __post_init__(self) -> None:
        if self.directions.ndim != 2 or self.mean.shape != (sum(self.widths),) or self.std.shape != self.mean.shape:
            raise InputError("The statistics of the style channels do not fit together.")
        channels, dim = self.directions.shape
        self.vectors = channel_vectors(self.widths, channels)
        for table, shape in ((self.response, (channels, dim)), (self.covariance, (dim, dim))):
            if table is not None and table.shape != shape:
                raise InputError("The responses of the style channels do not fit their directions.")
        starts = torch.tensor([0, *self.widths]).cumsum(0).tolist()
        self.columns = torch.cat([torch.arange(starts[i], starts[i + 1]) for i in self.vectors])
        self.starts = starts

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods these statistics suffice for."""
        return METHODS if self.response is not None and self.covariance is not None else METHODS[:1]

    def to(self, device: torch.device | str) -> StyleStatistics:
        """Move to a device; returns itself."""
        for name in ("directions", "mean", "std", "response", "covariance", "columns"):
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

    def least_squares(self, text: Tensor, threshold: float, ridge: float = 2.0) -> Tensor:
        """``[S]``: the direction whose effect on the picture's embedding is that of the text, and little else.

        The text's change t is a *filter*: it scores pictures. How pictures change when that score grows, and only it,
        is the pattern p = Sigma t (Haufe et al. 2014), Sigma the covariance of embeddings over the generator's
        pictures. With J the channels' responses, x = argmin |Sigma^(-1/2) (J^T x - p)|^2 + ridge |x|^2, then scaled
        so that the score grows by one standard deviation among the generator's pictures: strength 1.
        The large ridge is measured (portraits at 64 px): weaker ones trust the responses too far and drag more along.
        Channels below ``threshold`` of the largest are left out and the rest is solved again.
        """
        if self.response is None or self.covariance is None:
            raise InputError("This file holds no responses of the channels, which least_squares needs; use relevance.")
        response, goal = self._whitened(text)
        keep = torch.ones(len(response), dtype=torch.bool, device=response.device)
        x = self._solve(response, goal, ridge)
        if threshold > 0:
            keep = x.abs() >= threshold * x.abs().max()
            x = self._solve(response * keep[:, None], goal, ridge)
        gain = (response.t() @ x) @ goal
        return self._spread((x * (DEVIATIONS / gain.clamp_min(1e-3))).to(self.std))

    def _whitened(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Responses ``[C,d]`` and the unit goal ``[d]`` where the generator's embeddings have unit covariance."""
        covariance = self.covariance.double()  # type: ignore[union-attr]
        values, vectors = torch.linalg.eigh(covariance)
        values = values.clamp_min(0.0) + 1e-3 * values.mean()
        response = self.response.double() @ (vectors * values.rsqrt())  # type: ignore[union-attr]
        goal = (vectors * values.sqrt()).t() @ text.to(covariance)
        return response, unit(goal)

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
