"""The defaults of the rectifier stage and its network are the paper's (ReGANIE, AAAI 2023, section 4)."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from reganie_core import networks
from reganie_core.networks.rectifier import Rectifier, RectifierConfig
from trainer.loop.optimisation import adam
from trainer.stages.rectifier_options import RectifierStageConfig

PAPER = {
    "lr": 0.002, "beta1": 0.0, "beta2": 0.99, "batch": 8, "total_kimg": 800.0, "output": "literal",
    "modulation": "spatial+global", "gl_dim": 2048, "l1_weight": 1.0, "perceptual_weight": 1.0, "gan_weight": 1.0,
    "gan_start_kimg": 0.0, "triplet_weights": (1.0, 1.0, 1.0), "delta_input": "delta", "primary_input": "inversion",
}
BEYOND = {
    "l2_weight": 0.0, "changed_weight": 0.0, "attribute_weight": 0.0, "edited_codes": 0.0, "paste": 0.0, "jitter": 0.0,
    "crop_error": 0.0, "real": 0.0, "real_edits": 0.0, "behind_weight": 0.0, "carry_channels": (),
    "primary_skips": False, "edit_weights": {}, "edit_gains": {}, "more_attributes": (),
}


@pytest.mark.parametrize(("name", "value"), [*PAPER.items(), *BEYOND.items()])
def test_the_default_is_the_papers(name, value):
    assert asdict(RectifierStageConfig())[name] == value


def test_r1_regularises_the_discriminator():
    assert RectifierStageConfig().r1_gamma > 0


def test_the_optimiser_is_adam_with_the_papers_numbers():
    optimiser = adam(torch.nn.Linear(2, 2), RectifierStageConfig())
    group = optimiser.param_groups[0]
    assert isinstance(optimiser, torch.optim.Adam) and (group["lr"], group["betas"]) == (0.002, (0.0, 0.99))


def test_the_network_gives_a_picture_of_its_own():
    config = RectifierConfig()
    assert config.output == "literal" and config.gl_dim == 2048 and not config.carry_channels
    assert config.modulation == "spatial+global" and config.resolution == 512


def test_files_that_do_not_say_load_as_before():
    small = RectifierConfig.preset("small", output="residual")
    fields = {"type": "Rectifier", **{k: v for k, v in asdict(small).items() if k != "output"}}
    network = networks.build("rectifier", fields)
    assert isinstance(network, Rectifier) and network.config.output == "residual"
    assert networks.build("rectifier", {**fields, "output": "literal"}).config.output == "literal"
