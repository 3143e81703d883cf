"""The document of results, and what tables are made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reganie_core.errors import CorruptCheckpointError, InputError, NotFoundError
from trainer.evaluation import document, stats, tables


def test_the_document_is_its_template_with_tables(tmp_path: Path) -> None:
    about = {"count": 3, "validation": False, "command": "evaluate.py doubt --json x/a.json --chunk 5 --count 3",
             "seed": 1, "commit": "f" * 40, "torch": "2", "machine": "m", "date": "today"}
    column = {"mean": 1.0, "low": 0.5, "high": 1.5}
    results = [{"edit": {"yaw": 30.0}, "count": 3, "columns": {"perceptual (judge)": column}}]
    (tmp_path / "a.json").write_text(json.dumps({"about": about, "doubt": results}))
    text = document.compose([tmp_path / "a.json"], "# Title\n\nWords.\n\n{{a.json}}\n")
    assert text.startswith(f"# Title\n\nWords.\n\n`evaluate.py doubt --count 3`; commit {'f' * 12}, torch 2, m, today.")
    assert "| perceptual distance |" in text and text.endswith("| yaw +30 | 1 [0.5, 1.5] |\n")
    with pytest.raises(InputError, match="b.json"):
        document.compose([tmp_path / "a.json"], "{{a.json}}\n\n{{b.json}}")
    with pytest.raises(InputError, match="no place for a.json"):
        document.compose([tmp_path / "a.json"], "nothing")
    with pytest.raises(NotFoundError, match="--json"):
        document.compose([tmp_path / "b.json"], "{{b.json}}")
    (tmp_path / "b.json").write_text("[]")
    with pytest.raises(CorruptCheckpointError):
        document.compose([tmp_path / "b.json"], "{{b.json}}")


def test_markdown_shows_intervals_and_gaps() -> None:
    cell = {"mean": 0.5, "low": 0.25, "high": 1.0}
    text = tables.markdown({"a": {"x": cell, "y": 2.0}, "b": {"x": float("nan")}}, "c")
    assert text.splitlines()[2:] == ["| a | 0.5 [0.25, 1] | 2 |", "| b | – |  |"]


def test_intervals_of_correlations() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=1500)
    y = 0.8 * x + 0.6 * random.normal(size=1500)
    low, high = stats.correlation_interval(x, y)
    r = stats.correlation(x, y)
    assert low < r < high
    z = np.arctanh(r) + np.array([-1, 1]) * 1.96 / np.sqrt(1500 - 3)          # Fisher's
    assert np.allclose([low, high], np.tanh(z), atol=0.01)
    assert np.isnan(stats.correlation_interval(x, np.ones(1500))[0])
