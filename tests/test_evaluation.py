"""The tables: statistics with known answers, pieces that continue, and whole runs on a tiny domain."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import reganie_core as rc
from reganie_core import networks, portraits
from reganie_core.checkpoints import save_checkpoint
from reganie_core.errors import InputError, NotFoundError
from reganie_core.images import save_image
from reganie_core.inversion import encode
from reganie_core.latents import synthesize
from reganie_core.metrics import load_lpips
from tests import checkpoint_files as files
from trainer import evaluate
from trainer.evaluation import prompts, stats
from trainer.evaluation.bench import Bench, load_networks
from trainer.evaluation.chunks import Chunks
from trainer.evaluation.editing import editing
from trainer.evaluation.experiments import change
from trainer.evaluation.local import load_local
from trainer.evaluation.methods import Method, parse_method, parse_rectifier, subset
from trainer.evaluation.people import FIRST_VALIDATION_SEED, IN_DOMAIN, Photos, check_seed, held_out_people
from trainer.evaluation.reconstruction import reconstruction
from trainer.evaluation.response import response

pytestmark = pytest.mark.filterwarnings("ignore:The inversion hardly resembles")  # random weights invert nothing
NUMERIC = tuple(c.name for c in portraits.CONTROLS if c.kind == "numeric")


@pytest.fixture(scope="module")
def folder(make_domain, tmp_path_factory) -> Path:  # noqa: ANN001
    """A tiny domain with both evaluation networks; weights are random, so numbers mean nothing but must be exact."""
    folder = make_domain(tmp_path_factory.mktemp("evaluation") / "tiny")
    torch.manual_seed(3)
    judge = {"type": "AttributeNet", "resolution": 32, "channels": [6, 6], "numeric": list(NUMERIC),
             "binary": ["glasses"], "mean": [0.0] * len(NUMERIC), "std": [1.0] * len(NUMERIC), "hidden": 8}
    identity = {"type": "IdentityNet", "resolution": 32, "channels": [6, 6], "dim": 8}
    for name, kind, config in (("judge", "attributes", judge), ("identity_judge", "identity", identity)):
        net = networks.build(kind, config)
        save_checkpoint(folder / f"{name}.safetensors", kind, config, net.state_dict(), {})
    return folder


def make_bench(folder: Path, parts: Path | None = None, chunk: int = 4, **more: Any) -> Bench:
    domain = rc.load_domain(folder)
    return Bench(domain, *load_networks(domain), Chunks(parts, progress=False, **more), FIRST_VALIDATION_SEED, True,
                 chunk=chunk)


# --- statistics -------------------------------------------------------------------------------------------------------


def test_intervals_have_their_closed_form() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 2000)
    cell = stats.mean(values)
    assert cell["mean"] == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(2000)
    assert cell["high"] - cell["mean"] == pytest.approx(half, rel=0.1)
    assert cell["mean"] - cell["low"] == pytest.approx(half, rel=0.1)
    assert stats.mean(values) == cell


def test_ratios_are_of_means_over_the_same_pictures() -> None:
    below = np.random.default_rng(1).uniform(0.1, 9.0, 50)
    assert stats.ratio(below / 4, below) == pytest.approx({"mean": 0.25, "low": 0.25, "high": 0.25})
    with_gaps = np.where(np.arange(50) % 2, np.nan, 2.0)
    assert stats.mean(with_gaps) == {"mean": 2.0, "low": 2.0, "high": 2.0}
    assert np.isnan(stats.mean(np.full(3, np.nan))["mean"])


def test_correlation_and_slope() -> None:
    x = np.arange(10.0)
    assert stats.slope(x, 3 * x - 1) == pytest.approx(3) and stats.correlation(x, 5 - x) == pytest.approx(-1)
    assert np.isnan(stats.correlation(x, np.ones(10)))
    y = np.random.default_rng(0).normal(size=10)
    assert stats.correlation(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])


# --- pieces -----------------------------------------------------------------------------------------------------------


def squares(calls: list[int]) -> Any:
    def work(rows: slice) -> dict[str, torch.Tensor]:
        calls.append(rows.start)
        return {"x": torch.arange(rows.start, rows.stop).square()}
    return work


def test_killed_work_continues_with_the_missing_pieces(tmp_path: Path) -> None:
    def dies(rows: slice) -> dict[str, torch.Tensor]:
        if rows.start == 6:
            raise KeyboardInterrupt
        return squares([])(rows)
    with pytest.raises(KeyboardInterrupt):
        Chunks(tmp_path, progress=False).run("a", {"seed": 1}, 10, 3, dies)
    assert len(list(tmp_path.iterdir())) == 2
    next(tmp_path.glob("*-0000003.npz")).write_bytes(b"PK torn")     # a torn piece is made again
    calls: list[int] = []
    found = Chunks(tmp_path, progress=False).run("a", {"seed": 1}, 10, 3, squares(calls))
    assert calls == [3, 6, 9] and found["x"].tolist() == [i * i for i in range(10)]
    Chunks(tmp_path, progress=False).run("a", {"seed": 2}, 10, 3, squares(calls))
    assert len(calls) == 7                                           # other settings share nothing


# --- people -----------------------------------------------------------------------------------------------------------


def test_seeds_of_tables_and_of_validation_do_not_mix() -> None:
    with pytest.raises(InputError, match="--validation"):
        held_out_people(4, FIRST_VALIDATION_SEED)
    for seed in (0, 10**9 - 2, 10**9):
        with pytest.raises(InputError, match="Validation"):
            check_seed(seed, 4, validation=True)
    people = held_out_people(20, FIRST_VALIDATION_SEED, validation=True)
    assert [len(people.rows(g)) for g in ("all", IN_DOMAIN, "long-tail", "hat")] == [20, 10, 10, 2]


# --- experiments ------------------------------------------------------------------------------------------------------


def test_rows_of_editing_are_what_they_say(folder: Path) -> None:
    bench = make_bench(folder)
    people = held_out_people(10, FIRST_VALIDATION_SEED, validation=True)
    result = editing(bench, people, {"yaw": 15.0})
    p = people.parameters
    answered = portraits.edit(p, {"yaw": 15.0})
    x0, exact = portraits.render(p, 32), portraits.render(answered, 32)
    unchanged = {c: groups["all"]["mean"] for c, groups in result["rows"]["X0 unchanged"].items()}
    assert unchanged["whole"] == pytest.approx(float((x0 - exact).square().mean()), rel=1e-5)
    assert unchanged["change of yaw"] == 0 and unchanged["rest"] < 1e-3 < unchanged["changed"]
    amounts = portraits.attributes(answered)["yaw"] - portraits.attributes(p)["yaw"]
    assert result["asked"]["yaw"]["mean"] == pytest.approx(float(amounts.mean()))
    in_answer = bench.read(exact)["yaw"] - bench.read(x0)["yaw"]
    assert result["answer"]["yaw"]["mean"] == pytest.approx(float(in_answer.mean()), rel=1e-4)
    change = result["rows"]["Y_r (learned rectifier)"]["change of yaw"]["all"]["mean"]
    assert result["response of answer"]["yaw"]["mean"] == pytest.approx(change / float(in_answer.mean()), rel=1e-4)
    edited = rc.edit(x0, {"yaw": amounts}, domain=bench.domain)
    whole = result["rows"]["Y_r (learned rectifier)"]["whole"]["all"]["mean"]
    assert whole == pytest.approx(float((edited.rectified - exact).square().mean()), rel=1e-4)
    assert IN_DOMAIN in result["rows"]["X0 unchanged"]["changed"]


def test_who_cannot_change_is_left_out(folder: Path) -> None:
    people = held_out_people(16, FIRST_VALIDATION_SEED, validation=True)
    without = int((people.parameters.values["glasses"] == 0).sum())
    result = editing(make_bench(folder), people, {"glasses": 1.0})
    assert 0 < without < 16 and result["count"] == without
    assert result["asked"]["glasses"] == {"mean": 1.0, "low": 1.0, "high": 1.0}


@pytest.mark.parametrize("experiment", ["reconstruction", "networks", "generator", "editor"])
def test_runs_are_deterministic_and_continue(folder: Path, tmp_path: Path, experiment: str,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "seconds", lambda self, work, pictures, runs=5: 0.0)
    common = [experiment, "--domain", str(folder), "--validation", "--count", "12", "--chunk", "5"]
    first, second = tmp_path / "a" / "t.json", tmp_path / "b" / "t.json"
    assert evaluate.main([*common, "--json", str(first)]) == 0
    assert evaluate.main([*common, "--json", str(second)]) == 0
    pieces = sorted((tmp_path / "b" / "t.parts").iterdir())
    pieces[0].unlink()
    assert evaluate.main([*common, "--json", str(second)]) == 0
    results = [json.loads(f.read_text()) for f in (first, second)]
    assert results[0][experiment] == results[1][experiment] and results[0]["about"]["validation"]
    assert "Validation seeds" in first.with_suffix(".md").read_text()
    assert bool(list((tmp_path / "a").glob("*.png"))) == (experiment not in ("networks", "editor"))


def test_rows_of_reconstruction(folder: Path) -> None:
    people = held_out_people(10, FIRST_VALIDATION_SEED, validation=True)
    result = reconstruction(make_bench(folder, chunk=3), people)
    rows = {name: {m: g["all"]["mean"] for m, g in row.items()} for name, row in result["rows"].items()}
    assert list(rows) == ["X0 unchanged", "X^ (light encoder)", "X^ + dX pasted", "X_r (learned rectifier)"]
    assert rows["X0 unchanged"]["L2"] == 0 and rows["X0 unchanged"]["identity"] == pytest.approx(1, abs=1e-5)
    assert rows["X^ + dX pasted"]["L2"] < 1e-10 < rows["X^ (light encoder)"]["L2"]
    x0 = portraits.render(people.parameters, 32)
    inversion = rc.edit(x0, domain=rc.load_domain(folder), rectify=False).inversion
    assert rows["X^ (light encoder)"]["L2"] == pytest.approx(float((inversion - x0).square().mean()), rel=1e-4)
    gaps = 1 - rows["X_r (learned rectifier)"]["MS-SSIM"], 1 - rows["X^ (light encoder)"]["MS-SSIM"]
    assert result["ratios"]["MS-SSIM"]["all"]["mean"] == pytest.approx(gaps[0] / gaps[1], rel=1e-4)


class Halves:
    """A slow inverter that needs gradients and finds half of the codes of the encoder."""

    method, network = "w+", None

    def __init__(self, encoder: torch.nn.Module) -> None:
        self.encoder, self.seen = encoder, 0

    def __call__(self, generator: torch.nn.Module, images: torch.Tensor, chunk: int) -> Any:
        x = images.detach().requires_grad_(True)
        (x * 2).sum().backward()                     # fails in inference mode
        self.seen += len(images)
        found = encode(generator, self.encoder, images.detach())
        latent = found.with_ws(0.5 * found.ws)
        return SimpleNamespace(latent=latent, inversion=synthesize(generator, latent).detach())


def test_methods_and_rectifiers_are_rows(folder: Path) -> None:
    bench = make_bench(folder)
    bench.methods = (parse_method(f"e4e={folder / 'encoder.safetensors'}", bench.domain),
                     Method("slow", Halves(bench.domain.encoder), True))
    bench.rectifiers = dict([parse_rectifier(f"same={folder / 'rectifier.safetensors'}")])
    bench.slow_count = 3
    people = held_out_people(12, FIRST_VALIDATION_SEED, validation=True)
    result = reconstruction(bench, people)
    assert bench.methods[1].inverter.seen == 3 + 1                 # and once for its time
    rows = {name: {m: g["all"]["mean"] for m, g in row.items()} for name, row in result["rows"].items()}
    assert rows["e4e"] == pytest.approx(rows["X^ (light encoder)"], rel=1e-5)
    assert rows["same"] == pytest.approx(rows["X_r (learned rectifier)"], rel=1e-5)
    assert subset(12, 3) == [2, 6, 10] and len(subset(7, 50)) == 7
    x0 = portraits.render(people.parameters[[2, 6, 10]], 32)
    codes = 0.5 * encode(bench.domain.generator, bench.domain.encoder, x0).ws
    error = (bench.domain.generator.synthesis(codes).clamp(-1, 1) - x0).square().mean()
    assert rows["slow"]["L2"] == pytest.approx(float(error), rel=1e-4)
    assert result["subset"]["slow"]["L2"]["mean"] == pytest.approx(float(error), rel=1e-4)
    edited = editing(bench, people, {"yaw": 15.0})["rows"]
    assert edited["e4e"]["whole"]["all"]["mean"] == pytest.approx(
        edited["Y^ (edited inversion)"]["whole"]["all"]["mean"], rel=1e-5)
    assert edited["same"]["rest"]["all"]["mean"] == pytest.approx(
        edited["Y_r (learned rectifier)"]["rest"]["all"]["mean"], rel=1e-5)


def test_unknown_methods_and_missing_files_are_named(folder: Path) -> None:
    domain = rc.load_domain(folder)
    with pytest.raises(InputError, match="restyle"):
        parse_method("magic", domain)
    with pytest.raises(NotFoundError, match="restyle=FILE"):
        parse_method("restyle", domain)
    with pytest.raises(InputError, match="holds e4e"):
        parse_method(f"hfgi={folder / 'encoder.safetensors'}", domain)
    with pytest.raises(InputError, match="LABEL=FILE"):
        parse_rectifier("file.safetensors")


def test_folders_of_pictures_are_reconstructed_and_documented(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(2):
        save_image(portraits.render(portraits.sample(1, i), 48), tmp_path / "photos" / f"{i}.png")
    out = tmp_path / "folder.json"
    assert evaluate.main(["reconstruction", "--domain", str(folder), "--validation", "--images",
                          str(tmp_path / "photos"), "--json", str(out)]) == 0
    found = json.loads(out.read_text())["reconstruction"]
    assert found["count"] == 2 and list(found["rows"]["X0 unchanged"]["L2"]) == ["all"]
    (tmp_path / "template.md").write_text("# Photos\n\n{{folder.json}}\n\nThe end.\n")
    document = ["document", "--template", str(tmp_path / "template.md"), "--out", str(tmp_path / "results.md")]
    assert evaluate.main([*document, str(out)]) == 0
    text = (tmp_path / "results.md").read_text()
    assert text.startswith("# Photos\n\n`python trainer/evaluate.py reconstruction --domain")
    assert "> Validation seeds" in text and "| X0 unchanged | 0 [0, 0] |" in text and text.endswith("\nThe end.\n")
    assert "--json" not in text
    assert evaluate.main(document) == 1                              # the file of a place is not given
    with pytest.raises(NotFoundError, match="no pictures"):
        Photos(tmp_path / "nowhere")


class Words:
    """A text editor whose every prompt adds the same codes."""

    controls, fingerprint = (), "f" * 16

    def edit_text(self, latent: Any, target: str, neutral: str) -> Any:
        return latent.with_ws(latent.ws + 0.3)


def test_text_edits_are_compared_with_the_change_they_achieved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "PROMPTS", prompts.PROMPTS[:3])
    bench = make_bench(folder, chunk=3)
    bench.domain.styleclip = Words()
    result = prompts.text(bench, 5)
    assert len(result["rows"]) == 3 and not result["left out"]
    people = held_out_people(10, FIRST_VALIDATION_SEED, validation=True)
    p = people.parameters[:5]
    x0 = portraits.render(p, 32)
    latent = encode(bench.domain.generator, bench.domain.encoder, x0)
    before, after = (bench.read(synthesize(bench.domain.generator, part)) for part in
                     (latent, latent.with_ws(latent.ws + 0.3)))
    moved = after["smile"] - before["smile"]
    exact = portraits.render(portraits.edit(p, {"smile": moved}), 32)
    values = prompts.measure(bench, prompts.PROMPTS[:1], 5)
    found = torch.from_numpy(values["X0 unchanged|whole"][0])
    assert torch.allclose(found, (x0 - exact).square().mean((1, 2, 3)), rtol=1e-4)
    margin = 0.05 * 2
    kept = (before["smile"] > 1 - margin) & (after["smile"] > 1 - margin)
    expected = ((moved > 0) | kept).float().mean()
    assert result["rows"]["a smiling person"]["right way"] == pytest.approx(float(expected))


def test_real_faces_need_no_network_but_local_files(tiny_domain: Path, tmp_path: Path) -> None:
    photos, weights = tmp_path / "photos", tmp_path / "weights"
    for place in (photos, weights):
        place.mkdir()
    for i in range(2):
        save_image(portraits.render(portraits.sample(1, i), 32), photos / f"{i}.png")
    with pytest.raises(NotFoundError, match="model_ir_se50.pth.*Nothing is downloaded"):
        load_local(weights)
    tensors = files.weights("lpips_alex")
    torch.save({k: v for k, v in tensors.items() if k.startswith("features")}, weights / "alexnet-owt-7be5be79.pth")
    torch.save({k: v for k, v in tensors.items() if k.startswith("lin")}, weights / "lpips_alex.pth")
    out = tmp_path / "real.json"
    common = ["--domain", str(tiny_domain), "--validation", "--images", str(photos), "--weights", str(weights)]
    assert evaluate.main(["reconstruction", *common, "--json", str(out)]) == 0
    rows = json.loads(out.read_text())["reconstruction"]["rows"]
    assert list(rows["X0 unchanged"]) == ["L2", "MS-SSIM", "LPIPS (AlexNet)"]
    assert rows["X0 unchanged"]["LPIPS (AlexNet)"]["all"]["mean"] == 0
    x0 = Photos(photos).read(slice(0, 2), 32)
    found = rc.edit(x0, domain=rc.load_domain(tiny_domain), rectify=False).inversion
    expected = float(load_lpips(weights, "alex")(found, x0).mean())
    assert rows["X^ (light encoder)"]["LPIPS (AlexNet)"]["all"]["mean"] == pytest.approx(expected, rel=1e-4)
    assert evaluate.main(["networks", *common]) == 1                   # this one cannot do without


def test_response_is_the_change_of_each_row(folder: Path) -> None:
    bench = make_bench(folder)
    people = held_out_people(6, FIRST_VALIDATION_SEED, validation=True)
    table = response(bench, people, {"yaw": 30.0})
    rows = table["rows"]
    x0 = portraits.render(people.parameters, 32)
    result = rc.edit(x0, {"yaw": 30.0}, domain=bench.domain)
    before, after = (bench.read(x) for x in (result.reconstruction, result.rectified))
    change = {name: after[name] - before[name] for name in after}
    assert rows["X0 unchanged"]["response of yaw"]["mean"] == 0
    found = rows["Y_r (learned rectifier)"]
    assert found["response of yaw"]["mean"] == pytest.approx(float(change["yaw"].mean()), rel=1e-3)
    spans = {c.name: c.maximum - c.minimum for c in portraits.CONTROLS}
    drift = sum(float(v.abs().mean()) / spans[name] for name, v in change.items() if name != "yaw")
    assert found["drift of others"]["mean"] == pytest.approx(drift / (len(change) - 1), rel=1e-3)
    identity = (bench.embed(result.rectified) * bench.embed(x0)).sum(1).mean()
    assert found["identity to X0"]["mean"] == pytest.approx(float(identity), abs=1e-5)
    asked = people.parameters.values["yaw"] <= 10          # 30 more is where the range ends
    exact = bench.read(portraits.render(portraits.edit(people.parameters, {"yaw": 30.0}), 32))["yaw"]
    turned = (exact - bench.read(x0)["yaw"])[asked].mean()
    assert 0 < int(asked.sum()) < len(people) and table["of exact"]["response of yaw"]["people"] == int(asked.sum())
    assert rows["exact answer"]["response of yaw"]["mean"] == pytest.approx(float(turned), rel=1e-3)
    share = table["of exact"]["response of yaw"]["Y_r (learned rectifier)"]["mean"]
    assert share == pytest.approx(float(change["yaw"][asked].mean() / turned), rel=1e-3)


def test_missing_networks_are_named(folder: Path, tiny_domain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotFoundError, match="judge.safetensors"):
        load_networks(rc.load_domain(tiny_domain))
    domain = rc.load_domain(tiny_domain)
    bench = Bench(domain, *load_networks(domain, str(folder / "judge.safetensors")), Chunks(None), 0)
    assert bench.identity is None and any("Identity is left out" in note for note in bench.notes())
    assert evaluate.main(["networks", "--domain", str(folder), "--seed", "5"]) == 1
    assert "1000000000" in capsys.readouterr().err
    with pytest.raises(InputError, match="absolute"):
        change("yaw", rc.Target(3.0))


def test_the_mask_of_doubt_is_counted_against_the_worst_tenth() -> None:
    from trainer.evaluation.doubt import of_pictures

    error = torch.arange(100.0).view(1, 1, 10, 10)
    mask = torch.zeros(1, 1, 10, 10)
    mask[..., 9, 5:] = 1                                   # five of the ten worst
    mask[..., 0, :5] = 1                                   # and five that are right
    found = {name: float(value) for name, value in of_pictures(error, mask).items()}
    assert found["doubted share"] == pytest.approx(0.1) and found["precision"] == pytest.approx(0.5)
    assert found["recall"] == pytest.approx(0.5)
    assert found["share of the error in it"] == pytest.approx((95 + 96 + 97 + 98 + 99 + 0 + 1 + 2 + 3 + 4) / 4950)
