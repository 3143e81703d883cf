"""Sampling, editing and attribute tables of the packaged domain's people."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
import torch

from reganie_core import portraits
from reganie_core.errors import InputError, MismatchError
from reganie_core.portraits.parameters import BINARY, NORMAL, UNIFORM, uniforms


def same(a: portraits.Portraits, b: portraits.Portraits) -> bool:
    return a.values.keys() == b.values.keys() and all(torch.equal(a.values[k], b.values[k]) for k in a.values)


@pytest.mark.parametrize("seed", [0, 41, 10**9, 2**63 - 2, 2**64 - 2, -3])
def test_row_i_is_the_person_of_seed_plus_i(seed: int) -> None:
    people = portraits.sample(5, seed)
    for i in range(5):
        assert same(people[i], portraits.sample(1, seed + i))


def test_hash_is_the_documented_one_and_keyed_by_name() -> None:
    """SplitMix64 written again with Python's integers."""
    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    golden = 0x9E3779B97F4A7C15
    for seed in (0, 5, 10**9):
        key = mix(zlib.crc32(b"yaw") * golden % 2**64)
        word = mix(mix((seed * golden + 0x632BE59BD9B4E019) % 2**64) ^ key)
        assert uniforms(np.array([seed], dtype=np.uint64), "yaw")[0] == ((word >> 11) + 0.5) / 2**53
    seeds = np.arange(1000, dtype=np.uint64)
    assert abs(np.corrcoef(uniforms(seeds, "yaw"), uniforms(seeds, "pitch"))[0, 1]) < 0.1


def test_distributions() -> None:
    n = 20000
    values = portraits.sample(n, 10**9).values
    for name, (low, high) in UNIFORM.items():
        v = values[name].double()
        assert v.min() >= low - 1e-6 and v.max() <= high + 1e-6, name
        assert abs(v.mean() - (low + high) / 2) < 5 * (high - low) / math.sqrt(12 * n), name
    for name, (deviation, limit) in NORMAL.items():
        v = values[name].double()
        assert v.abs().max() <= limit + 1e-6 and abs(v.mean()) < 5 * deviation / math.sqrt(n), name
        assert 0.85 * deviation < v.std() < 1.03 * deviation, name
    for name, p in BINARY.items():
        assert abs(values[name].double().mean() - p) < 5 * math.sqrt(p * (1 - p) / n), name
    assert 0.6 < (values["beard"] == 0).double().mean() < 0.8
    assert not (values["beard"][values["age"] < -0.4] > 0).any()
    names = [c.name for c in portraits.CONTROLS if c.name != "beard"]
    correlation = np.corrcoef(torch.stack([values[name] for name in names]).numpy()) - np.eye(len(names))
    assert np.abs(correlation).max() < 0.04


def test_items_and_style_change_nothing_else() -> None:
    plain = portraits.sample(50, 3)
    assert plain.items == () and plain.style == "default"
    dressed = portraits.sample(50, 3, items=portraits.ITEMS, style="toon")
    assert dressed.items == portraits.ITEMS and dressed.style == "toon"
    changed = {k for k in plain.values if not torch.equal(plain.values[k], dressed.values[k])}
    assert changed == {*portraits.ITEMS, "hair_length"}
    assert dressed.values["hair_length"].max() <= 0.45


@pytest.mark.parametrize("arguments, says", [
    ({"items": ("hut",)}, "hat, earrings"), ({"style": "oil"}, "toon"), ({"n": -1}, "-1"),
])
def test_wrong_requests_say_what_exists(arguments: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        portraits.sample(**{"n": 1, "seed": 0, **arguments})


def test_indexing_repeat_concat() -> None:
    people = portraits.sample(6, 9)
    assert len(people) == 6 and len(people[2:5]) == 3 and len(people[[0, 3]]) == 2
    assert same(people[-1], portraits.sample(1, 14)) and len(list(people)) == 6
    with pytest.raises(IndexError):
        people[6]
    assert same(portraits.concat([people[:2], people[2:]]), people)
    assert torch.equal(people[:2].repeat(3).values["yaw"], people.values["yaw"][[0, 0, 0, 1, 1, 1]])
    with pytest.raises(MismatchError):
        portraits.concat([people, portraits.sample(1, 0, style="toon")])
    with pytest.raises(InputError):
        portraits.concat([])


def test_edit_changes_only_its_attribute() -> None:
    people = portraits.sample(20, 11, items=("hat",))
    for control in portraits.CONTROLS:
        amount = 1.0 if control.kind == "binary" else 0.3 * (control.maximum - control.minimum)
        edited = portraits.edit(people, {control.name: amount})
        changed = {k for k in people.values if not torch.equal(people.values[k], edited.values[k])}
        assert changed == {control.name} and edited.items == ("hat",)
        values = portraits.attributes(edited)[control.name]
        expected = (people.values[control.name] + amount).clamp(control.minimum, control.maximum)
        assert torch.allclose(values, expected)


def test_edit_binary_tensor_and_clamp() -> None:
    people = portraits.sample(3, 0)
    assert portraits.edit(people, {"glasses": 1}).values["glasses"].tolist() == [1, 1, 1]
    assert portraits.edit(people, {"glasses": -1}).values["glasses"].tolist() == [0, 0, 0]
    turned = portraits.edit(people, {"yaw": torch.tensor([0.0, 5.0, -500.0])})
    difference = turned.values["yaw"] - people.values["yaw"]
    assert difference[0] == 0 and abs(difference[1] - 5) < 1e-5 and turned.values["yaw"][2] == -40


@pytest.mark.parametrize("changes, says", [
    ({"noes": 1.0}, "eye_openness"), ({"yaw": torch.zeros(4)}, r"\[4\]"), ({"yaw": float("nan")}, "finite"),
    ({"hat": 1.0}, "yaw, pitch"),
])
def test_edit_refuses(changes: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        portraits.edit(portraits.sample(3, 0), changes)


def test_controls_cover_the_samples() -> None:
    people = portraits.attributes(portraits.sample(2000, 0))
    assert list(people) == [c.name for c in portraits.CONTROLS]
    for control in portraits.CONTROLS:
        assert control.kind in ("numeric", "binary") and control.minimum <= control.default <= control.maximum
        assert people[control.name].min() >= control.minimum and people[control.name].max() <= control.maximum
