"""Does a text do what it says? Prompts over portraits, read by an attribute network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reganie_core import portraits
from reganie_core.editing.styleclip import StyleCLIPEditor
from reganie_core.latents import Latent, synthesize
from reganie_core.portraits.captions import PROMPTS, Prompt


@torch.inference_mode()
def text_table(generator: nn.Module, editor: StyleCLIPEditor, read: Callable[[Tensor], Mapping[str, Tensor]],
               latent: Latent, prompts: Sequence[Prompt] = PROMPTS, strength: float | None = None,
               threshold: float | None = None, chunk: int = 50) -> list[dict[str, Any]]:
    """One row for each prompt, over all codes of ``latent``.

    Returns:
        ``target``; ``right``, the share of pictures in which every intended attribute moved the right way (a picture
        that has the attribute in full already counts as right if it keeps it); ``moved``, the mean change of each
        intended attribute in its unit; ``drift``, the mean |change| of each other attribute as a share of its range;
        ``worst_drift``, the largest of these.
    """
    controls = {c.name: c for c in portraits.CONTROLS}
    before = _read(generator, latent, read, chunk)
    rows = []
    for prompt in prompts:
        edited = editor.edit_text(latent, prompt.target, prompt.neutral, strength, threshold)
        after = _read(generator, edited, read, chunk)
        right = torch.ones(latent.batch, dtype=torch.bool)
        for name, sign in prompt.moves.items():
            right &= _moved(before[name], after[name], sign, controls[name])
        drift = {name: float((after[name] - before[name]).abs().mean()) / (c.maximum - c.minimum)
                 for name, c in controls.items() if name not in (*prompt.moves, *prompt.also)}
        worst = max(drift, key=lambda name: drift[name])
        rows.append({"target": prompt.target, "right": float(right.float().mean()),
                     "moved": {name: float((after[name] - before[name]).mean()) for name in prompt.moves},
                     "drift": drift, "worst_drift": drift[worst], "worst": worst})
    return rows


def _moved(before: Tensor, after: Tensor, sign: int, control: portraits.PortraitControl) -> Tensor:
    """[n] bool: moved the right way, or at the end of the range before and after."""
    end = control.maximum if sign > 0 else control.minimum
    margin = 0.05 * (control.maximum - control.minimum)
    return (sign * (after - before) > 0) | ((sign * (before - end) > -margin) & (sign * (after - end) > -margin))


def _read(generator: nn.Module, latent: Latent, read: Callable[[Tensor], Mapping[str, Tensor]],
          chunk: int) -> dict[str, Tensor]:
    parts = [read(synthesize(generator, latent[i:i + chunk], chunk=chunk)) for i in range(0, latent.batch, chunk)]
    return {name: torch.cat([part[name].float().cpu() for part in parts]) for name in parts[0]}
