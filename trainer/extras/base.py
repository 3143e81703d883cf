"""What an extra of the rectifier stage may change."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from reganie_core.algorithm1 import Triplet
from reganie_core.errors import InputError

from ..loop.randomness import Draws

if TYPE_CHECKING:
    from ..stages.edits import DrawnEdit
    from ..stages.rectifier import RectifierStage

__all__ = ["Extra", "Made"]


class Made(NamedTuple):
    """What one micro-batch trains on."""

    triplet: Triplet
    number: int                     # t of Algorithm 1; 4: a training picture; 5: one that is edited
    by: Extra | None = None         # whose loss counts in place of L1 and the perceptual term
    more: dict[str, Tensor] = {}    # what that loss needs besides


@dataclass
class Extra:
    """Its fields are its settings. Every method may be left as it is."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.metadata.get("share") and not 0 <= getattr(self, field.name) <= 1:
                raise InputError(f"{type(self).__name__}.{field.name} is a share from 0 to 1; found "
                                 f"{getattr(self, field.name)}.")

    def network(self) -> dict[str, Any]:
        """Further options of the rectifying network's config."""
        return {}

    def bind(self, stage: RectifierStage) -> None:
        """Load what it needs; the stage has its frozen networks."""
        self.stage = stage

    def instead(self, draws: Draws, seen: int) -> Made | None:
        """Something to train on in place of Algorithm 1's triplet; None: not this time."""
        return None

    def pictures(self, pictures: Tensor, draws: Draws) -> Tensor:
        """X ``[B,3,R,R]``, or [X; Y], before they are inverted and compared."""
        return pictures

    def codes(self, codes: Tensor, draws: Draws, t: int, edit: DrawnEdit) -> Tensor:
        """E(X), or [E(X); E(Y)] ``[.,num_ws,w_dim]``, before they are decoded."""
        return codes

    def terms(self, made: Made, picture: Tensor) -> dict[str, Tensor]:
        """Further terms of the loss of a repainted picture, weighted; they are added to equation 9."""
        return {}

    def loss(self, made: Made, picture: Tensor) -> dict[str, Tensor]:
        """The weighted terms, in place of L1 and the perceptual term, for what :meth:`instead` made."""
        raise NotImplementedError
