"""The options of the rectifier stage and their defaults, which are the paper's."""

from __future__ import annotations

from dataclasses import dataclass, field

from reganie_core.errors import InputError

from ..loop.config import StageConfig

__all__ = ["OF_NETWORK", "RectifierStageConfig"]

#: Options that are the network's own.
OF_NETWORK = ("encoder_channels", "body_channels", "body_blocks", "decoder_channels", "sp_channels", "gl_channels",
              "gl_dim", "modulation", "output", "primary_skips", "carry_channels")


@dataclass
class RectifierStageConfig(StageConfig):
    batch: int = 8
    total_kimg: float = 800.0          # the paper: 100,000 iterations of batch 8
    generator: str = "runs/generator/generator.safetensors"
    encoder: str = "runs/encoder/encoder.safetensors"
    editors: tuple[str, ...] = ("runs/directions/directions.safetensors",)   # one is drawn per batch
    attributes: str = "runs/attributes/attributes.safetensors"   # features of the perceptual loss
    more_attributes: tuple[str, ...] = ()  # further such networks for attribute_weight: several are harder to deceive
    lpips: str = ""                    # LPIPS weights (a folder or file) in its place
    resolution: int = 0                # of the rectifier; 0: the generator's, at most the paper's 512
    encoder_channels: tuple[int, ...] = (32, 64, 128, 256, 512)   # these widths fit 512 px; below, fewer are used
    body_channels: int = 512
    body_blocks: int = 2
    decoder_channels: tuple[int, ...] = (512, 256, 128, 64)
    sp_channels: int = 64
    gl_channels: tuple[int, ...] = (1024, 2048)
    gl_dim: int = 2048
    modulation: str = "spatial+global"
    output: str = "literal"            # beyond the paper: "residual" adds the network's picture to Y^
    primary_skips: bool = False        # beyond the paper: E_p's finer maps reach the decoder
    carry_channels: tuple[int, ...] = ()   # beyond the paper: dX is carried to where it belongs in Y^; widths
    flow_dropout: float = 0.1          # share of batches without a flow, for those who have a difference and no X^
    l1_weight: float = 1.0
    l2_weight: float = 0.0             # beyond the paper
    perceptual_weight: float = 1.0
    changed_weight: float = 0.0        # beyond the paper: L1 where the edit changes the picture, each edit alike
    attribute_weight: float = 0.0      # beyond the paper: the picture shows the attributes of I (needs `attributes`)
    gan_weight: float = 1.0
    gan_start_kimg: float = 0.0
    r1_gamma: float = 10.0
    r1_interval: int = 16
    d_channels: tuple[int, ...] = (512, 512, 512, 512, 256, 128, 64, 32)   # at 4, 8, ... resolution
    edits_per_sample: int = 2          # how many controls change at once, at most
    edit_strength: float = 0.5         # standard deviation of a change, as a share of the control's range
    edit_weights: dict[str, float] = field(default_factory=dict)  # control -> how readily it is drawn; 1 if not named
    triplet_weights: tuple[float, ...] = (1.0, 1.0, 1.0)          # how readily each triplet is drawn
    edited_codes: float = 0.0          # beyond the paper: share of triplets 2 whose Y^ is G(Editor(E(X))), as in use
    paste: float = 0.0                 # share of samples with pasted shapes
    paste_moving: bool = True          # carry them from X to Y by optical flow; else they stay in place
    paste_below: float = 0.5           # share in which they lie below what the edit adds, like paint; else above
    jitter: float = 0.0                # largest common error of the codes, as a share of the way to another code
    crop_error: float = 0.0            # how far crops are off, X and Y alike, see `crops.py`; found faces: 0.02
    real: float = 0.0                  # share of batches with training pictures
    real_edits: float = 0.0            # share of batches with edited training pictures (needs attribute_weight)
    edit_gains: dict[str, float] = field(default_factory=dict)  # attribute -> how much of a change these have to show
    behind_weight: float = 0.0         # of these: what is behind an object that is put on is the picture's
    behind_share: float = 1.0          # how much of it shows there: glass tints and a frame hides a part
    images: str = ""                   # your pictures (sheets, metrics, real, ...): a folder, .zip, .tar or shards
    data: str = "runs/data"
    data_count: int = 20000
    data_seed: int = 0
    delta_input: str = "delta"         # what E_d sees: delta | image | nothing
    primary_input: str = "inversion"   # what E_p sees: inversion | nothing

    def validate(self) -> None:
        super().validate()
        self.check_shares("flow_dropout", "edited_codes", "paste", "paste_below", "jitter", "crop_error", "real",
                          "real_edits", "behind_share")
        if self.delta_input not in ("delta", "image", "nothing"):
            raise InputError(f"delta_input is delta, image or nothing; found {self.delta_input!r}.")
        if self.primary_input not in ("inversion", "nothing"):
            raise InputError(f"primary_input is inversion or nothing; found {self.primary_input!r}.")
        if self.attribute_weight and self.lpips:
            raise InputError("attribute_weight needs the attribute network as the perceptual loss: leave lpips empty.")
        if self.real_edits and not self.attribute_weight:
            raise InputError("real_edits compares what is read before and after an edit: it needs attribute_weight "
                             "above 0. Set that, or real_edits=0.")
        weights = self.triplet_weights
        if len(weights) != 3 or min(weights) < 0 or max(weights) <= 0:
            raise InputError(f"triplet_weights are three numbers from 0 up, not all 0; found {weights}.")
        for name in ("edit_weights", "edit_gains"):
            if min(getattr(self, name).values(), default=1.0) <= 0:
                raise InputError(f"{name} must be above 0; found {getattr(self, name)}.")
