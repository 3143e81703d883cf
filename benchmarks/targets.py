"""Every target as a ratio of figures of one row (which were measured in turns), with what was seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .measure import median, per_round

Rows = dict[str, dict[str, Any]]
SIZES = (256, 512, 1024)
# Seconds on two free cores of the machine of the format notes (section 11), fp32, batch 1.
NVIDIA_SECONDS = {256: 0.478, 1024: 1.686}
PUBLIC_E4E_SECONDS = 2.962


class Checked:
    """One line of the list: what is asked for, what was seen, and whether that is enough (None: not measured)."""

    def __init__(self, text: str, seen: str = "not measured", met: bool | None = None) -> None:
        self.text, self.seen, self.met = text, seen, met

    @property
    def verdict(self) -> str:
        """In words."""
        return "not measured" if self.met is None else "met" if self.met else "**not met**"


def judge(text: str, value: float | None, limit: float, at_least: bool, show: str = "{:.2f}") -> Checked:
    """A figure against its limit."""
    if value is None:
        return Checked(text)
    return Checked(text, show.format(value), value >= limit if at_least else value <= limit)


def ratio(rows: Rows, row: str, over: str, under: str, clock: str) -> float | None:
    """Median over the rounds of one route's time by another's."""
    return per_round(rows[row], lambda a, b: a / b, over, under, clock=clock) if row in rows else None


def generators(rows: Rows, clock: str) -> list[Checked]:
    """Roof, public path, bfloat16."""
    found = []
    for size in SIZES:
        row = f"generator-{size}"
        for suffix in ("", " bfloat16"):
            found.append(judge(f"G {size}{suffix}: at least 60 % of its roof",
                               ratio(rows, row, f"roof{suffix}", f"ours{suffix}", clock), 0.6, True, "{:.0%}"))
    for size, wanted in ((256, (1.5, 2.5)), (1024, (2.0, 3.0))):
        row = f"generator-{size}"
        other = "public" if row in rows and "public" in rows[row]["routes"] else "textbook"
        name = "NVIDIA's reference ops, same run" if other == "public" else "the textbook path, same run"
        for route, times in zip(("ours", "ours bfloat16"), wanted, strict=True):
            found.append(judge(f"G {size}, {route.removeprefix('ours').strip() or 'float32'}: at least {times} x "
                               f"{name}", ratio(rows, row, other, route, clock), times, True, "{:.2f} x"))
            seconds = median(rows[row], route, "wall") if row in rows else None
            if seconds is not None and rows[row]["machine"]["threads"] == 2:
                found.append(judge(f"the same against the published {NVIDIA_SECONDS[size]} s",
                                   NVIDIA_SECONDS[size] / (seconds / 1e3), times, True, "{:.2f} x"))
    for size in SIZES:
        row = f"generator-{size}"
        found.append(judge(f"G {size}: bfloat16 at least 1.7 x float32",
                           ratio(rows, row, "ours", "ours bfloat16", clock), 1.7, True, "{:.2f} x"))
        value = rows.get(row, {}).get("figures", {}).get("psnr_bfloat16")
        found.append(judge(f"G {size}: PSNR of bfloat16 to float32 above 45 dB", value, 45, True, "{:.1f} dB"))
    for preset in "AB":
        value = rows.get(f"rectifier-{preset}", {}).get("figures", {}).get("psnr_bfloat16")
        found.append(judge(f"Rectifier {preset}: PSNR of bfloat16 to float32 above 45 dB", value, 45, True,
                           "{:.1f} dB"))
    return found


def edits(rows: Rows, clock: str) -> list[Checked]:
    """What an edit costs beside its parts."""
    found = []

    def line(row: str, text: str, limit: float, value: Callable[..., float], *routes: str) -> None:
        seen = per_round(rows[row], value, *routes, clock=clock) if row in rows else None
        dtype = rows[row]["routes"]["G"]["dtype"] if row in rows else "-"
        found.append(judge(f"{text} ({dtype})", seen, limit, False))

    for row in ("edit-float32", "edit"):
        line(row, "Edit: (E + 2G + R) / (E + 2G) at most 1.6", 1.6,
             lambda e, g, r: (e + 2 * g + r) / (e + 2 * g), "E", "G", "R")
        line(row, "Reconstruction: (E + G + R) / (E + G) at most 1.9", 1.9,
             lambda e, g, r: (e + g + r) / (e + g), "E", "G", "R")
        line(row, "Slider move / (editor + G + E_p + G_p) at most 1.1", 1.1,
             lambda s, a, g, p, d: s / (a + g + p + d), "slider", "editor", "G", "E_p", "G_p")
    line("edit-float32", "E + G + R / textbook encoder and generator alone at most 1", 1.0,
         lambda e, g, r, te, tg: (e + g + r) / (te + tg), "E", "G", "R", "textbook E", "textbook G")
    for row in ("edit-float32", "edit"):
        if row in rows and rows[row]["machine"]["threads"] == 2:
            parts = [median(rows[row], name, "wall") for name in "EGR"]
            found.append(judge(f"E + G + R / the published e4e's {PUBLIC_E4E_SECONDS} s at most 1 "
                               f"({rows[row]['routes']['G']['dtype']})", sum(parts) / 1e3 / PUBLIC_E4E_SECONDS, 1.0,
                               False))
    return found


def loading(rows: Rows) -> list[Checked]:
    """Memory of loading by the file's size."""
    found = []
    for route, what in (("ours", "e4e .pt of 1 GB"), ("our file", "the same as our safetensors")):
        entry = rows.get("load", {}).get("routes", {}).get(route, {})
        peak = entry.get("peak_mib")
        found.append(judge(f"Loading: {what}: memory at most 1.2 x its size",
                           None if peak is None else peak / entry["file_mib"], 1.2, False, "{:.2f} x"))
    row = rows.get("load-hyperstyle")
    for route, what in (("ours", "listed under every head"), ("copies", "saved again as copies")):
        peak = row["routes"][route].get("peak_mib") if row else None
        found.append(judge(f"HyperStyle, shared weights {what}: memory at most 1.5 x its tensors held once",
                           None if peak is None else peak / row["figures"]["unique_mib"], 1.5, False, "{:.2f} x"))
    return found


def batches(rows: Rows, clock: str) -> list[Checked]:
    """Eight pictures at once."""
    found = []
    for size in SIZES:
        row = f"generator-{size}-batch8"
        value = ratio(rows, row, "ours", "one", clock)
        found.append(judge(f"G {size}: time per image at batch 8 / batch 1 at most 1",
                           None if value is None else value / 8, 1.0, False))
        peaks = [rows[row]["routes"][name].get("peak_mib") for name in ("ours", "one")] if row in rows else [None]
        found.append(judge(f"G {size}: peak memory beyond the output at batch 8 / batch 1 about 1 (at most 1.25)",
                           None if None in peaks else peaks[0] / peaks[1], 1.25, False))
    value = ratio(rows, "e4e", "ours batch 8", "ours", clock)
    found.append(judge("e4e: time per image at batch 8 / batch 1 at most 1", None if value is None else value / 8, 1.0,
                       False))
    return found


def gpu(rows: Rows) -> list[Checked]:
    """What ``python -m benchmarks.gpu --json out/bench/gpu.json`` measured, where a GPU was at hand."""
    seen = rows.get("gpu", {}).get("rows", {})

    def get(part: str, key: str) -> float | None:
        return next((row[key] for name, row in seen.items() if name.startswith(part) and key in row), None)

    return [
        judge("GPU: whole edit at 512, warm, at most 40 ms eager", get("whole edit at 512, the library", "ms"), 40,
              False, "{:.1f} ms"),
        judge("GPU: the same as one CUDA graph at most 20 ms", get("whole edit at 512, one CUDA graph", "ms"), 20,
              False, "{:.1f} ms"),
        judge("GPU: G 1024, batch 16, bfloat16, at least 320 images/s",
              get("synthesis 1024, batch 16, bfloat16", "images_per_s"), 320, True, "{:.0f}"),
        judge("GPU: its PSNR to float32 above 40 dB", get("synthesis 1024, batch 16, bfloat16", "psnr"), 40, True,
              "{:.1f} dB"),
        judge("GPU: rectifier training at 512, batch 8, under 20 s/kimg", get("rectifier training", "s_per_kimg"), 20,
              False, "{:.1f}"),
        judge("GPU: peak memory of an edit under 2 GB", get("whole edit at 512, the library", "peak_gib"), 2, False,
              "{:.2f} GiB"),
    ]


def all_targets(rows: Rows, clock: str = "wall") -> list[Checked]:
    """Every line of the list."""
    return [*generators(rows, clock), *edits(rows, clock), *loading(rows), *batches(rows, clock), *gpu(rows)]
