"""The document: order, what is not met, the paper beside ours; and what tables are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.evaluation import document, stats, tables
from trainer.evaluation.experiments import ablation_order
from trainer.evaluation.memory import growth


def test_the_document_has_its_own_order_and_says_what_is_not_met(tmp_path: Path) -> None:
    about = {"count": 3, "validation": False, "command": "c", "seed": 1, "domain": "d", "commit": "f" * 40,
             "torch": "2", "machine": "m", "date": "today", "notes": []}
    row = {"response of yaw": {"mean": 1.0, "low": 0.5, "high": 1.5}}
    runs = {"b": {"response": [{"edit": {"yaw": 30.0}, "count": 3, "rows": {"X0": row}, "criteria": [
                stats.criterion("kept", 0.9, 0.95, False), stats.criterion("fine", 0.9, 1.0)]}]},
            "a": {"judges": {"rows": {"yaw": {"r": 0.98}}, "reported": ["yaw"], "dropped": [],
                             "criteria": [stats.criterion("yaw: r", 0.98, 0.97, False)]}}}
    for name, results in runs.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"about": about, **results}))
    text = document.compose([tmp_path / "b.json", tmp_path / "a.json"])
    assert text.index("## In short") < text.index("## judges") < text.index("## response")
    assert "| response | 3 | 1 of 2 | kept (0.9, at least 0.95) |" in text and "| judges | 3 | 1 of 1 | none |" in text
    assert "-12.18" in text and "0.048" not in text         # the paper's Table 2 stands beside ours, Table 1 does not


def test_an_ablation_asks_for_the_order_of_the_paper() -> None:
    def cells(value: float) -> dict[str, Any]:
        return {"all": {"mean": value}}

    edits = {"both": 1.0, "spatial only": 2.0, "global only": 1.5, "other": 9.0}
    found = {"reconstruction": {"rows": {n: {"L2": cells(v)} for n, v in edits.items()}},
             "editing": [{"rows": {n: {c: cells(k * v) for c in ("whole", "changed", "rest", "perceptual (judge)")}
                                   for n, v in edits.items()}} for k in (1, 3)]}
    order = ablation_order(found)
    assert order["rows"]["both"]["edits, whole"] == 2.0 and "other" in order["rows"]
    assert {c["name"]: (c["value"], c["met"]) for c in order["criteria"]} == {
        "edits, whole: both / spatial only": (0.5, True), "edits, perceptual (judge): both / spatial only": (0.5, True),
        "reconstruction, L2: both / spatial only": (0.5, True),
        "edits, whole: spatial only / global only": (pytest.approx(4 / 3), False),
        "edits, perceptual (judge): spatial only / global only": (pytest.approx(4 / 3), False)}


def test_memory_that_work_takes_is_seen() -> None:
    with growth("cpu") as grown:
        assert float(torch.ones(16 * 2**20).sum()) > 0      # 64 MiB
    assert 50 < grown.mib < 200


def test_paper_ratios() -> None:
    cell = {"mean": 0.2, "low": 0.1, "high": 0.3}
    text = document.beside_the_paper({"ratios": {"L2": {"all": cell}, "identity": {"all": cell}}})
    assert "| L2 (paper: L2) | 0.3333 | 0.2 [0.1, 0.3] |" in text
    assert "| identity (paper: identity, gap to 1) | 0.3846 |" in text


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
