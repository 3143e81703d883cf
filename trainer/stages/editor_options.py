"""The options of the editor stage and their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

from reganie_core.errors import InputError

from ..loop.config import StageConfig

__all__ = ["EditorStageConfig"]


@dataclass
class EditorStageConfig(StageConfig):
    lr: float = 0.002
    beta1: float = 0.9
    lr_decay_from: float = 0.5
    batch: int = 64
    total_kimg: float = 600.0
    generator: str = "runs/generator/generator.safetensors"
    encoder: str = "runs/encoder/encoder.safetensors"             # empty: codes of the mapping only
    attributes: str = "runs/attributes/attributes.safetensors"
    more_attributes: tuple[str, ...] = ()   # further such networks: what all read on average is harder to deceive
    identity: str = ""                                            # empty: no identity loss
    judge: str = ""                # another attribute network for `validate`; never trained against
    controls: tuple[str, ...] = ()                                # empty: everything that the attribute network reads
    ranges: dict[str, list[float]] = field(default_factory=dict)  # control -> [minimum, maximum]; others are measured
    range_tail: float = 0.01       # share of pictures beyond each end of a measured range
    probes: int = 1024             # generated pictures that tell the spread of codes and the ranges
    reader: int = 256
    trunk: int = 256
    expert: int = 96
    bank: int = 64
    attention: int = 32
    encoded: float = 0.5           # share of codes that the encoder gives
    mixing: float = 0.5            # share of the mapping's codes with two styles
    absolute: float = 0.5          # share of requests that name a value instead of a change
    edits_per_sample: int = 3      # at most, once the schedule is at its end
    easy_share: float = 0.3        # share of the training until everything is asked
    first_reach: float = 0.3       # share of the way to a target that is asked at the start
    shift: int = 2                 # translation of pictures before they are read, in pixels of a teacher
    noise: float = 0.0             # largest deviation of noise on them; for teachers that were trained with noise
    attribute_weight: float = 1.0
    control_weights: dict[str, float] = field(default_factory=dict)   # control -> share of it; 1 where not named
    preserve_weight: float = 1.0
    identity_weight: float = 0.5
    perceptual_weight: float = 0.1
    pixel_weight: float = 0.1
    norm_weight: float = 0.02
    cycle_weight: float = 0.1
    contrast_weight: float = 0.05
    reader_weight: float = 1.0
    answer_weight: float = 0.0     # portraits only: distance to the exact change of the code, see editor_answers.py
    answer_without: tuple[str, ...] = ()   # controls whose exact codes are not trusted: the mapping says them badly
    data: str = "runs/data"        # portraits to encode; empty: generated pictures are encoded
    data_count: int = 20000
    data_seed: int = 0
    held_out_seed: int = 500_000_000
    held_out_count: int = 200

    def validate(self) -> None:
        super().validate()
        if self.batch % 2 or self.edits_per_sample < 1:
            raise InputError(f"batch must be even, because the halves share targets, and edits_per_sample at least 1; "
                             f"found {self.batch} and {self.edits_per_sample}.")
        for name, ends in self.ranges.items():
            if len(ends) != 2 or not all(isinstance(end, int | float) for end in ends) or not ends[0] < ends[1]:
                raise InputError(f"ranges: {name} needs [minimum, maximum], found {ends!r}.")
