"""Path length regularisation against closed forms of linear generators."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reganie_core.errors import InputError
from trainer.loop.config import build
from trainer.loop.run import Run
from trainer.stages.generator import GeneratorStage, GeneratorStageConfig
from trainer.stages.path_length import DECAY, PathLength


def linear(matrix: torch.Tensor, ws: torch.Tensor) -> torch.Tensor:
    """Pictures 3x4x4 that are `matrix` [48,W] times the sum of a picture's style vectors."""
    return (ws.sum(dim=1) @ matrix.T).view(-1, 3, 4, 4)


@pytest.mark.parametrize("batch", [1, 3])
def test_lengths_of_a_linear_generator(batch: int) -> None:
    random = torch.Generator().manual_seed(0)
    matrix = torch.randn(48, 6, generator=random, dtype=torch.float64)
    ws = torch.randn(batch, 5, 6, generator=random, dtype=torch.float64, requires_grad=True)
    y = torch.randn(batch, 3, 4, 4, generator=random, dtype=torch.float64)
    found = PathLength().lengths(linear(matrix, ws), ws, y)
    wanted = (y.flatten(1) @ matrix).norm(dim=1) / 4               # the same in every layer
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-6)


def test_the_mean_follows_slowly_and_the_penalty_is_its_squared_distance() -> None:
    regular = PathLength()
    assert float(regular.penalty(torch.tensor([3.0, 1.0]))) == pytest.approx(5.0)
    regular.update(torch.tensor(2.0))
    assert float(regular.mean) == pytest.approx(2.0 * DECAY)
    for _ in range(2000):
        regular.update(torch.tensor(2.0))
    assert float(regular.penalty(torch.tensor([3.0, 1.0]))) == pytest.approx(1.0, rel=1e-3)


def test_it_draws_a_linear_generator_towards_an_orthogonal_one() -> None:
    """Lengths of all y are equal where all singular values are (the paper's appendix C)."""
    random = torch.Generator().manual_seed(1)
    matrix = (torch.randn(48, 4, generator=random) * torch.tensor([3.0, 1.5, 1.0, 0.5])).requires_grad_()
    optimizer, regular = torch.optim.Adam([matrix], lr=0.02), PathLength()
    before = torch.linalg.svdvals(matrix.detach())
    for _ in range(400):
        ws = torch.randn(16, 2, 4, generator=random, requires_grad=True)
        lengths = regular.lengths(linear(matrix, ws), ws, torch.randn(16, 3, 4, 4, generator=random))
        optimizer.zero_grad()
        regular.penalty(lengths).backward()
        optimizer.step()
        regular.update(lengths.detach().mean())
    after = torch.linalg.svdvals(matrix.detach())
    assert after[0] / after[-1] < 0.5 * before[0] / before[-1]


def test_the_stage_regularises_resumes_bit_exact_and_says_so(tmp_path: Path) -> None:
    options = ["resolution=16", "channels=8,8,8", "w_dim=8", "mapping_layers=2", "batch=4", "data_count=12",
               "tick_kimg=0.008", "sheet_kimg=1", f"data={tmp_path / 'data'}", "path_length_interval=2"]

    def run(out: str, kimg: float, *more: str, resume: bool = False) -> Run:
        run = Run(GeneratorStage(build(GeneratorStageConfig, None, [*options, f"total_kimg={kimg}", *more])),
                  tmp_path / out, ["test"])
        run.prepare(resume)
        run.run()
        return run

    whole = run("whole", 0.024, "path_length_weight=2")
    run("parts", 0.012, "path_length_weight=2")
    parts = run("parts", 0.024, "path_length_weight=2", resume=True)
    assert float(whole.stage.modules["path_length"].mean) > 0
    for name, module in whole.stage.modules.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, parts.stage.modules[name].state_dict()[key]), (name, key)
    assert '"path_length"' in (whole.folder / "stats.jsonl").read_text()
    plain = run("plain", 0.024)
    assert "path_length" not in plain.stage.modules
    assert not torch.equal(plain.stage.G.synthesis.b16.conv1.weight, whole.stage.G.synthesis.b16.conv1.weight)
    with pytest.raises(InputError, match="path_length_interval must be above 0; found 0"):
        build(GeneratorStageConfig, None, [*options, "path_length_interval=0"])
