"""What a rectifier is trained with: frozen networks, pictures, the network itself, its discriminator; and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reganie_core.checkpoints import load_encoder, load_generator, save_checkpoint
from reganie_core.editing import Editor
from reganie_core.errors import InputError
from reganie_core.networks import describe
from reganie_core.networks.discriminator import Discriminator, DiscriminatorConfig
from reganie_core.networks.rectifier import Rectifier

from ..data.image_set import ImageSet
from ..data.pictures import Pictures
from ..data.sources import open_pictures
from ..extras import build_extras
from ..frozen import Features
from ..loop.ema import make_average
from ..loop.optimisation import adam, dtype_of, init_from
from ..loop.randomness import Draws
from ..substitutes import editors, perceptual
from .rectifier_options import RectifierStageConfig

__all__ = ["RectifierSetup"]


class RectifierSetup:
    """Everything but the training."""

    def __init__(self, config: RectifierStageConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.dtype, device = dtype_of(config), config.device
        self.G = load_generator(config.generator, device).to(memory_format=torch.channels_last)
        self.G.synthesis.set_precision(self.dtype, len(self.G.config.channels))
        self.E = load_encoder(config.encoder, device).to(memory_format=torch.channels_last)
        if hasattr(self.E, "compute_dtype"):
            self.E.compute_dtype = self.dtype
        self.resolution = config.resolution or min(self.G.resolution, 512)
        self.editors: list[Editor] = editors(config, self.G, device)
        known = {c.name for editor in self.editors for c in editor.controls}
        if config.edit_weights.keys() - known:
            raise InputError(f"edit_weights: no editor has {', '.join(sorted(config.edit_weights.keys() - known))}; "
                             f"they have {', '.join(sorted(known))}.")
        self.group = 4 if config.gan_weight > 0 else 1       # of the discriminator's minibatch standard deviation
        self.extras = build_extras(config.extras, config.without)
        self.data = self.open_pictures()
        self.perceptual = perceptual(config, device, self.dtype)
        further = {key: value for extra in self.extras for key, value in extra.network().items()}
        self.R = Rectifier(config.network(self.resolution, further))
        init_from(self.R, config.init_from, "rectifier")
        self.R.to(device, memory_format=torch.channels_last)
        self.R.compute_dtype = self.dtype
        self.average = make_average(self.R)
        self.modules = {"R": self.R, "average": self.average}
        self.optimizers = {"R": adam(self.R, config)}
        self.D: Discriminator | None = None
        if config.gan_weight > 0:
            widths = config.d_channels
            if widths == RectifierStageConfig.d_channels:        # the default fits every resolution
                widths = (*widths, 16)[:self.resolution.bit_length() - 2]
            self.D = Discriminator(DiscriminatorConfig(self.resolution, widths))
            self.D.to(device, memory_format=torch.channels_last).dtype = self.dtype
            self.modules["D"] = self.D
            self.optimizers["D"] = adam(self.D, config, config.r1_interval)
        for extra in self.extras:
            extra.bind(self)

    def open_pictures(self) -> Pictures | ImageSet | None:
        """The user's pictures, where there are any."""
        config = self.config
        if not config.images:
            return None
        return open_pictures(config.images, self.resolution, config.seed, max(config.batch // self.group, 1))

    def need_pictures(self, who: str) -> None:
        """Raises InputError where there are no training pictures."""
        if self.data is None:
            raise InputError(f"{who} trains on pictures: give images=FOLDER, or leave it out with "
                             f"without={who.removeprefix('extras.')}.")

    def training_pictures(self, draws: Draws, seen: int) -> Tensor:
        """The pictures of a batch, half of them mirrored."""
        indices = draws.numbers(self.data, seen)
        return self.data.batch(indices, draws.rand() < 0.5).to(self.config.device)

    def attribute_features(self, who: str) -> Features:
        """The attribute network of the perceptual loss. Raises InputError where another distance is used."""
        if not isinstance(self.perceptual, Features):
            raise InputError(f"{who} needs an attribute network as the perceptual loss: give attributes=FILE and leave "
                             "lpips empty.")
        return self.perceptual

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        marks = {"generator": self.G.fingerprint, "encoder": self.E.fingerprint,
                 "editor": "+".join(str(editor.fingerprint) for editor in self.editors)}
        save_checkpoint(path, "rectifier", describe(self.average), dict(self.average.state_dict()),
                        {**provenance, "fingerprints": marks}, dtype=torch.float16)
