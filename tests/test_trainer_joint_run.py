"""The joint stage in the training loop: resumed, and asked for what it does not do."""

from __future__ import annotations

import pytest
import torch

from reganie_core.checkpoints import load_generator
from reganie_core.errors import InputError
from trainer.loop.run import Run
from trainer.stages.joint import JointStage, JointStageConfig

from .test_trainer_joint import SMALL, features, folder  # noqa: F401


def run(folder, out, kimg, resume=False):  # noqa: F811
    config = JointStageConfig(images=str(folder), **SMALL, total_kimg=kimg, tick_kimg=0.004, sheet_kimg=1)
    made = Run(JointStage(config, features), out, ["test"])
    made.prepare(resume)
    made.run()
    return made


def test_a_resumed_run_equals_an_uninterrupted_one(folder, tmp_path):  # noqa: F811
    whole = run(folder, tmp_path / "whole", 0.016)
    run(folder, tmp_path / "parts", 0.008)
    parts = run(folder, tmp_path / "parts", 0.016, resume=True)
    assert parts.seen == whole.seen == 16
    for name, module in whole.stage.modules.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, parts.stage.modules[name].state_dict()[key]), (name, key)
    one, two = (load_generator(r.export_path) for r in (whole, parts))
    assert one.fingerprint == two.fingerprint


def test_micro_batches_are_refused_and_not_ignored(folder, tmp_path):  # noqa: F811
    stage = JointStage(JointStageConfig(images=str(folder), **SMALL, accumulate=2), features)
    with pytest.raises(InputError, match="accumulate=1"):
        Run(stage, tmp_path / "run", ["test"])
