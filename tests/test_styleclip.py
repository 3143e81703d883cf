"""Text edits: statistics gathered in pieces, directions in closed form, files with their encoder, optimisation."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil

import pytest
import torch

import reganie_core as rc
from reganie_core import networks
from reganie_core.checkpoints import save_checkpoint
from reganie_core.editing import TextEdit, edit_latent, load_editor
from reganie_core.editing.styleclip import Gatherer, MapperEditor, StyleCLIPEditor, StyleStatistics, optimise
from reganie_core.editing.styleclip.optimise import learning_rate
from reganie_core.errors import CorruptCheckpointError, InputError, MismatchError, NotFoundError, ReganieWarning
from reganie_core.latents import Latent, synthesize
from reganie_core.networks.mapper import LevelsMapper, LevelsMapperConfig, StyleSpaceMapper, StyleSpaceMapperConfig
from reganie_core.networks.text_image import TextImageNet, TextImageNetConfig
from reganie_core.text import WordEncoder, text_embedding

WORDS = "a an glasses light old young person portrait picture photo the face with of"


@pytest.fixture(scope="module")
def encoder() -> WordEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = TextImageNet(TextImageNetConfig(32, (4, 8, 8), WORDS, dim=6, hidden=12, text_width=16, text_heads=2))
    return WordEncoder(net.eval().requires_grad_(False), "f" * 16)


@pytest.fixture(scope="module")
def gathered(tiny_networks, encoder) -> Gatherer:
    gatherer = Gatherer(tiny_networks.generator, encoder, images=6, samples=32, step=0.3, seed=3)
    gatherer.run(0, gatherer.total)
    return gatherer


@pytest.fixture(scope="module")
def editor(gathered, encoder) -> StyleCLIPEditor:
    return StyleCLIPEditor(gathered.statistics(), encoder, method="least_squares", threshold=0.0)


@pytest.fixture
def latent(tiny_networks) -> Latent:
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(5))
    return Latent(tiny_networks.generator.mapping(z).detach())


# --- gathering --------------------------------------------------------------------------------------------------------


def test_gathering_in_pieces_gives_the_same_statistics(tiny_networks, encoder, gathered):
    """Stopped anywhere, its buffers moved to a new object: bit for bit what one run gives in the same pieces."""
    total = Gatherer(tiny_networks.generator, encoder, images=2, samples=32, step=1.0, seed=3).total
    pieces = [(s, s + 30) for s in range(0, total, 30)]

    def gather(first: list, rest: list) -> Gatherer:
        half = Gatherer(tiny_networks.generator, encoder, images=2, samples=32, step=1.0, seed=3)
        for piece in first:
            half.run(*piece)
        resumed = Gatherer(tiny_networks.generator, encoder, images=2, samples=32, step=1.0, seed=3)
        resumed.load_state_dict(half.state_dict())
        for piece in rest:
            resumed.run(*piece)
        return resumed

    whole, resumed = gather(pieces, []), gather(pieces[:2], pieces[2:])
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    with pytest.raises(InputError, match="whole pairs"):
        gathered.run(32, 35)


def test_one_channel_is_what_it_does_to_pictures(tiny_networks, encoder, gathered):
    """The response of a channel, computed here once more for its two pictures."""
    G, channel = tiny_networks.generator, 17
    vector, column = gathered.owner[channel]
    with torch.no_grad():
        styles = G.synthesis.styles(G.mapping(gathered.codes[:6]))
        start = sum(gathered.widths[:vector])
        step = torch.zeros(6, gathered.widths[vector])
        step[:, column] = 0.3 * gathered.std[start + column]
        ends = [encoder.encode_image(G.synthesis(styles=[s + sign * step if i == vector else s for i, s in
                                                         enumerate(styles)]).clamp(-1, 1)) for sign in (-1, 1)]
    expected = ((ends[1] - ends[0]) / 0.6).mean(0)
    torch.testing.assert_close(gathered.statistics().response[channel], expected, rtol=1e-3, atol=1e-6)
    statistics = gathered.statistics()
    assert statistics.widths == tuple(G.synthesis.style_dims()) and statistics.methods == ("relevance", "least_squares")
    torch.testing.assert_close(statistics.directions.norm(dim=1), torch.ones(len(gathered.owner)))


# --- directions -------------------------------------------------------------------------------------------------------


def made_up() -> StyleStatistics:
    """Two qualities, three channels: the third moves both, so it must not serve the first alone.

    Pictures have any combination of the first quality, -1, 0 or 1, and the second, -1 or 1.
    """
    response = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
    unit = response / response.norm(dim=1, keepdim=True)
    pictures = torch.cartesian_prod(torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([-1.0, 1.0])).repeat(50, 1)
    return StyleStatistics(unit, torch.zeros(5), torch.ones(5), (3, 2), response, pictures)


def test_least_squares_moves_what_is_asked_and_nothing_else():
    statistics, wanted, nothing = made_up(), torch.tensor([1.0, 0.0]), torch.zeros(2)
    relevance = statistics.relevance(wanted, 0.0)
    side_effect = relevance[:3] @ statistics.response
    assert side_effect[1] > 0.5 * side_effect[0]                      # the published way drags the other along
    solved = statistics.least_squares(wanted, nothing, 0.0, logit_scale=3.0, ridge=1e-6)
    effect = solved[:3] @ statistics.response
    # The text describes pictures of the first quality, softmax(-3, 0, 3) . (-1, 0, 1), and any of the second.
    e = math.exp(3.0)
    way = (e - 1 / e) / (e + 1 + 1 / e)
    torch.testing.assert_close(effect, torch.tensor([0.45 * way, 0.0]), rtol=1e-4, atol=1e-4)
    assert not statistics.least_squares(wanted, nothing, 0.0)[3:].any()        # ToRGB channels stay
    for lacking in ({"response": None}, {"embeddings": None}):
        with pytest.raises(InputError, match="relevance"):
            dataclasses.replace(statistics, **lacking).least_squares(wanted, nothing, 0.0)


def test_all_of_several_things_said_count():
    """A text whose embedding hardly leans towards the second quality: pictures that fit have it all the same."""
    statistics, both = made_up(), torch.tensor([1.0, 0.4])
    x = statistics.least_squares(both, torch.zeros(2), 0.0, logit_scale=4.0, ridge=1e-6)[:3]
    effect = x @ statistics.response
    assert effect[1] / effect[0] > 2 * 0.4


def test_few_matches_are_not_taken_for_what_was_said():
    """However sharp the encoder is, a quarter of these few pictures' worth decides."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pictures = torch.nn.functional.normalize(torch.randn(400, 6), dim=1)
    statistics = dataclasses.replace(made_up(), directions=torch.eye(3, 6), response=torch.eye(3, 6),
                                     embeddings=pictures)
    text = pictures[7]
    found = statistics.matched(text, 1e4)
    assert not torch.allclose(found, text.double(), atol=0.05)          # not that single picture
    assert float(torch.cosine_similarity(found, text.double(), dim=0)) > 0.95


def test_threshold_leaves_channels_out(editor):
    few = [int((editor.direction("an old person", "a person", t) != 0).sum()) for t in (0.0, 0.2, 0.6, 1.0)]
    assert few == sorted(few, reverse=True) and few[0] > few[-1] == 1


# --- the editor -------------------------------------------------------------------------------------------------------


def test_zero_is_the_same_latent_bit_for_bit(editor, latent, tiny_networks):
    assert editor.edit_text(latent, "an old person", strength=0) is latent
    assert editor.edit_latent(latent, {}) is latent and editor.edit(latent.ws, {}) is latent.ws
    assert edit_latent(editor, latent, {}) is latent
    edited = editor.edit_text(latent, "an old person", strength=1.0)
    assert torch.equal(edited.ws, latent.ws) and edited.offsets and edited is not latent
    back = editor.edit_text(edited, "an old person", strength=-1.0)
    with torch.no_grad():
        pictures = [synthesize(tiny_networks.generator, x) for x in (back, latent)]
    torch.testing.assert_close(*pictures, rtol=0, atol=1e-5)


def test_monotone_in_strength_and_edits_add_up(editor, latent):
    ends = [editor.edit_text(latent, "old", "young", s).offsets for s in (0.5, 1.0, 2.0)]
    for index, offset in ends[0].items():
        torch.testing.assert_close(2 * offset, ends[1][index])
        torch.testing.assert_close(4 * offset, ends[2][index])
    twice = editor.edit_text(editor.edit_text(latent, "old", "young", 0.5), "old", "young", 0.5)
    torch.testing.assert_close(twice.offsets[0], ends[1][0])


def test_the_score_grows_with_the_strength(editor, encoder, gathered, tiny_networks):
    """Pictures move towards the text they were edited for (random networks: only small steps are linear)."""
    goal = text_embedding(encoder, "an old person") - text_embedding(encoder, "a young person")

    latent = Latent(tiny_networks.generator.mapping(gathered.codes[:6]).detach())

    def score(strength: float) -> torch.Tensor:
        edited = editor.edit_text(latent, "an old person", "a young person", strength)
        with torch.no_grad():
            return encoder.encode_image(synthesize(tiny_networks.generator, edited)).double() @ goal.double()

    low, none, high = (score(s).mean() for s in (-0.05, 0.0, 0.05))
    assert low < none < high


def test_a_batch_equals_singles(editor, latent):
    together = editor.edit_latent(latent, {"text": "old glasses"})
    for i in range(latent.batch):
        alone = editor.edit_latent(latent[i], {"text": TextEdit("old glasses")})
        assert all(torch.equal(alone.offsets[k], v[i:i + 1]) for k, v in together.offsets.items())


def test_what_is_refused_by_name(editor, latent):
    for edits in ({"text": 1.0}, {"age": "old"}, {"text": True}):
        with pytest.raises(InputError):
            editor.edit_latent(latent, edits)
    with pytest.raises(InputError, match="edit_latent"):
        editor.edit(latent.ws, {"text": "old"})
    with pytest.raises(InputError, match="0..1"):
        editor.edit_text(latent, "old", threshold=2.0)
    with pytest.raises(InputError, match="finite"):
        editor.edit_text(latent, "old", strength=float("nan"))
    with pytest.raises(InputError, match="description"):
        TextEdit(" ")
    with pytest.raises(MismatchError, match="style vectors"):
        editor.edit_text(Latent(torch.zeros(1, 4, 16)), "old")
    made_for = StyleCLIPEditor(editor.statistics, editor.encoder, provenance={"fingerprints": {"generator": "aaaa"}})
    with pytest.raises(MismatchError, match="aaaa.*bbbb"):
        made_for.edit_text(Latent(latent.ws, generator="bbbb"), "old")


def test_unknown_words_warn_every_time(editor, latent):
    for _ in range(2):
        with pytest.warns(ReganieWarning, match="zebra"):
            editor.edit_text(latent, "an old zebra")


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text_domain(tmp_path_factory, tiny_domain, gathered, encoder):
    """The tiny domain with a text editor and its encoder."""
    folder = tmp_path_factory.mktemp("texts") / "domain"
    shutil.copytree(tiny_domain, folder)
    described = networks.describe(encoder.net)
    save_checkpoint(folder / "text.safetensors", "text_image", described, encoder.net.state_dict(), {})
    statistics = gathered.statistics()
    tensors = {name: getattr(statistics, name) for name in ("directions", "mean", "std", "response", "embeddings")}
    config = {"mode": "global", "widths": list(statistics.widths), "method": "least_squares", "neutral": "a person",
              "strength": 1.0, "threshold": 0.0}
    save_checkpoint(folder / "styleclip.safetensors", "styleclip", config, tensors, {})
    manifest = json.loads((folder / "domain.json").read_text())
    (folder / "domain.json").write_text(json.dumps({**manifest, "styleclip": "styleclip.safetensors"}))
    return folder


def test_a_domain_finds_its_text_encoder(text_domain, editor, latent):
    domain = rc.load_domain(text_domain)
    assert domain.styleclip.controls[0].kind == "text" and domain.editor_for({"text": "old"}) is domain.styleclip
    edited = domain.styleclip.edit_text(latent, "an old person", "a person", 1.0)
    expected = editor.edit_text(latent, "an old person", "a person", 1.0)
    for index, offset in expected.offsets.items():
        torch.testing.assert_close(edited.offsets[index], offset)
    picture = domain.examples[0]
    result = rc.edit(picture, {"text": "an old person"}, domain=domain)
    plain = rc.edit(picture, {}, domain=domain)
    assert not torch.allclose(result.edited, plain.edited, atol=1e-3)
    torch.testing.assert_close(result.inversion, plain.inversion, rtol=0, atol=1e-4)
    assert result.edited_latent.offsets and result.rectified is not None


def test_text_on_the_command_line(text_domain, tmp_path, capsys):
    from reganie_core.__main__ import main

    arguments = ["edit", "portrait:500000001", "-o", str(tmp_path / "o.png"), "--domain", str(text_domain)]
    assert main([*arguments, "--text", "an old person", "--text-strength", "0.5", "--sheet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["edits"] == "text: an old person (+0.5)"
    assert (tmp_path / "o.png").is_file() and (tmp_path / "o_sheet.png").is_file()
    assert main([*arguments, "--text", "old", "--edit", "age=+1"]) == 1
    assert main([*arguments, "--text-strength", "1"]) == 1
    assert "--text" in capsys.readouterr().err


def test_a_missing_or_other_encoder_is_said(text_domain, tmp_path, encoder):
    shutil.copy(text_domain / "styleclip.safetensors", tmp_path)
    with pytest.raises(NotFoundError, match="text.safetensors"):
        load_editor(tmp_path / "styleclip.safetensors")
    other = rc.checkpoints.read_checkpoint(tmp_path / "styleclip.safetensors")
    prints = {"fingerprints": {"text_encoder": "0" * 16}}
    save_checkpoint(tmp_path / "styleclip.safetensors", "styleclip", other.config, other.tensors, prints)
    shutil.copy(text_domain / "text.safetensors", tmp_path)
    with pytest.raises(MismatchError, match="0000"):
        load_editor(tmp_path / "styleclip.safetensors")


@pytest.mark.parametrize("change", [{"widths": [3]}, {"widths": "x"}, {"method": "magic"}, {"threshold": "x"},
                                    {"text_encoder": "../text.safetensors"}, {"widths": None}, {"neutral": 3}])
def test_damaged_files(text_domain, tmp_path, change):
    shutil.copy(text_domain / "text.safetensors", tmp_path)
    good = rc.checkpoints.read_checkpoint(text_domain / "styleclip.safetensors")
    save_checkpoint(tmp_path / "s.safetensors", "styleclip", {**good.config, **change}, good.tensors, {})
    with pytest.raises(rc.ReganieError):
        load_editor(tmp_path / "s.safetensors")


# --- mappers ----------------------------------------------------------------------------------------------------------


def test_our_mapper_files(tmp_path):
    net = LevelsMapper(LevelsMapperConfig(8, coarse=True, medium=False, fine=False))
    config = {"mode": "mapper", "prompt": "a smiling person", "name": "Smile!", **networks.describe(net)}
    save_checkpoint(tmp_path / "m.safetensors", "styleclip", config, net.state_dict(), {})
    editor = load_editor(tmp_path / "m.safetensors")
    assert isinstance(editor, MapperEditor) and editor.controls[0].name == "smile"
    assert "a smiling person" in editor.controls[0].description
    ws = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    changes = torch.tensor([0.0, 2.0])
    edited = editor.edit(ws, {"smile": changes})
    assert torch.equal(edited[0], ws[0]) and torch.equal(edited[1, 4:], ws[1, 4:])
    torch.testing.assert_close(edited[1], ws[1] + 2 * (editor.edit(ws, {"smile": 1.0}) - ws)[1])
    with pytest.raises(MismatchError, match="different generators"):
        editor.edit(torch.zeros(1, 6, 9), {"smile": 1.0})
    save_checkpoint(tmp_path / "m.safetensors", "styleclip", {**config, "w_dim": 9}, net.state_dict(), {})
    with pytest.raises(CorruptCheckpointError):
        load_editor(tmp_path / "m.safetensors")


def test_stylespace_mapper_gives_offsets(latent, tiny_networks):
    net = StyleSpaceMapper(StyleSpaceMapperConfig((0, 2), (12, 12))).requires_grad_(False)
    editor = MapperEditor(net, "afro")
    with pytest.raises(InputError, match="generator"):
        editor.edit_latent(latent, {"afro": 1.0})
    editor.generator = tiny_networks.generator
    edited = editor.edit_latent(latent, {"afro": torch.tensor([0.0, 1.0, 2.0])})
    styles = tiny_networks.generator.synthesis.styles(latent.ws)
    torch.testing.assert_close(edited.offsets[2][2], 0.2 * net.mapper_2(styles[2])[2])
    assert sorted(edited.offsets) == [0, 2] and not edited.offsets[0][0].any()


# --- optimisation -----------------------------------------------------------------------------------------------------


def test_learning_rate_schedule():
    """Values of StyleCLIP's formula: up over 5 %, down as a cosine over the last quarter."""
    assert learning_rate(0.0, 0.1) == 0.0 and learning_rate(0.025, 0.1) == pytest.approx(0.05)
    assert learning_rate(0.5, 0.1) == pytest.approx(0.1) and learning_rate(0.875, 0.1) == pytest.approx(0.05)


def test_optimisation_finds_the_text_near_the_start(tiny_networks, encoder, latent):
    seen: list[tuple[int, int]] = []
    found = optimise(tiny_networks.generator, latent, encoder, "an old person", steps=12, l2=0.001,
                     progress=lambda done, total: seen.append((done, total)))
    goal = text_embedding(encoder, "an old person")
    with torch.no_grad():
        before, after = (encoder.encode_image(synthesize(tiny_networks.generator, x)) @ goal for x in (latent, found))
    assert (after > before).all() and seen[-1] == (12, 12)
    stiff = optimise(tiny_networks.generator, latent, encoder, "an old person", steps=12, l2=100.0)
    assert (stiff.ws - latent.ws).norm() < 0.5 * (found.ws - latent.ws).norm()
    with pytest.raises(InputError):
        optimise(tiny_networks.generator, latent, encoder, "old", steps=0)
