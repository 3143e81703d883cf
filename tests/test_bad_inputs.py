"""The short form of the table of bad inputs: no picture of 8192 pixels, and the same demand on every row."""

from __future__ import annotations

from collections import Counter

import pytest

from tests import bad_inputs


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> bad_inputs.World:
    return bad_inputs.World(tmp_path_factory.mktemp("bad"))


def test_nothing_ends_in_anything_but_a_result_or_a_typed_sentence(world: bad_inputs.World) -> None:
    nodes = bad_inputs.all_nodes(world)
    found = list(bad_inputs.rows(world, nodes))
    wrong = [row for row in found if row.error]
    assert not wrong, "\n".join(f"{row.node}.{row.input}: {row.delivered}\n{row.error}" for row in wrong)
    assert {row.node for row in found if row.input == "-"} == set(nodes)
    # A table in which everything is refused, or everything works, was made of the wrong inputs.
    kinds = Counter(row.result.split(":")[0] for row in found)
    assert kinds["works"] > 150 and kinds["*InputError*"] > 150 and kinds["*MismatchError*"] > 30


def test_an_untyped_error_is_reported(world: bad_inputs.World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("shape mismatch somewhere in torch")

    monkeypatch.setattr(world.nodes["Synthesize"], "synthesize", lambda self, **inputs: broken(**inputs))
    found = list(bad_inputs.rows(world, ["Synthesize"]))
    assert found and all("shape mismatch" in row.error for row in found)
    assert f"{len(found)} in anything else" in bad_inputs.markdown(found)


def test_the_table_counts_what_is_refused_by_kind() -> None:
    found = [bad_inputs.Row("A", "-", "good", "works: a text"), bad_inputs.Row("A", "x", "bad", "*InputError*: No."),
             bad_inputs.Row("A by points", "x", "bad", "*InputError*: No."),
             bad_inputs.Row("B", "x", "bad", "**KeyError**", "Traceback")]
    text = bad_inputs.markdown(found)
    assert "4 cases: 1 work as documented, 2 end in one typed sentence, 1 in anything else." in text
    assert "| node | cases | works | InputError | anything else |" in text
    assert "| A | 3 | 1 | 2 |  |" in text and "| B | 1 |  |  | 1 |" in text and "| all | 4 | 1 | 2 | 1 |" in text
