#!/usr/bin/env python3
"""Directions of a domain from photographs and a table of labels, in a minute.

    python trainer/label_directions.py --generator runs/mine/generator.safetensors \\
        --encoder runs/mine/encoder.safetensors --images photographs --labels labels.csv --out runs/mine

The table has a column `file` (names in the folder) and a column of numbers for each label; yes and no are 1 and 0.
The codes of the photographs are regressed on all standardised labels at once: w = w_0 + B a + noise. Column B_k is
how the code changes per standard deviation of label k while the others stay. Beside it the boundaries of InterFaceGAN
(Shen et al. 2020, equation 1 and the conditional projection of section 3.2) are fitted to the same codes; a fifth of
the photographs, which neither saw, says how purely each direction changes its own label.

OUT/directions.safetensors holds the better ones (--method to choose); OUT/directions.json the comparison.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Replace, not add: the modules of trainer/ must not shadow anything.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from reganie_core.checkpoints import load_encoder, load_generator, save_checkpoint  # noqa: E402
from reganie_core.errors import InputError, ReganieError  # noqa: E402
from reganie_core.pipeline import prepare  # noqa: E402

METHODS = ("regression", "interfacegan")
HELD_OUT = 5        # every fifth photograph
RIDGE = 1e-3        # of the regression, in variances of a label
PENALTY = 0.1       # of the boundaries: with fewer pictures than numbers in a code any two halves can be separated
LIMIT = 6.0         # standard deviations that a slider reaches


def read_labels(path: Path, folder: Path) -> tuple[list[Path], list[str], Tensor]:
    """(pictures, label names, labels ``[N,L]`` float64) of the rows whose picture is in the folder.

    Raises:
        InputError: no such columns, a value that is no number, fewer than 20 pictures, a label that never changes.
    """
    with path.open(newline="", encoding="utf-8-sig") as handle:
        rows = list(csv.DictReader(handle))
    names = [name for name in (rows[0] if rows else {}) if name and name != "file"]
    if not rows or "file" not in rows[0] or not names:
        raise InputError(f"{path} needs a column 'file' and one of numbers for each label; found the columns "
                         f"{', '.join(map(str, rows[0] if rows else ()))[:200] or 'none'}.")
    present = [row for row in rows if row["file"] and (folder / row["file"]).is_file()]
    if len(present) < 20:
        raise InputError(f"{len(present)} of the {len(rows)} pictures in {path} are in {folder}; at least 20 are "
                         "needed.")
    try:
        labels = torch.tensor([[float(row[name]) for name in names] for row in present], dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} holds a label that is no number: {error}. Write yes as 1 and no as 0.") from error
    flat = [name for name, spread in zip(names, labels.std(0), strict=True) if not spread > 0]
    if flat or not labels.isfinite().all():
        raise InputError(f"{path}: {', '.join(flat) or 'a label'} is the same for all pictures, or not finite.")
    return [folder / row["file"] for row in present], names, labels


@torch.inference_mode()
def codes_of(encoder: nn.Module, pictures: list[Path], batch: int = 50) -> Tensor:
    """Codes ``[N,num_ws,w_dim]`` of picture files."""
    device, found = next(encoder.parameters()).device, []
    for start in range(0, len(pictures), batch):
        images = [prepare(str(p), encoder.input_resolution, fit="crop") for p in pictures[start:start + batch]]
        found.append(encoder(torch.cat(images).to(device)).cpu())
    return torch.cat(found)


def regression(codes: Tensor, labels: Tensor) -> Tensor:
    """``[L,D]``: how codes ``[N,D]`` change per unit of each standardised label ``[N,L]``, the others held."""
    x, y = labels - labels.mean(0), codes.double() - codes.double().mean(0)
    cov = x.t() @ x / len(x)
    return torch.linalg.solve(cov + RIDGE * torch.eye(len(cov), dtype=torch.float64), x.t() @ y / len(x))


def boundaries(codes: Tensor, labels: Tensor) -> Tensor:
    """``[L,D]``: normals of linear boundaries between the upper and lower halves, others projected out, scaled so
    that one unit moves the codes' projection as one standard deviation of the label does."""
    y = codes.double() - codes.double().mean(0)
    scale = y.square().mean().sqrt()
    weights = torch.zeros(labels.shape[1], y.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(labels.shape[1], dtype=torch.float64, requires_grad=True)
    target = (labels > labels.median(0).values).double()
    steps = torch.optim.LBFGS([weights, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        steps.zero_grad()
        value = nn.functional.binary_cross_entropy_with_logits(y / scale @ weights.t() + bias, target)
        value = value + PENALTY * weights.square().sum(1).mean()
        value.backward()
        return value

    steps.step(loss)
    normals = nn.functional.normalize(weights.detach(), dim=1)
    out = []
    for k in range(len(normals)):           # the part of n_k that no other boundary's normal holds
        others = torch.linalg.qr(normals[[i for i in range(len(normals)) if i != k]].t())[0]
        own = normals[k] - others @ (others.t() @ normals[k])
        own = own / own.norm()
        slope = regression((y @ own)[:, None], labels)[k, 0]
        out.append(own * slope)
    return torch.stack(out)


def purity(directions: Tensor, codes: Tensor, labels: Tensor) -> Tensor:
    """``[L]``: the share of its change that a direction makes in its own label, read by least squares from held-out
    codes: |own| / sum of |all|, each in standard deviations."""
    y = codes.double() - codes.double().mean(0)
    inner = y @ y.t()
    ridge = 0.05 * inner.diagonal().mean() * torch.eye(len(y), dtype=torch.float64)
    reader = y.t() @ torch.linalg.solve(inner + ridge, labels - labels.mean(0))
    change = (directions @ reader).abs()
    return change.diagonal() / change.sum(1).clamp_min(1e-12)


def fit(codes: Tensor, labels: Tensor, names: list[str], method: str = "") -> tuple[dict[str, Tensor], dict]:
    """Directions ``{name: [num_ws,w_dim]}`` per standard deviation of the label, and the comparison.

    Args:
        codes: ``[N,num_ws,w_dim]``.
        labels: ``[N,L]``.
        method: one of ``METHODS``; empty: the one that is purer on held-out pictures, on average.
    """
    shape = codes.shape[1:]
    flat, standard = codes.flatten(1), (labels - labels.mean(0)) / labels.std(0)
    held = torch.arange(len(flat)) % HELD_OUT == 0
    report: dict = {"pictures": len(flat), "labels": names}
    for name, make in zip(METHODS, (regression, boundaries), strict=True):
        report[name] = dict(zip(names, purity(make(flat[~held], standard[~held]), flat[held], standard[held]).tolist(),
                                strict=True))
    best = max(METHODS, key=lambda m: sum(report[m].values()))
    report["method"] = method or best
    found = {"regression": regression, "interfacegan": boundaries}[report["method"]](flat, standard)
    return {name: row.view(shape).float() for name, row in zip(names, found, strict=True)}, report


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python trainer/label_directions.py", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--generator", required=True, metavar="FILE")
    p.add_argument("--encoder", required=True, metavar="FILE")
    p.add_argument("--images", required=True, metavar="FOLDER")
    p.add_argument("--labels", required=True, metavar="CSV")
    p.add_argument("--out", required=True, metavar="FOLDER")
    p.add_argument("--method", choices=METHODS, default="", help="default: the one that is purer on held-out pictures")
    p.add_argument("--device", default="cpu")
    args = p.parse_args(argv)
    try:
        generator, encoder = load_generator(args.generator, args.device), load_encoder(args.encoder, args.device)
        pictures, names, labels = read_labels(Path(args.labels), Path(args.images))
        directions, report = fit(codes_of(encoder, pictures), labels, names, args.method)
        out = Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        spread = labels.std(0).tolist()
        controls = [{"name": n, "kind": "numeric", "unit": "SD", "default": 0.0, "minimum": -LIMIT,
                     "maximum": LIMIT, "description": f"{n}; one unit is {s:.3g} of the labels' own"}
                    for n, s in zip(names, spread, strict=True)]
        save_checkpoint(out / "directions.safetensors", "directions", {"controls": controls, "space": "w+"},
                        {f"direction.{n}": d for n, d in directions.items()},
                        {"stage": "label_directions", **report, "fingerprints": {"generator": generator.fingerprint}})
        (out / "directions.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    except (ReganieError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(f"{n}: own share {report['regression'][n]:.2f} by regression, {report['interfacegan'][n]:.2f} by "
                    "InterFaceGAN" for n in names))
    print(f"{out / 'directions.safetensors'}: {report['method']}, {report['pictures']} pictures")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
