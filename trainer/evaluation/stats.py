"""From one number per picture to a mean with its uncertainty."""

from __future__ import annotations

import numpy as np

RESAMPLES = 1000
Cell = dict[str, float]


def _weights(count: int, seed: int = 0) -> np.ndarray:
    """[1 + RESAMPLES, count]: the sample itself, then how often each bootstrap resample draws every picture."""
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return np.concatenate([np.ones((1, count)), draws])


def _means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means [resamples]; values that are not finite (an empty region) count for nothing."""
    finite = np.isfinite(values)
    total = weights @ finite.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return weights @ np.where(finite, values, 0.0).astype(np.float64) / total


def _cell(estimates: np.ndarray) -> Cell:
    spread = estimates[1:][np.isfinite(estimates[1:])]
    low, high = np.percentile(spread, [2.5, 97.5]) if len(spread) else (np.nan, np.nan)
    return {"mean": float(estimates[0]), "low": float(low), "high": float(high)}


def mean(values: np.ndarray) -> Cell:
    """Mean with a 95 % bootstrap interval (percentiles of 1000 resamples of the pictures, seed 0)."""
    return _cell(_means(values, _weights(len(values))))


def ratio(above: np.ndarray, below: np.ndarray) -> Cell:
    """mean(above) / mean(below) over the same pictures, resampled together."""
    weights = _weights(len(above))
    with np.errstate(divide="ignore", invalid="ignore"):
        return _cell(_means(above, weights) / _means(below, weights))


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's r; NaN when one of them is constant."""
    x, y = x.astype(np.float64) - x.mean(dtype=np.float64), y.astype(np.float64) - y.mean(dtype=np.float64)
    scale = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / scale) if scale > 0 else float("nan")


def correlation_interval(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of :func:`correlation`, from the same resamples as every mean."""
    x, y = x.astype(np.float64) - x.mean(dtype=np.float64), y.astype(np.float64) - y.mean(dtype=np.float64)
    weights = _weights(len(x))[1:] / len(x)
    mx, my, xx, yy, xy = (weights @ v for v in (x, y, x * x, y * y, x * y))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = (xy - mx * my) / np.sqrt((xx - mx * mx) * (yy - my * my))
    r = r[np.isfinite(r)]
    return tuple(np.percentile(r, [2.5, 97.5]).tolist()) if len(r) else (float("nan"),) * 2


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Least-squares slope of y against x."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    spread = ((x - x.mean()) ** 2).sum()
    return float(((x - x.mean()) * (y - y.mean())).sum() / spread) if spread > 0 else float("nan")
