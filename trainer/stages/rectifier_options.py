"""The options of the rectifier stage; their defaults are the paper's. What is beyond it stands in `extras`."""

from __future__ import annotations

from dataclasses import dataclass

from reganie_core.errors import InputError
from reganie_core.networks.rectifier import RectifierConfig

from ..extras import build_extras
from ..loop.config import StageConfig, option
from .widths import rectifier_widths

__all__ = ["RectifierStageConfig"]

#: Options that are the network's own.
OF_NETWORK = ("encoder_channels", "body_channels", "body_blocks", "decoder_channels", "sp_channels", "gl_channels",
              "gl_dim", "modulation", "output")


@dataclass
class RectifierStageConfig(StageConfig):
    batch: int = 8
    total_kimg: float = 800.0          # the paper: 100,000 iterations of batch 8
    generator: str = option("runs/generator/generator.safetensors", "the generator's file")
    encoder: str = option("runs/encoder/encoder.safetensors", "the encoder's file")
    editors: tuple[str, ...] = option(("runs/directions/directions.safetensors",), "editors; one is drawn per batch")
    attributes: str = option("runs/attributes/attributes.safetensors", "features of the perceptual loss")
    lpips: str = option("", "LPIPS weights (a folder or file) in its place")
    images: str = option("", "your pictures, for sheets, metrics and some extras: a folder, .zip, .tar or shards")
    resolution: int = option(0, "of the rectifier; 0: the generator's, at most the paper's 512")
    encoder_channels: tuple[int, ...] = option((32, 64, 128, 256, 512), "of E_p and E_d from full size down; these "
                                               "widths fit 512 px, below it fewer are used")
    body_channels: int = option(512, "of the decoder's blocks at the code's size")
    body_blocks: int = option(2, "how many of these")
    decoder_channels: tuple[int, ...] = option((512, 256, 128, 64), "of the decoder, one per upsampling")
    sp_channels: int = option(64, "of the spatial code")
    gl_channels: tuple[int, ...] = option((1024, 2048), "of the head of the global code")
    gl_dim: int = option(2048, "of the global code")
    modulation: str = option("spatial+global", "spatial, global or spatial+global (ablation)")
    output: str = option("literal", 'beyond the paper: "residual" adds the network\'s picture to Y^')
    l1_weight: float = option(1.0, "of L1 in equation 9")
    perceptual_weight: float = option(1.0, "of the perceptual distance in equation 9")
    gan_weight: float = option(1.0, "of the adversarial term in equation 9")
    r1_gamma: float = option(10.0, "of the discriminator's gradient penalty")
    r1_interval: int = option(16, "steps between two penalties")
    d_channels: tuple[int, ...] = option((512, 512, 512, 512, 256, 128, 64, 32), "of D at 4, 8, ... resolution")
    edits_per_sample: int = option(2, "how many controls change at once, at most")
    edit_strength: float = option(0.5, "standard deviation of a change, as a share of the control's range")
    edit_weights: dict[str, float] = option({}, "control -> how readily it is drawn; 1 where not named")
    triplet_weights: tuple[float, ...] = option((1.0, 1.0, 1.0), "how readily each triplet is drawn")
    extras: dict[str, dict[str, object]] = option({}, "beyond the paper, see trainer/extras: name -> settings")
    without: tuple[str, ...] = option((), "names of extras of the config file that are left out")

    def validate(self) -> None:
        super().validate()
        build_extras(self.extras, self.without)
        weights = self.triplet_weights
        if len(weights) != 3 or min(weights) < 0 or max(weights) <= 0:
            raise InputError(f"triplet_weights are three numbers from 0 up, not all 0; found {weights}.")
        if min(self.edit_weights.values(), default=1.0) <= 0:
            raise InputError(f"edit_weights must be above 0; found {self.edit_weights}.")

    def network(self, resolution: int, further: dict[str, object]) -> RectifierConfig:
        """The rectifying network's config at a resolution, with further options of extras."""
        return rectifier_widths(resolution, **{**{name: getattr(self, name) for name in OF_NETWORK}, **further})
