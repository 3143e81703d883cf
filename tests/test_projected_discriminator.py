"""The discriminator that looks through a frozen network of the domain."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from reganie_core import portraits
from reganie_core.checkpoints import save_checkpoint
from reganie_core.errors import InputError, MismatchError
from reganie_core.networks import describe
from reganie_core.networks.attribute_net import AttributeNet, AttributeNetConfig
from reganie_core.networks.projected_discriminator import ProjectedDiscriminator, ProjectedDiscriminatorConfig
from trainer.loop.config import build
from trainer.loop.run import Run
from trainer.losses import discriminator_loss
from trainer.stages.generator import GeneratorStage, GeneratorStageConfig


def reader(seed: int = 0) -> AttributeNet:
    torch.manual_seed(seed)
    net = AttributeNet(AttributeNetConfig(16, (8, 12), ("smile",), (), (0.0,), (1.0,), hidden=8))
    return net.eval().requires_grad_(False)


def discriminator(resolution: int = 32, seed: int = 0) -> ProjectedDiscriminator:
    net = reader(seed)
    return ProjectedDiscriminator(ProjectedDiscriminatorConfig(resolution, (8, 12, 16)), net)


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("resolution", [16, 32, 64])
def test_every_scale_has_as_many_votes_and_every_sample_its_own(batch: int, resolution: int) -> None:
    net = discriminator(resolution).eval()
    x = torch.randn(batch, 3, resolution, resolution)
    with torch.inference_mode():
        logits = net(x)
        assert logits.shape == (batch, 3 * (resolution // 8) ** 2)
        assert [p.shape[-1] for p in net.projections(x)] == [resolution, resolution // 2, resolution // 4]
        torch.testing.assert_close(net(x[:1]), logits[:1], rtol=1e-4, atol=1e-5)


def test_only_heads_learn_and_the_trunk_is_no_part_of_the_file() -> None:
    net = discriminator()
    x = torch.randn(2, 3, 32, 32, requires_grad=True)
    net(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert {name.split(".")[0] for name, _ in net.named_parameters()} == {"heads"}
    assert {name.split(".")[0] for name in net.state_dict()} == {"heads", "mix0", "mix1", "mix2", "carry0", "carry1"}
    assert all(p.grad is None for p in net._trunk[0].parameters())


def test_the_heads_convolutions_have_spectral_norm_one() -> None:
    net = discriminator().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net(torch.randn(1, 3, 32, 32))
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())     # looking changes nothing
    for _ in range(60):
        net.measure_norms()
    for conv in (conv for head in net.heads for conv in head.convs):
        norm = torch.linalg.matrix_norm(conv.weight.detach().double().flatten(1), 2)
        assert float(norm) == pytest.approx(1, abs=0.02)


def test_pictures_are_seen_in_their_own_size() -> None:
    net = discriminator(32).eval()
    fine = torch.randn(1, 3, 16, 16).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    other = fine.clone()
    other[..., ::2, :] += 0.3
    other[..., 1::2, :] -= 0.3                     # the same picture once it is shrunk to what the trunk reads
    trunk = net._trunk[0]
    torch.testing.assert_close(trunk.features(fine)[0], trunk.features(other)[0], rtol=1e-4, atol=1e-4)
    assert (net(fine) - net(other)).abs().max() > 1e-3


def test_it_soon_tells_blurred_portraits_from_sharp_ones() -> None:
    sharp = portraits.render(portraits.sample(32, 0), 32)
    blurred = F.avg_pool2d(F.pad(sharp, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    net = discriminator(seed=1)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3, betas=(0.0, 0.99))
    for step in range(60):
        net.measure_norms()
        rows = torch.arange(8) + 8 * (step % 3)
        loss = discriminator_loss(net(sharp[rows]), net(blurred[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = net.eval()(sharp[24:]).mean(dim=1) > net(blurred[24:]).mean(dim=1)      # never shown
    assert right.float().mean() >= 0.9


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(InputError, match="3 feature maps"):
        ProjectedDiscriminator(ProjectedDiscriminatorConfig(32, (8, 8)), reader())
    with pytest.raises(InputError, match="at least 16"):
        ProjectedDiscriminator(ProjectedDiscriminatorConfig(8, (8, 8, 8)), reader())
    with pytest.raises(InputError, match="at least one channel"):
        ProjectedDiscriminatorConfig(32, (8, 0, 8))
    with pytest.raises(MismatchError, match=r"\[B,3,32,32\]"):
        discriminator(32)(torch.zeros(1, 3, 16, 16))
    with pytest.raises(InputError, match="attributes=FILE"):
        build(GeneratorStageConfig, None, ["projected=8,12,16"])


def stage_options(tmp_path: Path) -> list[str]:
    net = reader()
    save_checkpoint(tmp_path / "attributes.safetensors", "attributes", describe(net), net.state_dict(), {})
    return ["resolution=16", "channels=8,8,8", "w_dim=8", "mapping_layers=2", "batch=4", "data_count=12",
            "tick_kimg=0.008", "sheet_kimg=1", f"data={tmp_path / 'data'}", "projected=8,12,16",
            f"attributes={tmp_path / 'attributes.safetensors'}"]


@pytest.mark.parametrize("more", [[], ["d_channels=8,8,8", "r1_interval=2"]], ids=["alone", "beside another"])
def test_a_generator_trains_against_it_and_resumes_bit_exact(tmp_path: Path, more: list[str]) -> None:
    options = [*stage_options(tmp_path), *more]

    def run(out: str, kimg: float, resume: bool = False) -> Run:
        run = Run(GeneratorStage(build(GeneratorStageConfig, None, [*options, f"total_kimg={kimg}"])), tmp_path / out,
                  ["test"])
        run.prepare(resume)
        run.run()
        return run

    whole, first = run("whole", 0.024), run("parts", 0.012)
    heads = {k: v.clone() for k, v in first.stage.D.state_dict().items()}
    parts = run("parts", 0.024, resume=True)
    for name, module in whole.stage.modules.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, parts.stage.modules[name].state_dict()[key]), (name, key)
    after = parts.stage.D.state_dict()
    learned = {k for k in heads if not torch.equal(heads[k], after[k])}
    assert any("heads" in k for k in learned) and not any("mix" in k or "carry" in k for k in learned)
    assert any("b16" in k for k in learned) == bool(more)
    assert ('"r1"' in (whole.folder / "stats.jsonl").read_text()) == bool(more)


def test_two_discriminators_count_alike(tmp_path: Path) -> None:
    stage = GeneratorStage(build(GeneratorStageConfig, None, [*stage_options(tmp_path), "d_channels=8,8,8"]))
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        projected, pixels, both = stage.projected(x), stage.pixels(x), stage.D(x)
    assert both.shape == (4, 2 * projected.shape[1])
    torch.testing.assert_close(both.mean(dim=1), (projected.mean(dim=1) + pixels.mean(dim=1)) / 2)


def test_pairs_may_be_compared_at_a_smaller_size(tmp_path: Path) -> None:
    """Then what is finer does not count: adding a checkerboard to the pictures changes nothing."""
    found = []
    for size in (0, 8):
        options = [*stage_options(tmp_path), "w_dim=90", "pairs=1", f"pairs_size={size}", "adversarial=0", "projected=",
                   "mixing=0", "noise=false"]
        stage = GeneratorStage(build(GeneratorStageConfig, None, options))
        board = 0.5 * (1 - 2 * (torch.arange(16)[:, None] + torch.arange(16) & 1).float())
        plain = stage.pair

        def with_board(*arguments, plain=plain, board=board):
            real, fake, w = plain(*arguments)
            return real, fake + board, w

        losses = []
        for pair in (plain, with_board):
            stage.pair = pair
            losses.append(float(next(stage.losses_g(0, [torch.arange(4)], [], [], [])).detach()))
        found.append(losses)
    assert abs(found[0][0] - found[0][1]) > 0.01 * found[0][0]
    assert found[1][0] == pytest.approx(found[1][1], rel=1e-5)
    with pytest.raises(InputError, match="divides the resolution"):
        build(GeneratorStageConfig, None, ["resolution=64", "pairs_size=48"])


@pytest.mark.parametrize("smaller", [["d_channels=8,8,8"], []], ids=["both", "projected alone"])
def test_growing_hands_on_what_sees_pixels(tmp_path: Path, smaller: list[str]) -> None:
    options = stage_options(tmp_path)
    run = Run(GeneratorStage(build(GeneratorStageConfig, None, [*options, *smaller, "total_kimg=0.008"])),
              tmp_path / "small", ["test"])
    run.prepare(False)
    run.run()
    larger = ["resolution=32", "channels=8,8,8,6", "d_channels=8,8,8,6", f"grow_from={tmp_path / 'small'}"]
    for more in ([], ["projected="]):
        stage = GeneratorStage(build(GeneratorStageConfig, None, [*options, *larger, *more]))
        if run.stage.pixels is not None:
            assert torch.equal(stage.pixels.b16.conv0.weight, run.stage.pixels.b16.conv0.weight)
