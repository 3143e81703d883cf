"""The benchmark's two paths are the same networks, and its roof is their convolutions."""

from __future__ import annotations

import pytest
import torch

from benchmarks import textbook
from benchmarks.__main__ import markdown
from benchmarks.cases import CASES, WIDTHS
from benchmarks.roof import Recorder, bare_convolutions
from reganie_core.networks.rectifier import Rectifier, RectifierConfig
from reganie_core.networks.stylegan2 import Generator, GeneratorConfig


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    network = Generator(GeneratorConfig(32, (8, 8, 7, 6), z_dim=12, w_dim=12, mapping_layers=1)).double()
    for parameter in network.parameters():
        if parameter.ndim < 2:
            parameter.data += 0.3 * torch.randn_like(parameter)
    network.synthesis.set_precision(torch.float64, 4)
    return network.requires_grad_(False)


# One picture of many pixels carries the style in the weights, a batch on the picture; with and without a graph.
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("graph", [False, True])
def test_generator_is_the_textbook_one(generator: Generator, batch: int, graph: bool) -> None:
    ws = torch.randn(batch, generator.num_ws, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.set_grad_enabled(graph):
        ours, expected = generator.synthesis(ws), textbook.synthesis(generator, ws)
    assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("output", ["residual", "literal"])
def test_rectifier_is_the_textbook_one(batch: int, graph: bool, output: str) -> None:
    torch.manual_seed(2)
    config = RectifierConfig.preset("small", resolution=32, gl_channels=(24,), gl_dim=16, output=output)
    network = Rectifier(config).double()
    network.compute_dtype = torch.float64
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    edited, delta = torch.rand(2, batch, 3, 32, 32, dtype=torch.float64)
    with torch.set_grad_enabled(graph):
        ours, expected = network(edited, delta), textbook.rectify(network, edited, delta)
    assert (expected - edited).abs().max() > 0.1
    assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()


def test_roof_is_every_dense_convolution_and_no_filter(generator: Generator) -> None:
    ws = torch.randn(1, generator.num_ws, 12, dtype=torch.float64)
    with torch.no_grad(), Recorder() as recorder:
        generator.synthesis(ws)
    convolutions = [args for func, args in recorder.calls if func is torch.ops.aten.convolution.default]
    assert len(convolutions) == 7  # two per resolution, one at 4 px
    assert {args[1].size[-1] for args in convolutions} == {3}
    bare_convolutions(lambda: generator.synthesis(ws))()


def test_cases_and_table() -> None:
    assert CASES == ("generator-256", "generator-512", "generator-1024", "rectifier-A-512")
    assert list(WIDTHS.values()) == [512, 512, 512, 512, 512, 256, 128, 64, 32]
    names = ("ours_ms", "textbook_ms", "speedup", "roof_ms", "fraction_of_roof", "gflop", "gflop_per_s")
    row = {"name": "generator-256", **dict.fromkeys(names, 1.0), "peak_mib": None, "textbook_peak_mib": 2.0}
    text = markdown({"threads": 1}, [row])
    assert "| generator-256 | 1 | 1 | 1.00 | 1 | 100% | 1 | 1 | - | 2 |" in text
