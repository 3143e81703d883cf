"""Random edits of codes, as Algorithm 1 draws them: Y = G(Editor(w))."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reganie_core.editing import Editor
from reganie_core.editing.ranges import unlimited

from ..loop.randomness import Draws

__all__ = ["DrawnEdit", "draw_edit"]


class DrawnEdit(NamedTuple):
    """A random edit per sample: codes -> edited codes."""

    editor: Editor
    changes: dict[str, Tensor]    # control -> [B], in its unit

    def __call__(self, codes: Tensor) -> Tensor:
        with unlimited():
            return self.editor.edit(codes, self.changes)

    def only_adds_objects(self) -> Tensor:
        """[B] of true and false: whether binary controls are switched on and nothing else changes."""
        kinds = {c.name: c.kind for c in self.editor.controls}
        on = torch.stack([(v > 0) & (kinds[name] == "binary") for name, v in self.changes.items()])
        other = torch.stack([(v != 0) & (kinds[name] != "binary") for name, v in self.changes.items()])
        return on.any(dim=0) & ~other.any(dim=0)


def draw_edit(editors: Sequence[Editor], draws: Draws, most: int, strength: float, weights: Mapping[str, float],
              device: torch.device | str, switch_on: bool = False) -> DrawnEdit:
    """One of the editors; for each sample 1 to `most` of its controls, each changed by a random amount.

    `strength` is the standard deviation of a change as a share of the control's range; `weights` says how readily a
    control is drawn, 1 where not named. Binary controls are switched on or off, with `switch_on` always on.
    """
    editor = editors[int(torch.randint(len(editors), (1,), generator=draws.random))]
    controls = [c for c in editor.controls if c.kind != "text"]
    count = draws.randint(1, most + 1, 1)
    rates = torch.tensor([weights.get(c.name, 1.0) for c in controls])
    clocks = -torch.log1p(-draws.rand(len(controls))) / rates      # exponential; the first ones to ring are drawn
    rank = clocks.argsort(dim=1).argsort(dim=1)
    amount = draws.randn(len(controls)).clamp(-2, 2)
    scale = torch.tensor([(c.maximum - c.minimum) * strength for c in controls])
    binary = torch.tensor([c.kind == "binary" for c in controls])       # they are off or on, never half
    switched = torch.ones_like(amount) if switch_on else amount.sign()
    amount = (torch.where(binary, switched, amount * scale) * (rank < count)).to(device)
    return DrawnEdit(editor, {c.name: amount[:, i] for i, c in enumerate(controls)})
