"""A generator starts from a narrower one (Net2Net, Chen et al. 2016): its channels, and new ones that say little yet.

The old channels keep their weights. New ones listen like old ones, with random weights, and are heard a twentieth as
loud, so that pictures hardly change at first and new weights learn from the first step on. Codes keep their meaning:
the mapping network is the narrower one's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reganie_core.checkpoints import load_generator
from reganie_core.errors import MismatchError

__all__ = ["widen"]

HEARD = 0.05     # weight of a new channel where it is heard, relative to the old ones'


def _widened(name: str, old: Tensor, new: Tensor) -> Tensor:
    """`new`, a freshly drawn tensor, with `old` in its corner."""
    out = new.clone()
    if name.endswith((".conv0.weight", ".conv1.weight")):
        out *= old.std()                                   # demodulated: only relative sizes count
        out[: old.shape[0]] = HEARD * out[: old.shape[0]]
    elif name.endswith(".torgb.weight"):
        out.zero_()
        old = old * (new.shape[1] / old.shape[1]) ** 0.5   # not demodulated: scaled at run time by the new fan-in
    elif name.endswith(".affine.weight"):
        out *= old.std()
    elif name.endswith(".affine.bias"):
        out.fill_(float(old.mean()))
    out[tuple(slice(n) for n in old.shape)] = old
    return out


@torch.no_grad()
def widen(generator: nn.Module, source: str) -> None:
    """Fill a generator, in place, from the exported file of one of at most its channels.

    Raises:
        MismatchError: another resolution or mapping network, or more channels somewhere.
        ReganieError: no such file, or not a generator's.
    """
    narrow = load_generator(source).state_dict()
    wide = generator.state_dict()
    fits = set(narrow) == set(wide) and all(
        t.dim() == wide[name].dim() and all(a <= b for a, b in zip(t.shape, wide[name].shape, strict=True))
        and (t.shape == wide[name].shape or name.startswith("synthesis.")) for name, t in narrow.items())
    if not fits:
        raise MismatchError(f"widen_from={source}: that generator has another resolution or mapping network, or more "
                            "channels somewhere. Repeat its resolution, w_dim and mapping_layers, and give at least "
                            "its channels; `python -m reganie_core inspect FILE` shows them.")
    for name, old in narrow.items():
        wide[name].copy_(old if old.shape == wide[name].shape else _widened(name, old.float().cpu(), wide[name].cpu()))
