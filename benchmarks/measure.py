"""Measure one row: all its routes in turns, so that a loaded machine slows all of them alike."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from reganie_core.networks.winograd import direct_only

from .memory import apart, route_peak
from .routes import Case, Route

SLOW = 15.0          # seconds: a call that takes longer is its own warm-up
CLOCKS = ("wall", "cpu")
OTHERS = ("textbook", "public")


def clocked(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of one call: on the wall, and of this process on all its threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def in_turns(routes: dict[str, Route], rounds: int, budget: float) -> dict[str, dict[str, list[float | None]]]:
    """Seconds per route and clock, one entry a round; None where a route had used up its budget of seconds.

    What is not ours gets a third of it: its figure is a yardstick, and it is the slowest.
    """
    taken: dict[str, dict[str, list[float | None]]] = {name: {c: [] for c in CLOCKS} for name in routes}
    for route in routes.values():
        if route.prepare is not None:
            route.prepare()
    first = {name: clocked(route.run) for name, route in routes.items()}
    spent = {name: pair[0] for name, pair in first.items()}
    for number in range(rounds):
        for name, route in routes.items():
            pair: tuple[float | None, float | None] = (None, None)
            allowed = budget / (3 if name.startswith(OTHERS) else 1)
            if number == 0 and first[name][0] > SLOW:
                pair = first[name]
            elif spent[name] < allowed or (number < 3 and first[name][0] <= SLOW):
                pair = clocked(route.run)
                spent[name] += pair[0]
            for clock, seconds in zip(CLOCKS, pair, strict=True):
                taken[name][clock].append(seconds)
    return taken


def flops(route: Route) -> float:
    """GFLOP of one call, convolutions computed the direct way (2 per multiply-add)."""
    counter = FlopCounterMode(display=False)
    with direct_only(), counter:
        route.run()
    return counter.get_total_flops() / 1e9


def check(name: str, case: Case) -> dict[str, float]:
    """Largest difference of routes that must agree, as a part of the largest value. Raises SystemExit."""
    found = {}
    for a, b, tolerance in case.agree:
        mine, other = case.routes[a].run().float(), case.routes[b].run().float()
        found[f"{a} - {b}"] = error = float((mine - other).abs().max() / other.abs().max())
        if not error <= tolerance:
            raise SystemExit(f"{name}: {a} and {b} differ by {error:.2e} of the largest value.")
    return found


def measure(name: str, case: Case, rounds: int, threads: int, budget: float, memory: bool) -> dict[str, Any]:
    """Everything about a row as plain values."""
    torch.set_num_threads(threads)
    differences = check(name, case)
    taken = in_turns(case.routes, rounds, budget)
    routes: dict[str, dict[str, Any]] = {}
    for label, route in case.routes.items():
        entry: dict[str, Any] = {"images": route.images, "dtype": route.dtype, **{
            f"{clock}_ms": [None if s is None else round(1e3 * s, 3) for s in taken[label][clock]] for clock in CLOCKS
        }}
        if route.gflop is not None or route.count:
            entry["gflop"] = route.gflop if route.gflop is not None else flops(route)
        if route.peak and memory:
            entry["peak_mib"] = apart(route_peak, name, label, threads=threads)
        routes[label] = entry
    row = {"row": name, "routes": routes, "differences": differences, "note": case.note}
    if case.figures is not None:
        row["figures"] = case.figures()
    return row


def median(row: dict[str, Any], route: str, clock: str = "wall") -> float | None:
    """Median ms of one call, None where the row has no such route."""
    values = [v for v in row["routes"].get(route, {}).get(f"{clock}_ms", ()) if v is not None]
    return statistics.median(values) if values else None


def per_round(row: dict[str, Any], value: Callable[..., float], *routes: str, clock: str = "wall") -> float | None:
    """Median over the rounds of ``value(ms of each route)``; the routes of one round met the same machine."""
    columns = [row["routes"].get(route, {}).get(f"{clock}_ms", ()) for route in routes]
    found = [value(*cells) for cells in zip(*columns, strict=False) if None not in cells]
    return statistics.median(found) if found else None


def say(text: str) -> None:
    """To the person who waits."""
    print(text, file=sys.stderr, flush=True)
