"""The command line."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

import reganie_core as rc
from reganie_core import images, portraits
from reganie_core.__main__ import COMMANDS, main
from reganie_core.cli import demo
from reganie_core.latents import load_latent


@pytest.fixture
def cli(capfd):
    """Run a command; gives (status, standard output, standard error)."""
    def call(*arguments) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def photo(tmp_path):
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return images.save_image(noise, tmp_path / "photo.png")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_reads_well(cli, command):
    status, out, err = cli(command, "--help")
    assert status == 0 and not err
    assert out.startswith(f"usage: python -m reganie_core {command}") and len(out.splitlines()) > 8
    assert ("--json" in out) or command in ("render",)


def test_usage_errors_are_2(cli):
    for arguments in ([], ["dance"], ["edit"], ["edit", "x.png"], ["edit", "x.png", "-o", "y", "--fit", "stretch"]):
        status, _, err = cli(*arguments)
        assert status == 2 and "usage:" in err
    assert cli("--help")[0] == 0


def test_edit_writes_what_the_library_computes(cli, photo, tiny_domain, tmp_path):
    out = tmp_path / "results" / "out.png"
    status, text, _ = cli("edit", photo, "-o", out, "--edit", "age=+1", "--edit", "glasses=on", "--domain", tiny_domain)
    assert status == 0 and str(out) in text
    domain = rc.load_domain(tiny_domain)
    expected = rc.edit(photo, {"age": 1.0, "glasses": True}, domain=domain).rectified
    assert np.array_equal(np.asarray(Image.open(out)), images.to_uint8(expected)[0].numpy())
    assert os.listdir(out.parent) == ["out.png"]
    cli("edit", photo, "-o", out, "--edit", "age=+1", "--domain", tiny_domain, "--no-rectify")
    expected = rc.edit(photo, {"age": 1.0}, domain=domain, rectify=False).edited
    assert np.array_equal(np.asarray(Image.open(out)), images.to_uint8(expected)[0].numpy())


def test_several_pictures_portraits_and_the_sheet(cli, photo, tiny_domain, tmp_path):
    status, text, _ = cli("edit", photo, "portrait:1000000007:hat+pattern", "portrait:1000000008", "-o", tmp_path / "o",
                          "--edit", "yaw=+15", "--domain", tiny_domain, "--sheet", "--json")
    report = json.loads(text)
    assert status == 0 and report["edits"] == "yaw=+15.0"
    assert sorted(os.listdir(tmp_path / "o")) == ["photo.png", "portrait_1000000007_hat+pattern.png",
                                                  "portrait_1000000008.png", "sheet.png"]
    sheet = Image.open(report["sheet"])
    assert sheet.width > 8 * 160 and sheet.height > 3 * 160


def test_the_sheet_shows_the_exact_answer_only_where_it_is_known(cli, photo, tiny_domain, tmp_path):
    sizes = {}
    for name, spec in (("file", photo), ("portrait", "portrait:1000000007")):
        cli("edit", spec, "-o", tmp_path / f"{name}.png", "--edit", "yaw=+15", "--domain", tiny_domain,
            "--sheet", tmp_path / f"{name}_s.png")
        sizes[name] = Image.open(tmp_path / f"{name}_s.png").width
    assert sizes["portrait"] - sizes["file"] == 168  # one more column


def test_exact_answers_follow_the_edit():
    from reganie_core.cli.common import load_sources

    (source,) = load_sources(["portrait:1000000003:hand"], 32, "error")
    person = portraits.sample(1, 1000000003, items=("hand",))
    assert torch.equal(source.image, portraits.render(person, 32))
    turned = portraits.render(portraits.edit(person, {"yaw": 15.0}), 32)
    assert torch.equal(source.exact({"yaw": 15.0}, 32), turned)
    for value, wanted in ((rc.Target(0.5), 0.5), (rc.Target(-0.25), -0.25)):
        goal = portraits.edit(person, {"smile": wanted - portraits.attributes(person)["smile"]})
        assert torch.equal(source.exact({"smile": value}, 32), portraits.render(goal, 32))
    on, off = (source.exact({"glasses": value}, 32) for value in (True, False))
    assert not torch.equal(on, off) and any(torch.equal(source.image, picture) for picture in (on, off))
    assert source.exact({"moustache": 1.0}, 32) is None


def test_errors_are_one_line_and_leave_nothing(cli, photo, tiny_domain, tmp_path):
    (tmp_path / "page.png").write_text("<html>")
    before = photo.read_bytes()
    wide = images.save_image(torch.zeros(3, 32, 48), tmp_path / "wide.png")
    common = ["--domain", tiny_domain]
    out = tmp_path / "new" / "o.png"
    cases = [
        ["edit", tmp_path / "missing.png", "-o", out, *common],
        ["edit", tmp_path / "page.png", "-o", out, *common],
        ["edit", wide, "-o", out, *common],
        ["edit", photo, "-o", photo, *common],
        ["edit", photo, "-o", out, "--edit", "hat=+1", *common],
        ["edit", photo, "-o", out, "--edit", "yaw=@3", *common],
        ["edit", photo, "-o", out, "--edit", "yaw", *common],
        ["edit", photo, photo, "-o", out, *common],
        ["edit", photo, "-o", out, "--domain", tmp_path],
        ["edit", photo, "-o", out, "--device", "abacus", *common],
        ["edit", photo, "-o", out, "--strength", "9", *common],
        ["edit", photo, "-o", tmp_path / "o.exe", *common],
        ["edit", "portrait:7:moustache", "-o", out, *common],
        ["inspect", tmp_path / "page.png"],
        ["convert", tmp_path / "missing.pt", tmp_path / "x.safetensors"],
        ["controls", "--domain", tmp_path / "nowhere"],
    ]
    for case in cases:
        status, text, err = cli(*case)
        errors = [line for line in err.splitlines() if not line.startswith("warning:")]
        assert status == 1 and len(errors) == 1 and errors[0].startswith("error: "), (case, err)
        assert "Traceback" not in err and not text
    assert photo.read_bytes() == before
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["page.png", "photo.png", "wide.png"]


def test_invert(cli, photo, tiny_domain, tmp_path):
    status, text, _ = cli("invert", photo, "portrait:5", "-o", tmp_path / "i", "--domain", tiny_domain, "--json",
                          "--latent", tmp_path / "codes.safetensors")
    report = json.loads(text)
    assert status == 0 and [row["photo"] for row in report["pictures"]] == [str(photo), "portrait:5"]
    latent = load_latent(tmp_path / "codes.safetensors")
    domain = rc.load_domain(tiny_domain)
    assert latent.generator == domain.generator.fingerprint and len(latent) == 2
    with torch.inference_mode():
        torch.testing.assert_close(latent.ws[:1], domain.encoder(images.load_image(photo)), atol=1e-5, rtol=1e-4)


def test_controls_and_inspect(cli, tiny_domain):
    rows = json.loads(cli("controls", "--domain", tiny_domain, "--json")[1])
    assert [row["name"] for row in rows] == ["yaw", "age", "smile", "glasses"]
    assert "-40..40 degrees" in cli("controls", "--domain", tiny_domain)[1]
    assert "glasses" in cli("controls", "--editor", tiny_domain / "directions.safetensors")[1]
    report = json.loads(cli("inspect", tiny_domain / "encoder.safetensors", "--json")[1])
    assert report["kind"] == "encoder" and report["tensors"]
    assert "generator" in cli("inspect", tiny_domain / "generator.safetensors")[1]


def test_convert_asks_before_it_replaces(cli, tiny_domain, tmp_path):
    target = tmp_path / "new" / "g.safetensors"
    source = tiny_domain / "generator.safetensors"
    assert cli("convert", source, target)[0] == 0
    assert rc.load_generator(target).fingerprint == rc.load_generator(source).fingerprint
    status, _, err = cli("convert", source, target)
    assert status == 1 and "--force" in err
    assert cli("convert", source, target, "--force", "--json")[0] == 0


@pytest.mark.filterwarnings("ignore")
def test_demo_compares_with_the_exact_answers(cli, tiny_domain, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "SIZE", 64)       # 512 px take half a minute
    status, text, _ = cli("demo", "-o", tmp_path / "out" / "demo.png", "--domain", tiny_domain, "--json")
    report = json.loads(text)
    assert status == 0 and Image.open(report["sheet"]).height > 8 * 128
    rows = {(row["task"], row["region"]): row for row in report["rows"]}
    trivial = {"X0 unchanged", "Y^", "Y^ + dX pasted", "X0 warped", "Y^ + warped dX"}
    assert all(trivial | {"result", "learned rectifier"} <= set(row) for row in report["rows"]), "no row is left out"
    for task in ("yaw", "smile", "age"):
        assert rows[task, "changed"]["X0 unchanged"] > rows[task, "all"]["X0 unchanged"] > 0
    monkeypatch.setattr(demo, "SPECS", demo.SPECS[:2])
    text = cli("demo", "-o", tmp_path / "demo.png", "--domain", tiny_domain)[1]
    assert "yaw +15" in text and "plain" in text and len(text.splitlines()) < 16
