"""Distances between two sets of feature vectors: does a generator make what the data holds, and all of it?"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError, MismatchError

__all__ = ["frechet_distance", "kernel_distance", "precision_recall"]

BLOCK = 1000  # rows of a distance matrix at a time: memory stays flat as the sets grow


def _check(a: Tensor, b: Tensor, least: int) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise MismatchError(f"Two sets of features [N,D] and [M,D] are compared, found {list(a.shape)} and "
                            f"{list(b.shape)}.")
    if min(len(a), len(b)) < least:
        raise InputError(f"Each set needs at least {least} vectors, found {len(a)} and {len(b)}.")


def _kernel_sum(a: Tensor, b: Tensor, skip_diagonal: bool) -> float:
    total = 0.0
    for start in range(0, len(a), BLOCK):
        k = (a[start:start + BLOCK] @ b.T / a.shape[1] + 1).pow(3)
        if skip_diagonal:
            total -= float(k.diagonal(start).sum())
        total += float(k.sum())
    return total


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y/D + 1)^3 (KID; Binkowski et al., 2018).

    Args:
        a, b: features ``[N,D]`` and ``[M,D]``, at least two vectors each; computed in float64 over all pairs.

    Returns:
        0 in expectation for two samples of one distribution; single values may be slightly negative.
    """
    _check(a, b, 2)
    a, b = a.double(), b.double()
    n, m = len(a), len(b)
    within = _kernel_sum(a, a, True) / (n * (n - 1)) + _kernel_sum(b, b, True) / (m * (m - 1))
    return within - 2 * _kernel_sum(a, b, False) / (n * m)


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Frechet distance of the Gaussians fitted to two sets ``[N,D]``, ``[M,D]`` (the formula of FID), in float64.

    Needs clearly more vectors than dimensions; with features other than Inception's it is not FID.
    """
    _check(a, b, 2)
    a, b = a.double(), b.double()
    ca, cb = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(a.shape[1], -1)
    values, vectors = torch.linalg.eigh(ca)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    # tr sqrt(Ca Cb) = tr sqrt(Ca^1/2 Cb Ca^1/2), which is symmetric
    cross = torch.linalg.eigvalsh(root @ cb @ root).clamp_min(0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + ca.trace() + cb.trace() - 2 * cross)


def _radii(x: Tensor, k: int) -> Tensor:
    """Squared distance [N] of every vector to its k-th nearest other one."""
    out = []
    for start in range(0, len(x), BLOCK):
        d = _squared(x[start:start + BLOCK], x)
        rows = torch.arange(d.shape[0], device=d.device)
        d[rows, start + rows] = torch.inf
        out.append(d.kthvalue(k, dim=1).values)
    return torch.cat(out)


def _squared(a: Tensor, b: Tensor) -> Tensor:
    return (a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T).clamp_min(0)


def _covered(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    inside = [(_squared(points[start:start + BLOCK], centres) <= radii).any(1)
              for start in range(0, len(points), BLOCK)]
    return float(torch.cat(inside).double().mean())


def precision_recall(real: Tensor, made: Tensor, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al., 2019).

    Precision is the share of ``made`` that lies within the k-th neighbour radius of some ``real`` vector, recall the
    share of ``real`` within that of some ``made`` one.

    Args:
        real, made: features ``[N,D]`` and ``[M,D]``, more than ``k`` of each; computed in float64.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, found {k}.")
    _check(real, made, k + 1)
    real, made = real.double(), made.double()
    return _covered(made, real, _radii(real, k)), _covered(real, made, _radii(made, k))
