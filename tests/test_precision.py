"""Which dtype a network computes in, and that the cheaper convolution is a convolution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from reganie_core.errors import InputError
from reganie_core.networks import precision, winograd
from reganie_core.networks.layers import reflect_pad
from reganie_core.networks.stylegan2 import Generator, GeneratorConfig

CPU = torch.device("cpu")


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("with_bias", [False, True])
def test_winograd_is_the_convolution(padding: int, with_bias: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 128, 66 - 2 * padding, 74 - 2 * padding).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(130, 128, 3, 3), torch.randn(130) if with_bias else None
    expected = F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), padding=padding)
    with torch.no_grad():
        found = winograd.conv3x3(x, weight, bias, padding)
        with winograd.direct_only():
            direct = winograd.conv3x3(x, weight, bias, padding)
    assert not torch.equal(found, direct)  # it was used
    assert (found - expected).abs().max() < 3e-5 * expected.abs().max()
    assert (direct - expected).abs().max() < 1e-5 * expected.abs().max()
    assert torch.equal(found[:1], winograd_single(x[:1], weight, bias, padding))


def winograd_single(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: int) -> torch.Tensor:
    with torch.no_grad():
        return winograd.conv3x3(x, weight, bias, padding)


@pytest.mark.parametrize("pads", [(1, 1), (2, 1), (1, 0), (2, 2), (0, 0)])
def test_reflected_border(pads: tuple[int, int]) -> None:
    x = torch.randn(2, 3, 5, 6).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert torch.equal(reflect_pad(x, *pads), F.pad(x, (*pads, *pads), mode="reflect"))


def test_dtype_is_chosen_and_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(precision.VARIABLE, raising=False)
    with torch.no_grad():
        for native, expected in ((True, torch.bfloat16), (False, torch.float32)):
            monkeypatch.setattr(precision, "native_bfloat16", lambda native=native: native)
            assert precision.activation_dtype(CPU, 1024) is expected
        monkeypatch.setattr(precision, "native_bfloat16", lambda: True)
        assert precision.activation_dtype(CPU, 128) is torch.float32
        assert precision.activation_dtype(torch.device("cuda"), 1024) is torch.float32
        monkeypatch.setenv(precision.VARIABLE, "float32")
        assert precision.activation_dtype(CPU, 1024) is torch.float32
        with precision.use("bfloat16"):
            assert precision.activation_dtype(CPU, 1024) is torch.bfloat16
    with precision.use("bfloat16"), torch.enable_grad():
        assert precision.activation_dtype(CPU, 1024) is torch.float32  # gradients are never computed in it
    monkeypatch.setenv(precision.VARIABLE, "int4")
    with pytest.raises(InputError, match="float32"):
        precision.choice()


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    network = Generator(GeneratorConfig(256, (16, 16, 16, 16, 16, 12, 8), z_dim=16, w_dim=16)).eval()
    for block in network.synthesis.blocks:
        for layer in block.layers[:-1]:
            layer.noise_strength.data.fill_(0.1)
    return network.requires_grad_(False)


def test_bfloat16_picture_is_the_picture(generator: Generator) -> None:
    ws = torch.randn(1, generator.num_ws, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        with precision.use("float32"):
            exact = generator.synthesis(ws)
        with precision.use("bfloat16"):
            half = generator.synthesis(ws)
    assert half.dtype is torch.float32 and not torch.equal(half, exact)
    spread = exact.max() - exact.min()
    assert 10 * torch.log10(spread.square() / (half - exact).square().mean()) > 45


def test_bfloat16_batch_is_its_pictures_bit_for_bit(generator: Generator) -> None:
    ws = torch.randn(2, generator.num_ws, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad(), precision.use("bfloat16"):
        assert torch.equal(generator.synthesis(ws)[1:], generator.synthesis(ws[1:]))


@pytest.mark.parametrize("noise", ["const", "none", "random"])
def test_batch_is_its_pictures(generator: Generator, noise: str) -> None:
    """On a CPU a batch goes picture by picture from 64 px up; no picture depends on its company."""
    ws = torch.randn(3, generator.num_ws, 16, generator=torch.Generator().manual_seed(2))

    def seeds(rows: range) -> list[torch.Generator] | None:
        return [torch.Generator().manual_seed(i) for i in rows] if noise == "random" else None

    with torch.no_grad():
        together = generator.synthesis(ws, noise=noise, generator=seeds(range(3)))
        for i in range(3):
            alone = generator.synthesis(ws[i : i + 1], noise=noise, generator=seeds(range(i, i + 1)))
            assert (alone - together[i : i + 1]).abs().max() < 1e-4 * together.abs().max()
    graph = generator.synthesis(ws.requires_grad_(), noise=noise, generator=seeds(range(3)))
    assert (graph - together).abs().max() < 1e-4 * together.abs().max()
