"""Metrics against closed forms and independent implementations in float64."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch
from torch import Tensor

from reganie_core.errors import InputError, MismatchError
from reganie_core.metrics import (
    equal_error_rate,
    frechet_distance,
    kernel_distance,
    ms_ssim,
    precision_recall,
    scales_for,
    ssim,
)


def pictures(size: int, count: int = 2) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(size)
    base = torch.nn.functional.interpolate(torch.rand(count, 3, 8, 8, generator=random), (size, size), mode="bicubic")
    noise = 0.3 * torch.randn(count, 3, size, size, generator=random)
    return (base * 2 - 1).clamp(-1, 1), (base * 1.7 - 0.8 + noise).clamp(-1, 1)


def reference_ms_ssim(a: np.ndarray, b: np.ndarray, scales: int) -> float:
    """Wang et al. 2003 on one channel, written with scipy in float64."""
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    weights = weights / weights.sum()

    def blur(x: np.ndarray) -> np.ndarray:  # truncate: a radius of exactly five pixels
        return scipy.ndimage.gaussian_filter(x, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

    value = 1.0
    for scale in range(scales):
        mx, my = blur(a), blur(b)
        vx, vy, cov = blur(a * a) - mx**2, blur(b * b) - my**2, blur(a * b) - mx * my
        c1, c2 = 0.02**2, 0.06**2
        cs = (2 * cov + c2) / (vx + vy + c2)
        full = cs * (2 * mx * my + c1) / (mx**2 + my**2 + c1)
        term = full.mean() if scale == scales - 1 else cs.mean()
        value *= max(term, 0.0) ** weights[scale]
        if scale < scales - 1:
            a, b = (x.reshape(x.shape[0] // 2, 2, -1, 2).mean((1, 3)) for x in (a, b))
    return value


@pytest.mark.parametrize("size", [32, 64, 176])
def test_ms_ssim_equals_an_independent_one(size: int) -> None:
    a, b = pictures(size)
    scales = {32: 2, 64: 3, 176: 5}[size]
    assert scales_for(size) == scales
    found = ms_ssim(a.double(), b.double())
    expected = [np.mean([reference_ms_ssim(x.numpy(), y.numpy(), scales) for x, y in zip(p, q, strict=True)])
                for p, q in zip(a.double(), b.double(), strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-10)
    assert ms_ssim(a, b).tolist() == pytest.approx(expected, abs=1e-4)
    assert 0.05 < expected[0] < 0.95
    assert torch.allclose(ms_ssim(a, a), torch.ones(2))


def test_ssim_of_constants_is_the_luminance_term() -> None:
    a, b = torch.full((1, 3, 16, 16), 0.5, dtype=torch.float64), torch.full((1, 3, 16, 16), -0.25, dtype=torch.float64)
    assert ssim(a, b).item() == pytest.approx((2 * 0.5 * -0.25 + 4e-4) / (0.25 + 0.0625 + 4e-4), rel=1e-9)


def test_similarity_refuses_what_it_cannot_compare() -> None:
    with pytest.raises(InputError, match="11"):
        ms_ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    with pytest.raises(InputError, match="1 to 2 scales"):
        ms_ssim(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32), scales=3)
    with pytest.raises(MismatchError):
        ms_ssim(torch.zeros(1, 3, 32, 32), torch.zeros(2, 3, 32, 32))


def test_kernel_distance_is_the_unbiased_estimate() -> None:
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(7, 3, generator=random, dtype=torch.float64), torch.randn(5, 3, generator=random).double() + 1

    def k(x: Tensor, y: Tensor) -> float:
        return float((x @ y / 3 + 1) ** 3)
    within_a = np.mean([k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    within_b = np.mean([k(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    across = np.mean([k(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(within_a + within_b - 2 * across, rel=1e-12)
    many = torch.randn(3, 2500, 4, generator=random)  # more than one block; one distribution
    assert abs(kernel_distance(many[0], many[1])) < 0.02 < kernel_distance(many[0], many[2] + 1)


def test_precision_and_recall_on_a_line() -> None:
    """Neighbours at distance 1: radius 2 for k = 2 at the ends, 1 inside."""
    real = torch.arange(10.0)[:, None]
    made = torch.tensor([[-1.5], [2.2], [2.3], [2.4], [30.0]])
    # 30 lies far outside; -1.5 is within the radius 2 of 0
    precision, recall = precision_recall(real, made, k=2)
    assert precision == pytest.approx(4 / 5)
    # radii of made (2nd neighbour): -1.5: 3.8, 2.2: 0.2, 2.3: 0.1, 2.4: 0.2, 30: 27.7 -> it covers 3 ... 9
    assert recall == pytest.approx(1.0)
    assert precision_recall(real, real, k=1) == (1.0, 1.0)
    with pytest.raises(InputError):
        precision_recall(real, made[:2], k=2)


def test_precision_and_recall_equal_a_brute_force() -> None:
    random = torch.Generator().manual_seed(1)
    real, made = torch.randn(40, 3, generator=random).double(), torch.randn(30, 3, generator=random).double() * 1.5

    def share(points: Tensor, centres: Tensor) -> float:
        inside = 0
        for p in points:
            inside += any(float((p - c).norm()) <= sorted(float((c - o).norm()) for o in centres)[3] for c in centres)
        return inside / len(points)
    assert precision_recall(real, made, 3) == (share(made, real), share(real, made))


def test_frechet_distance_equals_the_matrix_root() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(60, 4)), random.normal(size=(50, 4)) @ random.normal(size=(4, 4)) + 0.5
    ca, cb = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * scipy.linalg.sqrtm(ca @ cb).real)
    assert frechet_distance(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, rel=1e-9)


def test_equal_error_rate() -> None:
    assert equal_error_rate(torch.tensor([0.8, 0.9]), torch.tensor([0.1, 0.2]))[0] == 0.0
    assert equal_error_rate(torch.tensor([0.1, 0.2]), torch.tensor([0.8, 0.9]))[0] == 1.0
    rate, threshold = equal_error_rate(torch.tensor([0.4, 0.6, 0.7, 0.8]), torch.tensor([0.1, 0.2, 0.3, 0.5]))
    assert rate == 0.25 and 0.4 < threshold <= 0.6
    random = torch.Generator().manual_seed(0)  # two Gaussians two deviations apart: the error is Phi(-1)
    same, other = (torch.randn(20000, generator=random) + shift for shift in (2.0, 0.0))
    assert equal_error_rate(same, other)[0] == pytest.approx(0.1587, abs=0.004)
    with pytest.raises(InputError):
        equal_error_rate(torch.tensor([float("nan")]), torch.zeros(1))
