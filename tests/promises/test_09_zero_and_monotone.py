"""Promise 9: zero is nothing, more is more.

An edit of 0 gives exactly the inversion. Along a fixed direction the change grows with the amount, in pixels and in
what an attribute reader sees, within the control's range. Rectify at 0 gives the edited picture bit for bit, at 1 the
network's picture, and lies between in between. Not promised: equal steps, and anything outside a control's range.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import reganie_core as rc
from reganie_core import portraits
from tests.host_stubs import call, picture
from tests.promises.helpers import PACKAGED, chain, wires_of
from trainer.evaluation.bench import load_networks

pytest_plugins = ["tests.nodes_fixtures"]

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the way from the default to the end of the range
FIRST = 1_000_600_000


@pytest.fixture(scope="module")
def domain() -> rc.Domain:
    return rc.load_domain("portraits")


def test_no_edit_is_the_inversion_bit_for_bit(pack: SimpleNamespace, edit_domain: object,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pack.rc.domains.PACKAGED, "portraits", edit_domain)
    on = wires_of(pack)
    done = chain(pack, picture(3), amount=0.0, wires=on)
    assert torch.equal(done.edited_latent.ws, done.latent.ws) and torch.equal(done.edited, done.inversion)
    for edits in ("", "yaw=+0", "yaw=+0, age=+0"):
        latent, edited = call(pack, "DyStyleEdit", generator=on.generator, latent=done.latent, edits=edits,
                              editor=on.dystyle)
        assert torch.equal(latent.ws, done.latent.ws) and torch.equal(edited, done.inversion), edits


def test_packaged_editors_at_zero(domain: rc.Domain) -> None:
    image = portraits.render(portraits.sample(2, FIRST), domain.resolution)
    for editor in (domain.dystyle, domain.directions):
        for control in editor.controls:
            done = rc.edit(image, {control.name: 0.0}, domain=domain, rectify=False)
            assert torch.equal(done.edited, done.inversion), control.name


@pytest.mark.parametrize("part", ["directions", "dystyle"])
@pytest.mark.parametrize("name", ["yaw", "smile", "age"])
def test_more_is_more(domain: rc.Domain, part: str, name: str) -> None:
    """On the mean of some people: change in pixels and the attribute that is read, both ways from zero."""
    editor = getattr(domain, part)
    control = next(c for c in editor.controls if c.name == name)
    image = portraits.render(portraits.sample(4, FIRST), domain.resolution)
    alone = rc.Domain(generator=domain.generator, encoder=domain.encoder, **{part: editor})
    reader = load_networks(domain)[0]
    start = rc.invert(image, domain=alone)
    before = float(reader.read(start.inversion)[name].mean())
    for end in (control.minimum, control.maximum):
        distances, readings = [0.0], [before]
        for share in SHARES:
            done = rc.edit(start, {name: share * (end - control.default)}, domain=alone, rectify=False)
            distances.append(float((done.edited - done.inversion).abs().mean()))
            readings.append(float(reader.read(done.edited)[name].mean()))
        steps = torch.tensor(distances).diff()
        assert (steps > 0).all(), distances
        read = torch.tensor(readings).diff() * (1.0 if end > control.default else -1.0)
        assert (read > 0).all(), readings


@pytest.mark.parametrize("output", ["rectifier", "edited"])
def test_rectify_goes_from_the_edit_to_the_networks_picture(pack: SimpleNamespace, output: str) -> None:
    done = chain(pack, picture(2), amount=9.0)
    network = call(pack, "LoadRectifier", file=PACKAGED)[0]

    def at(strength: float) -> torch.Tensor:
        return call(pack, "Rectify", edited=done.edited, delta=done.delta, strength=strength, output=output,
                    rectifier=network)[0]

    core = pack.rc.images
    assert torch.equal(at(0.0), core.to_comfy(core.from_comfy(done.edited))), "Y^ bit for bit"
    with torch.inference_mode():
        painted = network.value(core.from_comfy(done.edited), done.lost, strength=1.0)
    torch.testing.assert_close(at(1.0), core.to_comfy(painted.clamp(-1, 1)), atol=1e-5, rtol=0)
    torch.testing.assert_close(at(0.5), (at(0.0) + at(1.0)) / 2, atol=1e-5, rtol=0)
    assert (at(1.0) - at(0.0)).abs().max() > 1e-3
