"""Texts and pictures in one space: captions that are true, words that are known, encoders behind one interface."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch

from reganie_core import networks, portraits
from reganie_core.checkpoints import save_checkpoint
from reganie_core.errors import CorruptCheckpointError, InputError, MismatchError, NotFoundError, ReganieWarning
from reganie_core.networks.text_image import TextImageNet, TextImageNetConfig
from reganie_core.portraits import captions
from reganie_core.text import TextImageEncoder, WordEncoder, load_text_encoder, split_words, text_direction
from reganie_core.text.clip import CLIP_TEMPLATES, FILES, MEAN, STD, ClipEncoder, preprocess

WORDS = "a glasses light hair dark skin of old person portrait picture photo the face with"


@pytest.fixture(scope="module")
def encoder() -> WordEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = TextImageNet(TextImageNetConfig(16, (4, 8), WORDS, dim=6, hidden=12, text_width=16, text_heads=2))
    return WordEncoder(net.eval().requires_grad_(False))


# --- captions ---------------------------------------------------------------------------------------------------------


def test_captions_are_true_varied_and_repeatable():
    people = portraits.sample(400, 500_000_000)
    said = captions.captions(people, seed=3)
    values = {name: people.values[name] for name in captions.PARAMETERS}
    true = captions.matches(said, values)
    assert true.diagonal().all() and 0.1 < float(true.float().mean()) < 0.4
    assert len({c.text for c in said}) > 370 and captions.captions(people, seed=3) == said
    known = set(captions.vocabulary())
    assert all(set(split_words(c.text)) <= known for c in said)


def test_what_a_caption_says_is_what_it_is_checked_for():
    """Words against the attributes, spelled out here once more."""
    people = portraits.sample(3000, 500_010_000)
    value = {name: people.values[name] for name in captions.PARAMETERS}
    for i, caption in enumerate(captions.captions(people, seed=5)):
        words = split_words(caption.text)
        if "glasses" in words:
            assert bool(value["glasses"][i] > 0.5) == (not {"no", "without", "not"} & set(words)) or "beard" in words \
                or "smile" in words or "smiling" in words or "shaved" in words
        if "elderly" in words:
            assert value["age"][i] > 0.4
        if {"woman", "lady"} & set(words):
            assert value["beard"][i] < 0.1 and value["age"][i] > -0.5
        if "laughing" in words:
            assert value["smile"][i] > 0.6
        if "looking left" in caption.text:
            assert value["yaw"][i] < 0
        if "lit from the right" in caption.text:
            assert value["light_azimuth"][i] > 0


@pytest.mark.parametrize("text", ["a smiling old woman with glasses", "a man with a beard", "a child",
                                  "a person with long blond hair and dark skin, looking up"])
def test_what_people_type_is_in_the_vocabulary(text):
    assert set(split_words(text)) <= set(captions.vocabulary())


def test_prompts_use_known_words_and_real_attributes():
    names, known = {c.name for c in portraits.CONTROLS}, set(captions.vocabulary())
    assert len(captions.PROMPTS) == 20 and len({p.target for p in captions.PROMPTS}) == 20
    for prompt in captions.PROMPTS:
        assert set(prompt.moves) | set(prompt.also) <= names and set(split_words(prompt.target)) <= known
        # Portraits that the target's words describe differ from others in the intended way.
        assert set(prompt.moves.values()) <= {1, -1}


# --- the small encoder ------------------------------------------------------------------------------------------------


def test_words():
    assert split_words("Middle-aged,  with GLASSES!") == ["middle", "aged", "with", "glasses"]
    with pytest.raises(InputError, match="1001"):
        split_words("a" * 1001)
    with pytest.raises(InputError):
        split_words(3)  # type: ignore[arg-type]


def test_interface_and_unit_vectors(encoder):
    assert isinstance(encoder, TextImageEncoder)
    texts = encoder.encode_text(["old person", "a person with dark hair and light skin".replace("and ", "")])
    images = encoder.encode_image(torch.rand(3, 3, 32, 32) * 2 - 1)
    assert texts.shape == (2, 6) and images.shape == (3, 6)
    torch.testing.assert_close(torch.cat([texts, images]).norm(dim=1), torch.ones(5))


def test_order_of_words_matters_and_batches_equal_singles(encoder):
    texts = ["light hair dark skin", "dark hair light skin", "old"]
    together = encoder.encode_text(texts)
    assert float((together[0] - together[1]).norm()) > 1e-3
    torch.testing.assert_close(together, torch.cat([encoder.encode_text([t]) for t in texts]), rtol=1e-5, atol=1e-6)


def test_unknown_words_are_named_and_left_out(encoder):
    with pytest.warns(ReganieWarning, match=r"glases \(did you mean glasses\?\), zebra"):
        found = encoder.encode_text(["old glases person zebra"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(found, encoder.encode_text(["old person"]))
    assert encoder.unknown_words("an old zebra, zebra") == ["an", "zebra"]
    with pytest.warns(ReganieWarning, match="brille"):
        encoder.encode_text(["brille"])


def test_direction_between_texts(encoder):
    direction = text_direction(encoder, "an old person".replace("an ", ""), "a person")
    torch.testing.assert_close(direction.norm(), torch.tensor(1.0))
    torch.testing.assert_close(direction, -text_direction(encoder, "a person", "old person"))
    with pytest.raises(InputError, match="mean the same"):
        text_direction(encoder, "old", "old")
    with pytest.raises(InputError, match="empty"):
        text_direction(encoder, " ,", "old")
    with pytest.raises(InputError):
        encoder.encode_text("old")


def test_file_round_trip(tmp_path, encoder):
    path = tmp_path / "t.safetensors"
    save_checkpoint(path, "text_image", networks.describe(encoder.net), encoder.net.state_dict(), {})
    loaded = load_text_encoder(path)
    assert loaded.vocabulary == encoder.vocabulary and len(loaded.fingerprint) == 16
    assert torch.equal(loaded.encode_text(["old person"]), encoder.encode_text(["old person"]))
    with pytest.raises(MismatchError, match="16 px"):
        loaded.net.embed_images(torch.zeros(1, 3, 8, 8))
    for change in ({"vocabulary": "a a"}, {"vocabulary": ""}, {"text_heads": 3}, {"text_layers": 99}, {"dim": 0}):
        config = {**networks.describe(encoder.net), **change}
        save_checkpoint(path, "text_image", config, encoder.net.state_dict(), {})
        with pytest.raises(CorruptCheckpointError):
            load_text_encoder(path)


def test_words_beyond_the_longest_text_fall_off(encoder):
    long = ["old"] * 100
    assert encoder.net.numbers([long]).shape == (1, 41)
    assert encoder.encode_text([" ".join(long)]).isfinite().all()


# --- CLIP -------------------------------------------------------------------------------------------------------------


def test_clip_needs_its_files_by_name(tmp_path):
    with pytest.raises(NotFoundError, match="model.safetensors, vocab.json, merges.txt.*clip-vit-base-patch32"):
        load_text_encoder(tmp_path)
    for name in FILES[:2]:
        (tmp_path / name).write_text("{}")
    with pytest.raises(NotFoundError, match="lacks merges.txt of"):
        ClipEncoder(tmp_path)


def test_clip_without_transformers_or_with_broken_files(tmp_path, monkeypatch):
    for name in FILES:
        (tmp_path / name).write_text("{}")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(NotFoundError, match="transformers"):
        ClipEncoder(tmp_path)


def test_the_79_sentences():
    assert len(set(CLIP_TEMPLATES)) == 79 and all(t.count("{}") == 1 for t in CLIP_TEMPLATES)
    assert "a photo of many {}." not in CLIP_TEMPLATES and "itap of my {}." in CLIP_TEMPLATES


def test_clip_preprocessing():
    """Mean and deviation of the original, the centre of what is not square, antialiased bicubic."""
    white = preprocess(torch.ones(1, 3, 300, 300))
    expected = [(1 - m) / s for m, s in zip(MEAN, STD, strict=True)]
    np.testing.assert_allclose(white[0, :, 100, 100].numpy(), expected, rtol=1e-5)
    wide = torch.linspace(-1, 1, 896).expand(1, 3, 448, 896)
    row = preprocess(wide)[0, 0, 0] * STD[0] + MEAN[0]
    assert row.shape == (224,)
    np.testing.assert_allclose(row[[0, -1]].numpy(), [0.25, 0.75], atol=3e-3)
    checkers = torch.ones(1, 3, 448, 448)
    checkers[..., ::2, ::2] = -1
    checkers[..., 1::2, 1::2] = -1
    np.testing.assert_allclose((preprocess(checkers)[0, 0] * STD[0] + MEAN[0])[5:-5, 5:-5].numpy(), 0.5, atol=1e-3)


def test_a_clip_of_transformers(tmp_path):
    """A tiny CLIP in the files' layout: the encoder gives what the original model computes on the same tokens."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
             "projection_dim": 16}
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": 600, "bos_token_id": 598, "eos_token_id": 599},
        vision_config={**sizes, "image_size": 224, "patch_size": 32}, projection_dim=16)
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    words = [*letters, *(letter + "</w>" for letter in letters), "ol", "old</w>"]
    words += [f"<{n}>" for n in range(len(words), 598)] + ["<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\no l\nol d</w>\n")
    encoder = load_text_encoder(tmp_path)
    assert isinstance(encoder, TextImageEncoder) and encoder.dim == 16 and encoder.unknown_words("brille") == []
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    tokens = encoder.tokenizer(["an old woman"], return_tensors="pt")
    assert words.index("old</w>") in tokens["input_ids"][0]
    with torch.no_grad():
        expected = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], pixel_values=pixels)
    torch.testing.assert_close(encoder.encode_text(["an old woman"]), expected.text_embeds, rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder.encode_pixels(pixels), expected.image_embeds, rtol=0, atol=1e-5)
    assert encoder.encode_published(torch.zeros(1, 3, 64, 64)).shape == (1, 16)
