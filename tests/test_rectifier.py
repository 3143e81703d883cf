"""The rectifying network: everything that can be said about it without trained weights."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from reganie_core import networks
from reganie_core.errors import CorruptCheckpointError, InputError, MismatchError, UnsupportedCheckpointError
from reganie_core.networks.modulation import GlobalModulation, SpatialModulation, UnitConv, unit_rms
from reganie_core.networks.rectifier import (
    MODULATIONS,
    OUTPUTS,
    PRESETS,
    DecoderBlock,
    DeltaCode,
    Rectifier,
    RectifierConfig,
)
from reganie_core.networks.rectifier_encoders import GlobalHead, ResidualDown

TINY = RectifierConfig(
    resolution=32,
    encoder_channels=(6, 8, 10),
    body_channels=12,
    body_blocks=1,
    decoder_channels=(10, 8),
    sp_channels=7,
    gl_channels=(9,),
    gl_dim=11,
    output="residual",
)


def make(seed: int = 0, **changes: object) -> Rectifier:
    """A float64 rectifier none of whose weights is zero."""
    torch.manual_seed(seed)
    network = Rectifier(dataclasses.replace(TINY, **changes)).double()
    network.compute_dtype = torch.float64
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return network


def pictures(count: int, size: int = 32, seed: int = 1, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * (2 * torch.rand(count, 3, size, size, generator=generator, dtype=torch.float64) - 1)


@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("carrying", [(), (5, 6)])
def test_a_batch_is_its_rows(modulation: str, output: str, carrying: tuple[int, ...]) -> None:
    if carrying and (output, "spatial" in modulation) != ("residual", True):
        pytest.skip("nothing to carry")
    network = make(modulation=modulation, output=output, carry_channels=carrying)
    edited, delta = pictures(3), pictures(3, seed=2, scale=2.0)
    with torch.no_grad():
        together = network(edited, delta, inversion=edited)
        rows = torch.cat([network(edited[i : i + 1], delta[i : i + 1], inversion=edited[i : i + 1]) for i in range(3)])
    assert together.shape == (3, 3, 32, 32)
    assert torch.allclose(together, rows, rtol=1e-10, atol=1e-12)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_an_untrained_residual_network_returns_the_edited_picture_exactly(modulation: str) -> None:
    network = Rectifier(dataclasses.replace(TINY, modulation=modulation))
    edited, delta = pictures(2).float(), pictures(2, seed=2).float()
    assert torch.equal(network(edited, torch.zeros_like(delta)), edited)
    assert torch.equal(network(edited, delta), edited)
    literal = Rectifier(dataclasses.replace(TINY, modulation=modulation, output="literal"))
    assert (literal(edited, delta) - edited).abs().max() > 0.1


def test_an_empty_difference_says_nothing_at_the_start() -> None:
    network = Rectifier(TINY)
    code = network.encode_delta(torch.zeros(1, 3, 32, 32))
    assert code.sp.abs().max() == 0 and code.gl.abs().max() == 0
    for block in network.G_p.blocks:
        style = block.spatial.style(code.sp, (16, 16))
        assert torch.allclose(style, torch.ones_like(style))


def test_modulation_modes_leave_the_other_path_out() -> None:
    edited, delta = pictures(1), pictures(1, seed=2)
    for modulation in MODULATIONS:
        network = make(modulation=modulation)
        code = network.encode_delta(delta)
        names = " ".join(dict(network.named_parameters()))
        assert (code.sp is not None) == ("spatial" in modulation) == (".spatial." in names) == ("sp_head" in names)
        assert (code.gl is not None) == ("global" in modulation) == (".global_." in names) == ("gl_head" in names)
        assert (network(edited, delta) - network(edited, -delta)).abs().max() > 1e-3


def test_decoder_block_is_equations_7_and_8() -> None:
    """Against a direct sum over positions and channels, in float64."""
    torch.manual_seed(3)
    block = DecoderBlock(6, 5, False, TINY).double()
    for parameter in block.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    f, sp, gl = (torch.randn(2, *s, dtype=torch.float64) for s in ((6, 4, 4), (7, 4, 4), (11,)))

    def convolve(x: Tensor, conv: UnitConv) -> Tensor:
        weight = conv.weight / conv.weight.flatten(1).norm(dim=1)[:, None, None, None]
        x = F.pad(x, (1, 1, 1, 1))
        out = torch.zeros(2, weight.shape[0], 4, 4, dtype=torch.float64)
        for i, j in itertools.product(range(3), range(3)):
            out += torch.einsum("oc,bchw->bohw", weight[:, :, i, j], x[:, :, i : i + 4, j : j + 4])
        out += conv.bias[:, None, None]
        return torch.where(out > 0, out, 0.2 * out) * 2**0.5

    s = torch.einsum("cs,bshw->bchw", block.spatial.weight[:, :, 0, 0], sp) / 7**0.5
    s = 1 + s + block.spatial.bias[:, None, None]
    s = s / s.square().mean(1, keepdim=True).sqrt()
    f1 = convolve(f * s, block.conv1)
    g = 1 + gl @ block.global_.affine.weight.T / 11**0.5 + block.global_.affine.bias
    g = g / g.square().mean(1, keepdim=True).sqrt()
    f2 = convolve(f1 * g[:, :, None, None], block.conv2)
    skip = torch.einsum("oc,bchw->bohw", block.skip.weight[:, :, 0, 0], f) / 6**0.5
    assert torch.allclose(block(f, DeltaCode(sp, gl)), (f2 + skip) / 2**0.5, rtol=1e-6, atol=1e-7)


def test_upsampling_convolution_is_zero_insertion_then_filter() -> None:
    torch.manual_seed(4)
    conv = UnitConv(3, 4, up=True).double()
    conv.bias.data.normal_()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    spread = torch.zeros(2, 3, 11, 11, dtype=torch.float64)
    spread[:, :, :10:2, :10:2] = x
    weight = conv.weight / conv.weight.flatten(1).norm(dim=1)[:, None, None, None]
    y = F.conv2d(F.pad(spread[:, :, :9, :9], (2, 2, 2, 2)), weight.flip(2, 3))
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
    y = F.conv2d(F.pad(y, (1, 1, 1, 1)), (torch.outer(taps, taps) / 16).expand(4, 1, 4, 4), groups=4)
    y = y + conv.bias[:, None, None]
    expected = F.leaky_relu(y, 0.2) * 2**0.5
    assert torch.allclose(conv(x), expected, rtol=1e-6, atol=1e-7)
    with torch.no_grad():
        assert torch.allclose(conv(x), expected, rtol=1e-6, atol=1e-7)


def test_carrying_sp_before_or_after_interpolation_is_the_same() -> None:
    torch.manual_seed(5)
    modulation = SpatialModulation(7, 6).double()
    modulation.bias.data.normal_()
    sp = torch.randn(2, 7, 4, 4, dtype=torch.float64)
    large = F.interpolate(sp, size=(16, 16), mode="bilinear", align_corners=False)
    assert torch.allclose(modulation.style(sp, (16, 16)), modulation.style(large, (16, 16)), atol=1e-12)
    rms = modulation.style(sp, (16, 16)).square().mean(1)
    assert torch.allclose(rms, torch.ones_like(rms), atol=1e-6)


def test_global_style_has_unit_rms() -> None:
    torch.manual_seed(5)
    modulation = GlobalModulation(11, 6).double()
    style = modulation.style(torch.randn(3, 11, dtype=torch.float64))
    assert torch.allclose(style.square().mean(1), torch.ones(3, dtype=torch.float64), atol=1e-6)


def test_global_code_does_not_see_where() -> None:
    torch.manual_seed(6)
    head = GlobalHead(5, (6,), 8).double()
    features = torch.randn(2, 6, 4, 4, dtype=torch.float64)
    shuffled = features.flatten(2)[:, :, torch.randperm(16)].reshape(features.shape)
    assert torch.allclose(head.project(features), head.project(shuffled), atol=1e-12)
    assert torch.allclose(unit_rms(head.project(features)), head.project(features), atol=1e-6)


def test_spatial_path_moves_with_the_difference() -> None:
    size, shift = 128, 16
    network = make(resolution=size, modulation="spatial", output="literal")
    edited = torch.full((1, 3, size, size), 0.3, dtype=torch.float64)
    patch = torch.zeros(1, 3, size, size, dtype=torch.float64)
    patch[:, :, 52:60, 52:60] = pictures(1, 8)
    moved = torch.roll(patch, (shift, shift), (2, 3))
    with torch.no_grad():
        plain, here, there = (network(edited, d) for d in (torch.zeros_like(patch), patch, moved))
    here, there = here - plain, there - plain
    assert here.abs().max() > 1e-2
    here, inner = torch.roll(here, (shift, shift), (2, 3)), slice(32, size - 16)
    assert torch.allclose(here[..., inner, inner], there[..., inner, inner], atol=1e-9)


def test_blurs_agree_with_and_without_a_graph() -> None:
    torch.manual_seed(7)
    block = ResidualDown(5, 6).double()
    x = torch.randn(2, 5, 16, 16, dtype=torch.float64)
    with_graph = block(x)
    with torch.no_grad():
        assert torch.allclose(block(x), with_graph, atol=1e-12)
    blurred = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), block.kernel.double().expand(5, 1, 3, 3), groups=5)
    main = F.conv2d(F.pad(x, (1,) * 4, mode="reflect"), block.conv1.weight / 45**0.5, block.conv1.bias)
    main = F.leaky_relu(main, 0.2) * 2**0.5
    main = F.conv2d(F.pad(main, (2, 1, 2, 1), mode="reflect"), block.kernel.double().expand(5, 1, 3, 3), groups=5)
    main = F.conv2d(main, block.conv2.weight / 45**0.5, block.conv2.bias, stride=2)
    main = F.leaky_relu(main, 0.2) * 2**0.5
    skip = F.conv2d(blurred[:, :, ::2, ::2], block.skip.weight / 5**0.5)
    assert torch.allclose(with_graph, (main + skip) / 2**0.5, atol=1e-9)


def test_strength_goes_from_the_edited_picture_to_the_network() -> None:
    for output in OUTPUTS:
        network = make(output=output)
        edited, delta = pictures(2), pictures(2, seed=2)
        with torch.no_grad():
            full = network(edited, delta)
            none = network(edited, delta, strength=0.0)
            assert torch.equal(none, edited) and none.data_ptr() != edited.data_ptr()
            assert torch.allclose(network(edited, delta, strength=0.25), edited + 0.25 * (full - edited), atol=1e-12)
        assert (full - edited).abs().max() > 1e-2


def test_one_difference_serves_several_edits_in_image_major_order() -> None:
    network = make()
    edited, delta = pictures(6), pictures(2, seed=2)
    with torch.no_grad():
        code = network.encode_delta(delta)
        together = network.render(edited, code)
        rows = [network(edited[i : i + 1], delta[i // 3 : i // 3 + 1]) for i in range(6)]
        assert torch.allclose(together, torch.cat(rows), atol=1e-12)
        assert torch.allclose(network(edited, delta), together, atol=1e-12)
        with pytest.raises(MismatchError, match="5 edited pictures cannot share 2"):
            network.render(edited[:5], code)


def test_other_sizes_and_layouts_are_refused() -> None:
    network = make()
    edited = pictures(1)
    with pytest.raises(MismatchError, match="64x64"):
        network(pictures(1, 64), edited)
    with pytest.raises(MismatchError, match="difference image"):
        network(edited, pictures(1, 16))
    with pytest.raises(MismatchError):
        network(edited, pictures(1, 16), strength=0.0)
    with pytest.raises(InputError):
        network(edited[0], edited)
    with pytest.raises(InputError):
        network((edited * 255).to(torch.uint8), edited)


def test_bfloat16_is_close_and_comes_back_as_float32() -> None:
    network = make().float()
    edited, delta = pictures(2).float(), pictures(2, seed=2).float()
    with torch.no_grad():
        network.compute_dtype = torch.float32
        exact = network(edited, delta)
        network.compute_dtype = torch.bfloat16
        rough = network(edited, delta)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.05 * (exact - edited).abs().max()


def test_every_weight_learns() -> None:
    network = make()
    network(pictures(2), pictures(2, seed=2)).square().mean().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert still == []


# Multiply-adds at 512 and parameters, both networks' encoders, heads and decoder together: the table of the reference,
# in units of 10^9 and 10^6. The whole convolutions are counted, blurs included.
@pytest.mark.parametrize(("preset", "macs", "parameters"), [("A", 100, 54.0), ("B", 223, 59.6), ("C", 25, 15.6)])
def test_presets_cost_what_the_design_says(preset: str, macs: float, parameters: float) -> None:
    with torch.device("meta"):
        network = Rectifier(RectifierConfig.preset(preset))
        picture = torch.zeros(1, 3, 512, 512)
    assert network.encode_delta(picture).sp.shape[-2:] == (32, 32)
    assert network.encode_delta(picture).gl.shape == (1, 2048)
    counter = FlopCounterMode(display=False)
    with counter:
        network(picture, picture)
    assert counter.get_total_flops() / 2e9 == pytest.approx(macs, rel=0.02)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(parameters, rel=0.02)


def test_presets_build_and_describe_themselves() -> None:
    for name in PRESETS:
        with torch.device("meta"):
            network = Rectifier(RectifierConfig.preset(name, modulation="spatial"))
            assert networks.build("rectifier", networks.describe(network)).config == network.config
    with pytest.raises(InputError, match="known: A, B, C"):
        RectifierConfig.preset("D")


@pytest.mark.parametrize(
    "changes",
    [
        {"decoder_channels": (8,)},
        {"modulation": "none"},
        {"output": "both"},
        {"gl_channels": (9, 9, 9)},
        {"resolution": 33},
        {"sp_channels": 0},
    ],
)
def test_impossible_configurations_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError):
        dataclasses.replace(TINY, **changes)
    config = {"type": "Rectifier", **dataclasses.asdict(TINY), **changes}
    with pytest.raises(CorruptCheckpointError):
        networks.build("rectifier", config)


def test_the_registry_names_what_it_knows() -> None:
    with pytest.raises(UnsupportedCheckpointError, match="Rectifier"):
        networks.build("rectifier", {"type": "Painter"})
    with pytest.raises(UnsupportedCheckpointError, match="generator"):
        networks.build("painter", {"type": "Painter"})
    with pytest.raises(UnsupportedCheckpointError, match="sparkle"):
        networks.build("rectifier", {"type": "Rectifier", "sparkle": 1})
    with pytest.raises(UnsupportedCheckpointError):
        networks.build("encoder", {"type": None})


def blobs(count: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Fixed triplets (Y^, dX, Y): the item is in dX at one place and belongs a fifth of the picture's half further."""
    generator = torch.Generator().manual_seed(8)
    axis = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")

    def disc(cx: float, cy: float, r: float) -> Tensor:
        return torch.sigmoid((r - ((x - cx) ** 2 + (y - cy) ** 2).sqrt()) * 12)

    edited, delta, target = [], [], []
    for _ in range(count):
        r = torch.rand(8, generator=generator)
        base = (disc(0, 0, 0.7) * (2 * r[:3, None, None] - 1)).clamp(-1, 1) - 0.3
        colour = (2 * r[3:6, None, None] - 1) * 0.9
        cx, cy = float(r[6]) - 0.5, float(r[7]) - 0.5
        edited.append(base)
        delta.append(disc(cx, cy, 0.5) * (colour - base))
        target.append(base + disc(cx + 0.2, cy, 0.5) * (colour - base))
    return torch.stack(edited), torch.stack(delta), torch.stack(target)


def test_it_learns_four_triplets_by_heart() -> None:
    torch.manual_seed(9)
    config = RectifierConfig(
        resolution=32, encoder_channels=(16, 32, 48), body_channels=48, body_blocks=1, decoder_channels=(48, 32),
        sp_channels=32, gl_channels=(48,), gl_dim=48,
    )
    network = Rectifier(config)
    edited, delta, target = blobs(4, 32)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.002, betas=(0.0, 0.99))
    start = (edited - target).abs().mean().item()
    best = start
    for _ in range(300):
        loss = (network(edited, delta) - target).abs().mean()
        best = min(best, loss.item())
        if best < 0.03:
            break
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    assert start > 0.06
    assert best < 0.03
