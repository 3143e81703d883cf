"""Edits as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reganie_core.editing import Target, format_edits, parse_edits
from reganie_core.errors import InputError

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-]{0,20}", fullmatch=True)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
EDITS = st.dictionaries(NAMES, NUMBERS | NUMBERS.map(Target) | st.booleans(), max_size=6)


@given(EDITS, st.sampled_from([", ", "\n", " ", ",", " ; ", ",,\t"]))
def test_text_round_trip(edits, separator):
    text = format_edits(edits).replace(", ", separator)
    assert parse_edits(text) == edits
    assert [type(v) for v in parse_edits(text).values()] == [type(v) for v in edits.values()]


def test_the_documented_forms():
    assert parse_edits("age=+1") == {"age": 1.0}
    assert parse_edits("yaw=-15, smile=.5") == {"yaw": -15.0, "smile": 0.5}
    assert parse_edits("yaw=@-15") == {"yaw": Target(-15.0)}
    assert parse_edits("glasses=on\nhat=OFF") == {"glasses": True, "hat": False}
    assert parse_edits(" age = +1e-1 ,\n") == {"age": 0.1}
    assert parse_edits("") == {}


@pytest.mark.parametrize("text", [
    "age", "age=", "=1", "age=one", "age=+1 age=+2", "age=nan", "age=inf", "age=1e999", "age=@", "age=@@1", "age=1=2",
    "a b=1", "<b>=1", "age=0x1", "age=1_0", "x" * 65 + "=1", "age=" + "1" * 5000, None,
])
def test_refused(text):
    with pytest.raises(InputError):
        parse_edits(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        edits = parse_edits(text)
    except InputError:
        return
    assert parse_edits(format_edits(edits)) == edits
