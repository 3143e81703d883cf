"""The benchmark's two paths are the same networks, and its roof is their convolutions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks import document, measure, targets, textbook
from benchmarks.__main__ import ORDER, chosen
from benchmarks.cases import BUILDERS, WIDTHS
from benchmarks.roof import Recorder, bare_convolutions
from benchmarks.routes import Case, Route, roof_of
from benchmarks.training import portraits_stage
from reganie_core.networks.encoders import Encoder4Editing, StyleEncoderConfig
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


def test_encoder_is_the_textbook_one() -> None:
    torch.manual_seed(3)
    network = Encoder4Editing(StyleEncoderConfig(num_ws=8, w_dim=16, input_resolution=64)).double().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(1.0, 2.0)
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = textbook.encode_e4e(network, images)
        assert (network(images) - expected).abs().max() < 1e-9 * expected.abs().max()


def toy_row() -> dict:
    """A row whose second route does twice the work of the first."""
    x = torch.randn(128, 128)
    routes = {"ours": Route(lambda: x @ x, count=True), "textbook": Route(lambda: [x @ x, x @ x][1], images=2),
              "rate conv float32": Route(lambda: x @ x, gflop=2 * 128**3 / 1e9)}
    return measure.measure("toy", Case(routes, (("ours", "textbook", 1e-6),)), rounds=5, threads=1, budget=9.0,
                           memory=False)


def test_a_row_is_measured_in_turns() -> None:
    row = toy_row()
    assert {name: len(entry["wall_ms"]) for name, entry in row["routes"].items()} == \
        {"ours": 5, "textbook": 5, "rate conv float32": 5}
    assert row["routes"]["ours"]["gflop"] == pytest.approx(2 * 128**3 / 1e9) and row["differences"]
    assert measure.median(row, "ours") > 0 and measure.median(row, "nothing") is None
    with pytest.raises(SystemExit, match="differ"):
        measure.check("toy", Case({"a": Route(lambda: torch.ones(1)), "b": Route(lambda: torch.zeros(1) + 2)},
                                  (("a", "b", 1e-3),)))


def test_a_slow_route_ends_with_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "clocked", lambda run: (run(), run()))
    taken = measure.in_turns({"quick": Route(lambda: 0.1), "slow": Route(lambda: 5.0), "snail": Route(lambda: 40.0)},
                             rounds=7, budget=30.0)
    counts = {name: sum(v is not None for v in clocks["wall"]) for name, clocks in taken.items()}
    assert counts == {"quick": 7, "slow": 5, "snail": 1}


def test_the_roof_is_written_down_before_the_clock_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(measure, "clocked", lambda run: (run(), 0.0))
    measure.in_turns({"a": Route(lambda: order.append("run") or 0.1, prepare=lambda: order.append("prepare"))}, 2, 9.0)
    assert order == ["prepare", "run", "run", "run"]
    x, weight = torch.randn(1, 3, 8, 8), torch.randn(4, 3, 3, 3)
    route = roof_of(lambda: torch.nn.functional.conv2d(x, weight), "float32")
    route.prepare()
    route.run()


def fake_rows(bfloat16_ms: float) -> dict:
    def entry(*ms: float | None, **more: object) -> dict:
        return {"wall_ms": list(ms), "cpu_ms": list(ms), "images": 1, "dtype": "float32", **more}

    machine = {"processor": "P", "threads": 1, "load": 0.5}
    generator = {"row": "generator-256", "machine": machine, "figures": {"psnr_bfloat16": 50.0}, "routes": {
        "ours": entry(100, 200, 100), "ours bfloat16": entry(bfloat16_ms, 2 * bfloat16_ms, bfloat16_ms),
        "textbook": entry(160, None, 160), "roof": entry(70, 140, 70)}}
    edit = {"row": "edit", "machine": machine, "routes": {
        name: entry(ms) for name, ms in (("E", 10), ("G", 10), ("R", 12), ("editor", 0), ("E_p", 2), ("G_p", 3),
                                         ("slider", 18))}}
    return {"generator-256": generator, "edit": edit}


def test_targets_are_ratios_of_one_row() -> None:
    found = {line.text: line for line in targets.all_targets(fake_rows(50.0))}
    roof = found["G 256: at least 60 % of its roof"]
    assert (roof.seen, roof.verdict) == ("70%", "met")
    assert found["G 256: bfloat16 at least 1.7 x float32"].seen == "2.00 x"
    faster = found["G 256, float32: at least 1.5 x the textbook path, same run"]
    assert (faster.seen, faster.verdict) == ("1.60 x", "met")  # a round that one of them missed does not count
    edit = found["Edit: (E + 2G + R) / (E + 2G) at most 1.6 (float32)"]
    assert (edit.seen, edit.verdict) == ("1.40", "met")
    slider = found["Slider move / (editor + G + E_p + G_p) at most 1.1 (float32)"]
    assert (slider.seen, slider.verdict) == ("1.20", "**not met**")
    assert found["G 1024: bfloat16 at least 1.7 x float32"].verdict == "not measured"
    assert all(line.verdict == "not measured" for text, line in found.items() if text.startswith("GPU"))
    slow = {line.text: line for line in targets.all_targets(fake_rows(90.0))}
    assert slow["G 256: bfloat16 at least 1.7 x float32"].verdict == "**not met**"


def test_the_document_is_made_of_the_rows(tmp_path) -> None:
    for name, row in {**fake_rows(50.0), "e4e": {**toy_row(), "machine": {"processor": "P", "load": 2.0}}}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(row))
    text = document.document(tmp_path, ORDER)
    assert "| G 256: at least 60 % of its roof | 70% | met |" in text
    assert "| generator-256 | ours | float32 | 1 | 100 | - |" in text
    assert "| pti-step | not measured |" in text and "0.5 to 2.0" in text
    rows = text.split("## Rows")[1].split("##")[0]
    assert "rate conv" not in rows and "roof" not in rows


def test_rows_are_chosen_by_name() -> None:
    assert len(ORDER) == len(set(ORDER)) and set(BUILDERS) < set(ORDER) and chosen([]) == ORDER
    assert chosen(["load", "generator-*"])[0] == "load" and len(chosen(["generator-*"])) == 6
    assert sum(name.startswith("train-") for name in ORDER) == 12
    assert list(WIDTHS.values()) == [512, 512, 512, 512, 512, 256, 128, 64, 32]
    with pytest.raises(SystemExit, match="no row"):
        chosen(["generator-2048"])


@pytest.mark.parametrize("name", ["portraits-generator", "portraits-encoder", "portraits-rectifier", "portraits-text"])
def test_shipped_configs_are_timed_on_the_packaged_networks(name: str, tmp_path: Path) -> None:
    """Whatever files a config names beside the packaged ones."""
    stage = portraits_stage(name, tmp_path, ["data_count=8", "batch=2", "device=cpu"])
    terms = stage.step(0)
    assert terms and all(math.isfinite(value) for value in terms.values())
