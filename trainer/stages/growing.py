"""Progressive resolution (Karras et al. 2018): a run at twice the size starts from the networks of a smaller run.

StyleGAN2's generator sums pictures over resolutions, so a new last block whose ToRGB starts at zero shows the smaller
generator's pictures, enlarged, from the first step; nothing has to be faded in. The discriminator gets a new first
block, which has to find its feet before the generator listens to it (`grow_warmup_kimg`).

With `frozen=smaller` the mapping network and all blocks but the last stay as they are: the larger generator shows the
smaller one's pictures in finer detail, and encoders, editors and directions that know the smaller one's codes need only
learn two more style vectors. With `frozen=mapping` all blocks learn, and codes keep the distribution that they had.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from reganie_core.checkpoints import read_checkpoint
from reganie_core.errors import MismatchError, NotFoundError

from ..loop import state

__all__ = ["FROZEN", "freeze", "grow"]

FROZEN = ("", "mapping", "smaller")


def _fill(network: nn.Module, tensors: dict[str, Tensor], what: str, source: Path) -> set[str]:
    """Copy every tensor of the same name and shape; returns the names of the network that stay as they are."""
    own = network.state_dict()
    wrong = [name for name, t in tensors.items() if name in own and own[name].shape != t.shape]
    if wrong or not set(tensors) & set(own):
        raise MismatchError(f"{source} holds a {what} of other widths ({', '.join(wrong[:3]) or 'no common names'}); "
                            "the larger one must repeat its channels, w_dim and mapping_layers.")
    with torch.no_grad():
        for name, tensor in tensors.items():
            if name in own:
                own[name].copy_(tensor)
    return set(own) - set(tensors)


def grow(generator: nn.Module, discriminator: nn.Module | None, source: str) -> None:
    """Fill G and D, in place, from a generator of half the resolution: its run folder (G from its moving average), or
    its exported file, which holds no D. A projected discriminator learns anew, which is quick.

    Raises:
        NotFoundError: no such file, or no training state in that folder.
        MismatchError: networks of other widths, or not of half the resolution.
    """
    path = Path(source)
    if path.is_dir():
        path = path / "state.safetensors"
    if not path.is_file():
        raise NotFoundError(f"grow_from={source}: there is no file {path}; name the folder of a generator run at half "
                            "the resolution, which holds its state.safetensors, or its generator.safetensors.")
    exported = path.name != "state.safetensors"
    tensors = read_checkpoint(path, kind="generator" if exported else state.KIND).tensors

    def part(name: str) -> dict[str, Tensor]:
        prefix = f"module.{name}."
        return {k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)}

    new = _fill(generator, tensors if exported else part("G_ema"), "generator", path)
    last = f"synthesis.b{generator.resolution}."
    if any(not name.startswith(last) for name in new):
        raise MismatchError(f"{path} is not a generator of {generator.resolution // 2} px: it lacks "
                            f"{min(name for name in new if not name.startswith(last))}.")
    nn.init.zeros_(generator.synthesis.get_submodule(f"b{generator.resolution}").torgb.weight)
    pixels = part("D.parts.pixels") or part("D")         # it stands alone, or beside a projected one
    if discriminator is not None and any(name.startswith("b4.") for name in pixels):
        _fill(discriminator, {k: v for k, v in pixels.items() if ".fromrgb." not in k}, "discriminator", path)


def freeze(generator: nn.Module, what: str) -> None:
    """Keep the "mapping" network as it is, or all that the "smaller" generator had."""
    (generator if what == "smaller" else generator.mapping).requires_grad_(False)
    generator.synthesis.get_submodule(f"b{generator.resolution}").requires_grad_(True)
