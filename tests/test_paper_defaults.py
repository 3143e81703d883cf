"""The defaults of the rectifier stage and its network are the paper's (ReGANIE, AAAI 2023, section 4)."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from reganie_core import networks
from reganie_core.errors import UnsupportedCheckpointError
from reganie_core.networks.rectifier import Rectifier, RectifierConfig
from trainer.loop.optimisation import adam
from trainer.stages.rectifier_options import RectifierStageConfig

PAPER = {
    "lr": 0.002, "beta1": 0.0, "beta2": 0.99, "batch": 8, "total_kimg": 800.0, "output": "literal",
    "modulation": "spatial+global", "gl_dim": 2048, "l1_weight": 1.0, "perceptual_weight": 1.0, "gan_weight": 1.0,
    "triplet_weights": (1.0, 1.0, 1.0), "edit_weights": {}, "r1_interval": 16,
    "extras": {},                                               # nothing beyond the paper
}


@pytest.mark.parametrize(("name", "value"), [*PAPER.items()])
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


def test_files_of_before_load():
    small = RectifierConfig.preset("small", output="residual")
    fields = {"type": "Rectifier", **{k: v for k, v in asdict(small).items() if k != "output"}}
    network = networks.build("rectifier", fields)
    assert isinstance(network, Rectifier) and network.config.output == "residual"
    assert networks.build("rectifier", {**fields, "output": "literal"}).config.output == "literal"
    assert networks.build("rectifier", {**fields, "primary_skips": False}).config == small
    with pytest.raises(UnsupportedCheckpointError, match="primary_skips"):
        networks.build("rectifier", {**fields, "primary_skips": True})
