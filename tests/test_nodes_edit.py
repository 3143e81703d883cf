"""Editors as nodes: sliders as text, sweeps, texts, latents kept in files, and what one slider move costs."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.host_stubs import ROOT, call, picture

pytest_plugins = ["tests.nodes_fixtures"]

PACKAGED = "portraits (packaged)"


@pytest.fixture
def wires(pack: SimpleNamespace, edit_domain: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.setitem(pack.rc.domains.PACKAGED, "portraits", edit_domain)
    names = pack.nodes["LoadReGANIE"].RETURN_NAMES
    return SimpleNamespace(**dict(zip(names, call(pack, "LoadReGANIE", domain=PACKAGED), strict=True)))


@pytest.fixture
def latent(pack: SimpleNamespace, wires: SimpleNamespace) -> object:
    return call(pack, "SampleLatent", generator=wires.generator, seed=3, count=2)[0]


def _edit(pack, wires, latent, edits, **more):
    return call(pack, "DyStyleEdit", generator=wires.generator, latent=latent, edits=edits, **more)


def test_the_text_is_what_the_editor_gets(pack, wires, latent):
    moved, image = _edit(pack, wires, latent, "yaw=+10, smile=@-0.5 glasses=on", editor=wires.dystyle)
    edits = {"yaw": 10.0, "smile": pack.rc.Target(-0.5), "glasses": True}
    torch.testing.assert_close(moved.ws, wires.dystyle.value.edit(latent.ws, edits))
    assert (moved.ws - latent.ws).abs().max() > 0.1 and moved.generator == latent.generator
    assert torch.equal(image, call(pack, "Synthesize", generator=wires.generator, latent=moved)[0])
    assert torch.equal(moved.ws, _edit(pack, wires, latent, "glasses=ON;\nyaw = 10, smile=@-.5")[0].ws)
    assert pack.host.state.previews[-1][1].size == (32, 32), "the first picture shows on the node"


@pytest.mark.parametrize("edits", ["", "  ", "yaw=+0, smile=0"])
def test_no_change_is_the_same_latent_bit_for_bit(pack, wires, latent, edits):
    assert torch.equal(_edit(pack, wires, latent, edits)[0].ws, latent.ws)


def test_an_editor_is_chosen_by_wire_or_by_name(pack, wires, latent):
    loaded = call(pack, "LoadDyStyle", file=PACKAGED)[0]
    assert loaded is wires.dystyle and loaded.resident.module is loaded.value.network
    by_wire = _edit(pack, wires, latent, "age=+1", editor=loaded)[0]
    assert torch.equal(by_wire.ws, _edit(pack, wires, latent, "age=+1", editor_name=PACKAGED)[0].ws)
    with pytest.raises(pack.rc.errors.MismatchError, match="takes one dystyle; found directions"):
        _edit(pack, wires, latent, "age=+1", editor=wires.directions)


def test_bad_edits_are_one_sentence(pack, wires, latent):
    valid = pack.nodes["DyStyleEdit"].VALIDATE_INPUTS
    assert valid(edits="yaw=+10, age=@-0.5, glasses=on") is True
    for node, name in (("DyStyleEdit", "edits"), ("ReGANIE_SaveLatent", "name")):
        assert pack.nodes[node].VALIDATE_INPUTS(**{name: None}) is True, "ComfyUI's sign for a connected value"
    for text, words in (("yaw", "Cannot read the edit"), ("yaw=fast", "value"), ("a=1 a=2", "twice"), (3, "text"),
                        ("x=1," * 2000, "4096")):
        assert words in valid(edits=text)
    with pytest.raises(pack.rc.ReganieError, match=r"no control 'wings'.* has: yaw \(-40..40 degrees\)"):
        _edit(pack, wires, latent, "wings=+1")
    # A graph saved for another editor: what does not exist is named, whatever else is asked.
    with pytest.raises(pack.rc.ReganieError, match="'moustache'"):
        _edit(pack, wires, latent, "yaw=+10, moustache=+1")
    with pytest.raises(pack.rc.ReganieError, match="outside its range -40..40"):
        _edit(pack, wires, latent, "yaw=@90")


def test_the_page_learns_the_controls(pack, wires, tmp_path):
    routes = pack.sub("_routes")
    status, data = routes.controls({"kind": "dystyle", "name": PACKAGED})
    assert status == 200 and data["accepts_targets"] is True
    assert [c["name"] for c in data["controls"]] == ["yaw", "age", "smile", "glasses"]
    assert data["controls"][0] == {"name": "yaw", "kind": "numeric", "minimum": -40.0, "maximum": 40.0,
                                   "unit": "degrees", "default": 0.0, "description": "Turn of the head."}
    assert routes.controls({"kind": "dystyle", "domain": PACKAGED})[1]["controls"] == data["controls"]
    assert routes.controls({"kind": "directions"})[1]["accepts_targets"] is False
    json.dumps(data)
    for query in ({"name": "../../secret.safetensors"}, {"name": "/etc/passwd"}, {"domain": "../.."},
                  {"kind": "rectifier"}, {"name": "gone.safetensors"}, {"name": "a\x00b"}, {"domain": ""}):
        status, answer = routes.controls({"kind": "dystyle", **query})
        assert status == 404 and set(answer) == {"error"}, query


def test_the_route_is_registered_with_the_server(pack, monkeypatch):
    pytest.importorskip("aiohttp")
    found = {}
    host = pack.sub("_host")
    routes = SimpleNamespace(get=lambda path: lambda handler: found.setdefault(path, handler))
    monkeypatch.setattr(host.server.PromptServer.instance, "routes", routes, raising=False)
    pack.sub("_routes").register()
    assert list(found) == ["/reganie/controls"]


def test_a_sweep_is_image_major_and_meets_one_difference_for_each_picture(pack, wires, latent):
    inputs = {"generator": wires.generator, "latent": latent, "control": "yaw", "start": -20.0, "stop": 20.0}
    many, edited, sheet, labels = call(pack, "EditSweep", **inputs, editor=wires.dystyle)
    assert many.batch == len(edited) == 10 and sheet.shape[0] == 1
    assert labels.splitlines() == ["yaw -20 degrees", "yaw -10 degrees", "yaw 0 degrees", "yaw +10 degrees",
                                   "yaw +20 degrees"]
    assert torch.equal(many.ws[2], latent.ws[0]) and torch.equal(many.ws[7], latent.ws[1])
    for i in range(2):
        alone = _edit(pack, wires, latent[i], "yaw=-10")
        torch.testing.assert_close(many.ws[5 * i + 1], alone[0].ws[0])
        torch.testing.assert_close(edited[5 * i + 1], alone[1][0], atol=1e-5, rtol=0)
    delta = pack.rc.Delta(pack.rc.images.from_comfy(picture(2)), torch.zeros(2, 3, 32, 32))
    rectified = call(pack, "Rectify", edited=edited, delta=delta, rectifier=wires.rectifier)[0]
    second = call(pack, "Rectify", edited=edited[5:], delta=delta[1:], rectifier=wires.rectifier)[0]
    torch.testing.assert_close(rectified[5:], second, atol=1e-5, rtol=0)
    sheet = call(pack, "PictureSheet", images=rectified, labels=labels, before=picture(2), cell=64)[0]
    assert sheet.shape[2] >= 6 * 64 and sheet.shape[1] >= 2 * 64


def test_a_sweep_takes_directions_and_finds_the_packaged_editor_of_a_control(pack, wires, latent):
    ends = {"steps": 3, "start": -1.0, "stop": 1.0}
    inputs = {"generator": wires.generator, "latent": latent, "control": "smile", **ends}
    linear = call(pack, "EditSweep", **inputs, editor=wires.directions)[0]
    torch.testing.assert_close(linear.ws[2] - linear.ws[1], linear.ws[1] - linear.ws[0])
    by_name = call(pack, "EditSweep", **inputs, editor_name=PACKAGED)[0]
    assert torch.equal(by_name.ws, call(pack, "EditSweep", **inputs, editor=wires.dystyle)[0].ws)
    reached = call(pack, "EditSweep", **inputs, mode="absolute", editor=wires.dystyle)[3]
    assert reached.splitlines()[0] == "smile = -1"
    with pytest.raises(pack.rc.ReganieError, match="only know changes"):
        call(pack, "EditSweep", **inputs, mode="absolute", editor=wires.directions)
    with pytest.raises(pack.rc.ReganieError, match="no control 'wings'"):
        call(pack, "EditSweep", **{**inputs, "control": "wings"}, editor=wires.dystyle)
    with pytest.raises(pack.rc.ReganieError, match="7 pictures for rows of 2"):
        call(pack, "PictureSheet", images=picture(7), labels="a\nb")


def test_one_slider_move_runs_the_editor_g_ep_and_gp_only(pack, wires, monkeypatch):
    """The nodes' objects and cached outputs live on between runs, as in ComfyUI."""
    calls: Counter[str] = Counter()

    def count(owner: object, name: str, key: str) -> None:
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **k: calls.update([key]) or real(*a, **k))

    latent, inversion, prepared = call(pack, "E4EInvert", generator=wires.generator, image=picture(2),
                                       encoder=wires.encoder)
    delta, _ = call(pack, "ComputeDelta", image=prepared, inversion=inversion)
    count(wires.encoder.value, "forward", "E")
    count(wires.generator.value.synthesis, "forward", "G")
    count(wires.dystyle.value.network, "forward", "editor")
    for name in ("encode_delta", "encode_primary", "decode"):
        count(wires.rectifier.value, name, name)
    node, pictures = pack.nodes["Rectify"](), []
    with torch.inference_mode():
        for move in ("yaw=+5", "yaw=+10"):
            calls.clear()
            edited = _edit(pack, wires, latent, move)[1]
            pictures.append(node.rectify(edited=edited, delta=delta, rectifier=wires.rectifier)[0])
    assert calls == {"editor": 1, "G": 2, "encode_primary": 2, "decode": 2}  # there are two pictures
    fresh = call(pack, "Rectify", edited=edited, delta=delta, rectifier=wires.rectifier)[0]
    assert torch.equal(pictures[1], fresh) and not torch.equal(pictures[0], pictures[1])
    calls.clear()
    with torch.inference_mode():
        half = dataclasses.replace(delta, image=delta.inversion + delta.pixels * 0.5)
        other = node.rectify(edited=edited, delta=half, rectifier=wires.rectifier)[0]
    assert calls["encode_delta"] == 2 and not torch.equal(other, fresh), "another difference is encoded again"


def test_the_difference_takes_its_inversion_along(pack, wires):
    """A rectifier that carries needs X^; the wire from Compute Delta brings it."""
    plain = wires.rectifier.value
    torch.manual_seed(0)
    network = type(plain)(dataclasses.replace(plain.config, carry_channels=(4, 6))).eval()
    carrying = type(wires.rectifier)("rectifier", "carrying", network)
    latent, inversion, prepared = call(pack, "E4EInvert", generator=wires.generator, image=picture(2),
                                       encoder=wires.encoder)
    delta, _ = call(pack, "ComputeDelta", image=prepared, inversion=inversion)
    edited = torch.cat([_edit(pack, wires, latent[i], f"yaw={yaw}")[1] for i in range(2) for yaw in (10, 20, 30)])
    found = call(pack, "Rectify", edited=edited, delta=delta, rectifier=carrying)[0]
    images = pack.rc.images
    expected = pack.rc.rectify(network, images.from_comfy(edited), delta.pixels,
                               inversion=images.from_comfy(inversion))
    torch.testing.assert_close(found, images.to_comfy(expected))
    assert delta.generator == wires.generator.value.fingerprint, "and tells which generator it came from"


def test_blends_meet_both_ends(pack, wires, latent):
    first, second = latent[0], latent[1]
    for amount, end in ((0.0, first), (1.0, second)):
        mixed = call(pack, "BlendLatents", first=first, second=second, amount=amount)[0]
        assert torch.equal(mixed.ws, end.ws) and mixed.generator == latent.generator
    coarse = call(pack, "BlendLatents", first=latent, second=second, amount=1.0, layers="0-2")[0]
    assert torch.equal(coarse.ws[0, :3], second.ws[0, :3]) and torch.equal(coarse.ws[0, 3:], first.ws[0, 3:])
    with pytest.raises(pack.rc.ReganieError, match="Layers must lie in"):
        call(pack, "BlendLatents", first=first, second=second, layers="0-99")
    three = call(pack, "SampleLatent", generator=wires.generator, seed=1, count=3)[0]
    with pytest.raises(pack.rc.ReganieError, match="2 and 3 codes"):
        call(pack, "BlendLatents", first=latent, second=three)


def test_latents_survive_a_file(pack, wires, latent):
    node = pack.nodes["ReGANIE_LoadLatent"]
    results = [call(pack, "ReGANIE_SaveLatent", latent=latent, name="people/anna") for _ in range(2)]
    assert [item["ui"]["text"] for item in results] == [["latents/people/anna_00001.safetensors"],
                                                        ["latents/people/anna_00002.safetensors"]]
    assert results[0]["result"][0] is latent
    options = node.INPUT_TYPES()["required"]["file"][1]["options"]
    assert set(options) == {"people/anna_00001.safetensors", "people/anna_00002.safetensors"}
    found = call(pack, "ReGANIE_LoadLatent", file=options[0])[0]
    assert torch.equal(found.ws, latent.ws) and found.generator == latent.generator
    for name in ("../x", "/tmp/x", "", "a\x00b"):
        assert isinstance(pack.nodes["ReGANIE_SaveLatent"].VALIDATE_INPUTS(name=name), str)
        assert isinstance(node.VALIDATE_INPUTS(file=name), str)
    with pytest.raises(pack.rc.ReganieError):
        call(pack, "ReGANIE_SaveLatent", latent=latent, name="../../x")
    shutil.rmtree(pack.base / "output")
    assert isinstance(node.VALIDATE_INPUTS(file=options[0]), str)


class _Texts:
    """An editor that reads texts, for the wire of Load StyleCLIP."""

    def __init__(self, rc, num_ws: int) -> None:
        self.controls = (rc.Control("text", "text", -10.0, 10.0, default=3.0),)
        self.accepts_targets, self.seen, self._rc = False, [], rc

    def edit_latent(self, latent, edits):
        import warnings

        (edit,) = edits.values()
        self.seen.append(edit)
        if "gargoyle" in edit.target:
            warnings.warn("Unknown words: gargoyle.", self._rc.ReganieWarning, stacklevel=2)
        return latent.with_ws(latent.ws + edit.strength)


def test_a_text_reaches_the_editor(pack, wires, latent):
    rc, texts = pack.rc, _Texts(pack.rc, latent.num_ws)
    editor = pack.sub("_models").Model("styleclip", "texts", texts)
    inputs = {"generator": wires.generator, "latent": latent, "editor": editor, "strength": 0.5}
    moved = call(pack, "StyleCLIPEdit", **inputs, target=" an old woman ")[0]
    torch.testing.assert_close(moved.ws, latent.ws + 0.5)
    assert texts.seen == [rc.editing.TextEdit("an old woman", "", 0.5, None)]
    call(pack, "StyleCLIPEdit", **inputs, target="a gargoyle", neutral="a face", threshold=0.2)
    assert texts.seen[-1] == rc.editing.TextEdit("a gargoyle", "a face", 0.5, 0.2)
    assert "gargoyle" in pack.host.state.notices[-1][1]["text"]
    with pytest.raises(rc.ReganieError, match="needs a description"):
        call(pack, "StyleCLIPEdit", **inputs, target="  ")
    trained = pack.sub("_models").Model("styleclip", "mapper", wires.directions.value)
    with pytest.raises(rc.ReganieError, match="no control 'an old woman'"):
        call(pack, "StyleCLIPEdit", **{**inputs, "editor": trained}, target="an old woman")
    linear = call(pack, "StyleCLIPEdit", **{**inputs, "editor": trained}, target="age")[0]
    torch.testing.assert_close(linear.ws, wires.directions.value.edit(latent.ws, {"age": 0.5}))
    with pytest.raises(rc.ReganieError, match="at most 300"):
        call(pack, "StyleCLIPEdit", **inputs, target="x" * 400)


def test_a_stylespace_mapper_meets_the_generator_on_the_wire(pack, wires, latent):
    name = pack.rc.__name__
    mapper = importlib.import_module(f"{name}.networks.mapper")
    editing = importlib.import_module(f"{name}.editing.styleclip")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = mapper.StyleSpaceMapper(mapper.StyleSpaceMapperConfig((0, 2), (12, 12)))
    editor = pack.sub("_models").Model("styleclip", "afro", editing.MapperEditor(network, "afro"))
    assert editor.resident.module is network
    inputs = {"generator": wires.generator, "latent": latent, "editor": editor, "strength": 1.0}
    moved, image = call(pack, "StyleCLIPEdit", **inputs, target="")
    assert sorted(moved.offsets) == [0, 2] and torch.equal(moved.ws, latent.ws)
    assert (image - call(pack, "Synthesize", generator=wires.generator, latent=latent)[0]).abs().max() > 1e-4
    twice = call(pack, "StyleCLIPEdit", **{**inputs, "latent": moved}, target="afro")[0]
    torch.testing.assert_close(twice.offsets[2], 2 * moved.offsets[2])
    many = call(pack, "EditSweep", generator=wires.generator, latent=moved, control="yaw", editor=wires.dystyle)[0]
    assert torch.equal(many.offsets[2][5], moved.offsets[2][1]), "earlier text edits stay through a sweep"


def test_without_packaged_editors_the_nodes_say_so(pack, tiny_domain, monkeypatch):
    monkeypatch.setitem(pack.rc.domains.PACKAGED, "portraits", tiny_domain)
    for node, kind in (("LoadDyStyle", "dystyle"), ("LoadStyleCLIP", "styleclip")):
        assert f"has no {kind}" in pack.nodes[node].VALIDATE_INPUTS(file=PACKAGED)
    generator = call(pack, "LoadStyleGAN", file=PACKAGED)[0]
    latent = call(pack, "SampleLatent", generator=generator, seed=0)[0]
    with pytest.raises(pack.rc.errors.NotFoundError, match="has no dystyle"):
        call(pack, "DyStyleEdit", generator=generator, latent=latent, edits="yaw=+1")


TABLE = ["", "yaw=+10", "yaw = 10;  age=-0.5", "yaw=@-15, glasses=on", "glasses=OFF", "a.b-c_1=+1e-3", "yaw=.5",
         "yaw", "yaw=", "yaw=on on", "yaw=1 yaw=2", "yaw=nan", "yaw=1e999", "<b>=1", "yaw=@", "yaw==1", "=1"]
SCRIPT = """
import {{ parseEdits, formatEdits }} from {path};
const seen = {table}.map((text) => {{
  const edits = parseEdits(text);
  return edits && [[...edits].map(([name, {{ mode, value }}]) => [name, mode, value]), formatEdits(edits)];
}});
console.log(JSON.stringify(seen));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the page's script")
def test_the_page_reads_edits_as_the_server_does(pack, tmp_path):
    shutil.copy(ROOT / "web" / "edits.js", tmp_path / "edits.mjs")
    (tmp_path / "run.mjs").write_text(SCRIPT.format(path='"./edits.mjs"', table=json.dumps(TABLE)))
    done = subprocess.run(["node", tmp_path / "run.mjs"], capture_output=True, text=True, timeout=60, check=True)
    rc = pack.rc
    for text, found in zip(TABLE, json.loads(done.stdout), strict=True):
        try:
            wanted = rc.parse_edits(text)
        except rc.ReganieError:
            assert found is None, text
            continue
        edits, written = found
        modes = {name: (mode, value) for name, mode, value in edits}
        for name, value in wanted.items():
            kind = "switch" if isinstance(value, bool) else "absolute" if isinstance(value, rc.Target) else "change"
            assert modes.pop(name) == (kind, getattr(value, "value", value)), text
        assert not modes and rc.parse_edits(written) == wanted, text
