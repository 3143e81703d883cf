"""DyStyle: the network, the editor behind the protocol, its files, domains and the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import reganie_core as rc
from reganie_core.__main__ import main
from reganie_core.checkpoints import save_checkpoint
from reganie_core.editing import Control, Editor, Target, load_editor
from reganie_core.editing.dystyle import DyStyleEditor
from reganie_core.errors import CorruptCheckpointError, InputError, MismatchError
from reganie_core.networks import build, describe
from reganie_core.networks.dystyle import DyStyle, DyStyleConfig

NUM_WS, W_DIM = 4, 6
NAMES, KINDS = ("yaw", "age", "glasses"), ("numeric", "numeric", "binary")
CONTROLS = [Control("yaw", "numeric", -30.0, 30.0, "degrees"), Control("age", "numeric", -1.0, 1.0),
            Control("glasses", "binary", 0.0, 1.0)]


def make(num_ws: int = NUM_WS, w_dim: int = W_DIM, seed: int = 0) -> DyStyle:
    """A small network whose every weight matters (a fresh one changes nothing)."""
    random = torch.Generator().manual_seed(seed)
    net = DyStyle(DyStyleConfig(num_ws, w_dim, NAMES, KINDS, (1.0, 0.0, 0.0), (15.0, 0.5, 1.0), 16, 16, 8, 5, 4))
    for parameter in net.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=random))
    return net.eval()


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def net() -> DyStyle:
    return make().requires_grad_(False)


@pytest.fixture
def editor(net: DyStyle) -> DyStyleEditor:
    return DyStyleEditor(net, CONTROLS)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


# The network ------------------------------------------------------------------------------------------------------


def test_nothing_asked_returns_the_same_bits(net: DyStyle) -> None:
    ws = normal(3, NUM_WS, W_DIM)
    ws[0, 0, 0] = -0.0          # adding +0.0 would already change this one
    change = torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.5, 1.0]])
    edited = net(ws, change)
    assert same_bits(edited[0], ws[0])
    assert not torch.allclose(edited[1:], ws[1:], atol=1e-3)
    assert same_bits(net(ws, change, torch.zeros(3, 3, dtype=torch.bool)), ws)
    assert same_bits(net(ws.double(), torch.zeros(3, 3)), ws.double())


def test_a_fresh_network_changes_nothing() -> None:
    fresh = DyStyle(make().config)
    ws = normal(2, NUM_WS, W_DIM)
    assert torch.equal(fresh(ws, torch.ones(2, 3)), ws)


def test_a_batch_of_different_edits_equals_singles(net: DyStyle) -> None:
    ws = normal(5, NUM_WS, W_DIM)
    change = torch.tensor([[9.0, 0, 0], [0, 0.5, -1], [-20, 0.1, 1], [0, 0, 0], [3, -0.7, 0.5]])
    together = net(ws, change)
    for i in range(5):
        torch.testing.assert_close(together[i:i + 1], net(ws[i:i + 1], change[i:i + 1]), rtol=1e-4, atol=1e-5)


def test_inactive_experts_neither_matter_nor_learn() -> None:
    net, ws = make(), normal(2, NUM_WS, W_DIM)
    change = torch.tensor([[9.0, 0.5, 1.0], [4.0, -0.5, -1.0]])
    active = torch.tensor([[True, False, False], [True, False, False]])
    out = net(ws, change, active)
    out.square().sum().backward()
    stacked = {name: p for name, p in net.named_parameters()
               if name.startswith(("experts.", "key.")) and name not in ("experts.features.weight",
                                                                         "experts.features.bias")}
    assert len(stacked) == 12
    for name, parameter in stacked.items():
        assert parameter.grad[1:].abs().max() == 0, name
    for name in ("experts.bank", "experts.direction", "experts.mix.weight", "experts.hidden.weight"):
        assert stacked[name].grad[0].abs().max() > 0, name
    with torch.no_grad():
        for parameter in stacked.values():
            parameter[1:] = torch.nan_to_num(parameter[1:] * 3 + 1)
        torch.testing.assert_close(net(ws, change, active), out, rtol=0, atol=0)


def test_one_expert_alone_has_weight_one_and_equal_attention_adds_up(net: DyStyle) -> None:
    x, hidden = normal(4, NUM_WS, W_DIM), normal(4, 3, 8)
    steps = torch.tensor([[2.0, 0, 0], [0, -1e-6, 0], [1, 1, 1], [0, 0, 0]])
    weights = net.attention(x, hidden, steps)
    torch.testing.assert_close(weights[:2], torch.eye(3)[:2, None].expand(2, NUM_WS, 3), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(weights[2].sum(1), torch.full((NUM_WS,), 3.0))
    assert not weights[3].any()
    fresh = DyStyle(net.config)           # its queries are zero
    with torch.no_grad():
        torch.testing.assert_close(fresh.attention(x, hidden, steps)[2], torch.ones(NUM_WS, 3))


def test_small_edits_fade_in_beside_others(net: DyStyle) -> None:
    ws = normal(1, NUM_WS, W_DIM)
    alone = net(ws, torch.tensor([[10.0, 0.0, 0.0]]))
    beside = net(ws, torch.tensor([[10.0, 1e-7, 0.0]]))
    torch.testing.assert_close(beside, alone, rtol=1e-3, atol=1e-3)


def test_it_is_differentiable_in_codes_and_changes(net: DyStyle) -> None:
    double = make().double()
    ws, change = normal(1, NUM_WS, W_DIM).double().requires_grad_(), torch.tensor([[4.0, -0.5, 0.7]]).double()
    assert torch.autograd.gradcheck(double, (ws, change.requires_grad_()), eps=1e-6, atol=1e-4)


def test_partial_binary_changes_lie_on_a_straight_line(net: DyStyle) -> None:
    ws = normal(2, NUM_WS, W_DIM)
    whole, half = (net(ws, torch.tensor([[0.0, 0.0, v]] * 2)) for v in (1.0, 0.5))
    torch.testing.assert_close(half - ws, 0.5 * (whole - ws))


@pytest.mark.parametrize("shape", [(2, NUM_WS + 1, W_DIM), (2, NUM_WS, W_DIM - 1), (2, W_DIM)])
def test_codes_of_another_size(net: DyStyle, editor: DyStyleEditor, shape: tuple[int, ...]) -> None:
    with pytest.raises(MismatchError, match="another generator"):
        net(torch.zeros(shape), torch.zeros(2, 3))
    with pytest.raises(InputError):
        editor.edit(torch.zeros(shape), {"age": 1.0})


@pytest.mark.parametrize("fields", [{"kinds": ("numeric",) * 2}, {"std": (1.0, 0.0, 1.0)}, {"names": ("a", "a", "b")},
                                    {"kinds": ("text",) * 3}, {"expert": 0}, {"mean": (float("nan"), 0.0, 0.0)}])
def test_configs_refused(fields: dict[str, Any]) -> None:
    values = {"num_ws": 4, "w_dim": 6, "names": NAMES, "kinds": KINDS, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    with pytest.raises(InputError):
        DyStyleConfig(**(values | fields))


def test_it_learns_a_known_linear_problem() -> None:
    """Attributes are linear in the code; the editor must hit absolute and relative targets and keep the others."""
    torch.manual_seed(0)
    truth = torch.linalg.qr(torch.randn(NUM_WS * W_DIM, 3)).Q
    net = DyStyle(DyStyleConfig(NUM_WS, W_DIM, ("a", "b", "c"), ("numeric",) * 3, (0.0,) * 3, (1.0,) * 3, 32, 32, 16,
                                8, 8))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    random = torch.Generator().manual_seed(1)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / 200)
        ws = torch.randn(32, NUM_WS, W_DIM, generator=random)
        active = torch.rand(32, 3, generator=random) < 0.5
        change = torch.randn(32, 3, generator=random) * active
        now = ws.flatten(1) @ truth
        after = net(ws, change, active, now).flatten(1) @ truth
        loss = (after - now - change).square().mean() + (net.read(ws) - now).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ws = torch.randn(64, NUM_WS, W_DIM, generator=random)
    editor = DyStyleEditor(net, [Control(name, "numeric", -4.0, 4.0) for name in "abc"])
    now = ws.flatten(1) @ truth
    with torch.no_grad():
        moved = editor.edit(ws, {"b": 0.8}).flatten(1) @ truth - now
        placed = editor.edit(ws, {"c": Target(-1.0)}).flatten(1) @ truth
    assert (moved - torch.tensor([0.0, 0.8, 0.0])).abs().mean() < 0.12
    assert (placed[:, 2] + 1).abs().mean() < 0.4 < (now[:, 2] + 1).abs().mean()


# The editor -------------------------------------------------------------------------------------------------------


def test_protocol(editor: DyStyleEditor) -> None:
    ws = normal(2, NUM_WS, W_DIM)
    assert isinstance(editor, Editor) and editor.accepts_targets
    assert editor.edit(ws, {}) is ws
    assert same_bits(editor.edit(ws, {"yaw": 0.0, "age": torch.zeros(2), "glasses": 0.0}), ws)
    edited = editor.edit(ws, {"yaw": torch.tensor([0.0, 7.0])})
    assert same_bits(edited[0], ws[0]) and not torch.equal(edited[1], ws[1])
    assert editor.edit(ws.double(), {"yaw": 1.0}).dtype == torch.float64


def test_changes_targets_and_switches_become_the_networks_changes(net: DyStyle, editor: DyStyleEditor) -> None:
    ws = normal(2, NUM_WS, W_DIM)
    now = editor.read(ws)
    assert list(now) == list(NAMES) and now["glasses"].min() >= 0 <= 1 - now["glasses"].max()
    asked: list[torch.Tensor] = []

    def listen(ws: torch.Tensor, change: torch.Tensor, active: Any = None, current: Any = None) -> torch.Tensor:
        asked.append(change)
        torch.testing.assert_close(current, torch.stack(list(now.values()), dim=1))
        return ws

    class Listener:
        config, binary, center, read = net.config, net.binary, net.center, staticmethod(net.read)
        __call__ = staticmethod(listen)

    wide = [Control("yaw", "numeric", -1e5, 1e5), Control("age", "numeric", -1e5, 1e5), CONTROLS[2]]
    listener = DyStyleEditor(Listener(), wide)  # type: ignore[arg-type]
    listener.edit(ws, {"yaw": 2.5, "age": Target(0.25), "glasses": True})
    torch.testing.assert_close(asked[-1], torch.stack([torch.full((2,), 2.5), 0.25 - now["age"], torch.ones(2)], 1))
    listener.edit(ws, {"glasses": False, "yaw": Target(torch.tensor([1.0, -1.0]))})
    expected = torch.stack([torch.tensor([1.0, -1.0]) - now["yaw"], torch.zeros(2), -torch.ones(2)], 1)
    torch.testing.assert_close(asked[-1], expected)
    for value, expected in ((2.0, 1.0), (-0.5, -0.5), (Target(0.5), 0.0), (Target(0.0), -1.0)):
        listener.edit(ws, {"glasses": value})
        torch.testing.assert_close(asked[-1][:, 2], torch.full((2,), expected))


def test_requests_end_at_the_trained_range_and_never_go_backwards(net: DyStyle) -> None:
    ws = normal(64, NUM_WS, W_DIM)
    low, high, slack = -12.0, 0.0, 0.6
    editor = DyStyleEditor(net, [Control("yaw", "numeric", low, high), *CONTROLS[1:]])
    now = editor.read(ws)["yaw"]
    inside = (now >= low) & (now <= high)
    assert (now > high + 1).any() and (now < low - 1).any() and inside.any()
    asked: list[torch.Tensor] = []

    class Recorder:
        binary, center, read = net.binary, net.center, staticmethod(net.read)

        def __call__(self, ws: torch.Tensor, change: torch.Tensor, current: torch.Tensor) -> torch.Tensor:
            asked.append(change[:, 0])
            return ws

    editor.network = Recorder()  # type: ignore[assignment]
    amounts = (-24.0, -5.0, -1.0, 0.0, 1.0, 5.0, 24.0)
    for amount in amounts:
        editor.edit(ws, {"yaw": amount})
    for amount, moved in zip(amounts, asked, strict=True):
        assert (moved * amount >= 0).all() and (moved.abs() <= abs(amount)).all()
        assert ((now + moved)[inside] <= high + slack + 1e-4).all()
        assert ((now + moved)[inside] >= low - slack - 1e-4).all()
    assert all((b >= a).all() for a, b in zip(asked, asked[1:], strict=False))
    assert torch.equal(asked[4][inside & (now < -2)], torch.ones_like(asked[4][inside & (now < -2)]))


@pytest.mark.parametrize(("edits", "said"), [
    ({"smile": 1.0}, r"yaw \(-30..30 degrees\), age \(-1..1\), glasses \(on\|off\)"),
    ({"yaw": Target(61.0)}, "outside its range"), ({"yaw": True}, "is a number"), ({"yaw": float("nan")}, "finite"),
    ({"yaw": torch.ones(3)}, "3"), ({"yaw": torch.ones(2, 2)}, "shape"), ({"yaw": Target(torch.ones(3))}, "3"),
])
def test_edits_refused(editor: DyStyleEditor, edits: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        editor.edit(normal(2, NUM_WS, W_DIM), edits)


def test_gradients_reach_the_codes(editor: DyStyleEditor) -> None:
    ws = normal(2, NUM_WS, W_DIM).requires_grad_()
    editor.edit(ws, {"yaw": 3.0, "glasses": True}).sum().backward()
    assert ws.grad is not None and ws.grad.abs().min() > 0


# Files and domains ------------------------------------------------------------------------------------------------


def save(path: Path, net: DyStyle, controls: Any = None, provenance: dict[str, Any] | None = None) -> Path:
    listed = [control.to_dict() for control in CONTROLS] if controls is None else controls
    save_checkpoint(path, "dystyle", {**describe(net), "controls": listed}, net.state_dict(), provenance or {})
    return path


def test_file_round_trip(tmp_path: Path, net: DyStyle, editor: DyStyleEditor) -> None:
    net = make(seed=3)
    net.center.normal_()
    net.spread.fill_(0.7)
    path = save(tmp_path / "e.safetensors", net, provenance={"fingerprints": {"generator": "abc"}})
    loaded = load_editor(path)
    assert isinstance(loaded, DyStyleEditor) and loaded.controls == tuple(CONTROLS)
    assert len(loaded.fingerprint) == 16 and loaded.provenance["fingerprints"]["generator"] == "abc"
    ws = normal(2, NUM_WS, W_DIM)
    edits = {"yaw": 5.0, "glasses": True, "age": Target(0.5)}
    assert torch.equal(loaded.edit(ws, edits), DyStyleEditor(net, CONTROLS).edit(ws, edits))
    assert rc.inspect(path)["kind"] == "dystyle"
    assert describe(build("dystyle", describe(net))) == describe(net)


@pytest.mark.parametrize("controls", [[], [{"name": "yaw"}], 7, [{"name": "<b>"}] * 3,
                                      [{"name": n} for n in NAMES],        # glasses is binary
                                      [{"name": n, "minimum": 0, "maximum": 0} for n in NAMES]])
def test_files_with_bad_controls(tmp_path: Path, net: DyStyle, controls: Any) -> None:
    with pytest.raises(CorruptCheckpointError):
        load_editor(save(tmp_path / "e.safetensors", net, controls))


@pytest.mark.parametrize(("field", "value"), [("num_ws", 10**9), ("num_ws", "4"), ("names", ["a"]), ("std", [1, 0, 1]),
                                              ("expert", 9), ("more", 1)])
def test_files_with_bad_configs(tmp_path: Path, net: DyStyle, field: str, value: Any) -> None:
    config = {**describe(net), "controls": [c.to_dict() for c in CONTROLS], field: value}
    save_checkpoint(tmp_path / "e.safetensors", "dystyle", config, net.state_dict(), {})
    with pytest.raises(rc.ReganieError):
        load_editor(tmp_path / "e.safetensors")


@pytest.fixture
def with_dystyle(tiny_domain: Path, tmp_path: Path) -> Callable[..., Path]:
    """`with_dystyle(fingerprint=None)`: a copy of the tiny domain with an editor for yaw, age and glasses."""
    def build_domain(fingerprint: str | None = None) -> Path:
        folder = shutil.copytree(tiny_domain, tmp_path / "copy")
        owner = rc.load_generator(folder / "generator.safetensors")
        prints = {"generator": fingerprint or owner.fingerprint}
        save(folder / "dystyle.safetensors", make(owner.num_ws, owner.w_dim), provenance={"fingerprints": prints})
        manifest = json.loads((folder / "domain.json").read_text()) | {"dystyle": "dystyle.safetensors"}
        (folder / "domain.json").write_text(json.dumps(manifest))
        return folder

    return build_domain


@pytest.mark.filterwarnings("ignore:The inversion hardly")     # random networks
def test_domain_prefers_dystyle_where_it_knows_the_controls(with_dystyle: Callable[..., Path]) -> None:
    domain = rc.load_domain(with_dystyle())
    assert domain.editor_for({"yaw": 1.0, "glasses": True}) is domain.dystyle
    assert domain.editor_for({"smile": 1.0}) is domain.directions       # only the directions know it
    with pytest.raises(InputError, match="dystyle: yaw.*directions: yaw"):
        domain.editor_for({"hat": 1.0})
    picture = domain.generator.synthesis(domain.generator.mapping(normal(1, 16))).clamp(-1, 1)
    result = rc.edit(picture, "yaw=@-15, glasses=on", domain=domain)
    assert result.rectified.shape == (1, 3, 32, 32)
    assert not torch.equal(result.edited_latent.ws, result.latent.ws)


def test_editors_of_another_generator_are_refused_by_name(with_dystyle: Callable[..., Path]) -> None:
    with pytest.raises(MismatchError, match="dystyle editor of the domain tiny was trained for generator '0123'"):
        rc.load_domain(with_dystyle("0123"))


def test_command_line(with_dystyle: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = with_dystyle()
    assert main(["controls", "--domain", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "dystyle (changes and absolute values)" in out and "-30..30 degrees" in out and "on|off" in out
    assert main(["controls", "--editor", str(folder / "dystyle.safetensors"), "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(NAMES)
    photo = str(folder / "examples" / "one.png")
    assert main(["edit", photo, "-o", str(tmp_path / "out.png"), "--domain", str(folder), "--edit", "glasses=on",
                 "--edit", "yaw=@-15"]) == 0
    assert (tmp_path / "out.png").exists()
    assert main(["edit", photo, "-o", str(tmp_path / "b.png"), "--domain", str(folder), "--edit", "yaw=@-90"]) != 0
    assert "range" in capsys.readouterr().err
