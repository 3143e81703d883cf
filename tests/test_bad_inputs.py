"""The short form of the table of bad inputs: no picture of 8192 pixels, and the same demand on every row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests import bad_inputs

TABLE = Path(__file__).parents[1] / "docs" / "bad-inputs.md"


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


def test_every_node_is_in_the_written_table(world: bad_inputs.World) -> None:
    text = TABLE.read_text(encoding="utf-8")
    assert all(f"\n## {node}\n" in text for node in bad_inputs.all_nodes(world)), "run python -m tests.bad_inputs"
    assert ", 0 in anything else" in text and "8192x8192" in text


def test_an_untyped_error_is_reported(world: bad_inputs.World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("shape mismatch somewhere in torch")

    monkeypatch.setattr(world.nodes["Synthesize"], "synthesize", lambda self, **inputs: broken(**inputs))
    found = list(bad_inputs.rows(world, ["Synthesize"]))
    assert found and all("shape mismatch" in row.error for row in found)
    assert f"{len(found)} in anything else" in bad_inputs.markdown(found)
