"""How the exact edited code differs from the exact code, where pictures are rendered and both are known.

An attribute network is pleased by more than the attribute: lips that redden read as a smile. In the portraits domain a
code of the mapping network is a list of scores (pairs.py), so the code of the same person with another smile is
known, and an editor can be held near the difference of the two. Neither DyStyle nor ReGANIE do this; other domains have
no such targets and train with `exact_weight` 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reganie_core.errors import InputError
from reganie_core.portraits import CONTROLS
from reganie_core.portraits.parameters import BEARDLESS_AGE, DRAWN

from .pairs import PortraitCodes, warn_without_pairs, with_values

#: Sampled children have no beard, whatever their scores say; ages are read from pictures, so with some room.
NO_BEARD_BELOW = BEARDLESS_AGE + 0.1


class ExactEditTargets:
    """Changes of codes for requests to the editor.

    Args:
        generator: its mapping network was trained with pairs.
        names: the editor's controls.
        count, seed: of the portraits that are encoded.
    """

    def __init__(self, generator: nn.Module, names: Sequence[str], count: int, seed: int) -> None:
        unknown = sorted(set(names) - {control.name for control in CONTROLS})
        if unknown:
            raise InputError(f"exact_weight needs exact targets, which only the attributes of rendered portraits "
                             f"have; {', '.join(unknown)} is none. Train with exact_weight=0.")
        warn_without_pairs(generator, "exact_weight")
        self.G, self.names = generator, tuple(names)
        self.codes = PortraitCodes(count, seed, generator.z_dim)

    def scores(self, z: Tensor) -> Tensor:
        """What the mapping network sees of z [B,z_dim]: scores [B,len(DRAWN)]."""
        return (z / z.square().mean(dim=1, keepdim=True).sqrt())[:, :len(DRAWN)]

    def change(self, scores: Tensor, free: Tensor, now: Tensor, goal: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """Difference of the codes after and before [B,w_dim], and whether it is exact [B].

        scores [B,len(DRAWN)] and free [B,z_dim]: the person; now, goal [B,K]: what is shown and asked, in units, binary
        as probabilities and 0 or 1; active [B,K]. All on the CPU or all on the generator's device.
        """
        then = torch.where(active, goal, now)
        before, after = (dict(zip(self.names, values.float().unbind(1), strict=True)) for values in (now, then))
        exact = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
        if "beard" in before and "age" in before:
            child = torch.minimum(before["age"], after["age"]) < NO_BEARD_BELOW
            exact = ~(child & active[:, self.names.index("beard")])
            for side in (before, after):     # a beard must not come or go with age, which the mapping would have it
                side["beard"] = torch.where(child & exact, 0.0, side["beard"])
        with torch.no_grad():
            w = [self.G.mapping.w(self.codes.filled(with_values(scores, side), free).to(self.G.w_avg.device))
                 for side in (before, after)]
        return w[1] - w[0], exact


def exact_loss(offset: Tensor, change: Tensor, exact: Tensor, spread: Tensor) -> Tensor:
    """Squared distance of offsets [B,num_ws,w_dim] (in units of `spread`) to the change [B,num_ws,w_dim] of codes,
    averaged over the rows that have an exact one."""
    distance = (offset - change / spread).square().mean(dim=(1, 2))
    return (distance * exact).sum() / exact.sum().clamp_min(1)
