"""A person's first minutes in a real ComfyUI, done by a browser and measured: one command.

    COMFYUI_PATH=<checkout> COMFYUI_PYTHON=<its interpreter> $COMFYUI_PYTHON tests/browser_edit.py

Opens the template quick_edit, chooses the editor, reads the sliders it shows, moves one several times and runs; then
saves the graph, opens it in a new page and looks at the same slider; then runs the graph's API form in a second
ComfyUI without a page. Prints what was seen and how long a slider move took: in the page, from queueing to the end of
the run as the page is told it (a Chromium that draws with the same processor shares it with ComfyUI), and without one.
Exit status 1 where something is not as it must be. See screenshots.py for what it needs.
"""

from __future__ import annotations

import asyncio
import io
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from PIL import Image
from screenshots import LOAD, RUN, Page, browser, comfyui, path_of, serve_until_ready, start

SLIDERS = """[...document.querySelectorAll('input[type=range][data-control]')].map(
  (range) => [range.dataset.control, Number(range.min), Number(range.max), Number(range.value)])"""
MOVE = """((name, value) => {{
  const range = document.querySelector(`input[type=range][data-control="${{name}}"]`);
  range.value = value;
  range.dispatchEvent(new Event('input', {{bubbles: true}}));
}})({name}, {value})"""
NODE = "app.graph._nodes.find((node) => node.type === 'DyStyleEdit')"
VALUES = f"Object.fromEntries({NODE}.widgets.map((widget) => [widget.name, widget.value]))"
CHOOSE = f"""((editor) => {{
  const widget = {NODE}.widgets.find((item) => item.name === 'editor_name');
  const options = widget.options.values;
  widget.value = editor;
  widget.callback?.(editor);
  return typeof options === 'function' ? options() : options;
}})('portraits (packaged)')"""
MOVES = (-15, 10, -8, 12, -12, 7, -5)


def portraits_graph(name: str = "quick_edit") -> str:
    """The page's graph with the drawn portraits in place of the photographs: their DyStyle has a loader of its own."""
    graph = path_of(name).read_text(encoding="utf-8")
    for faces, portraits in (("faces (packaged)", "portraits (packaged)"), ("woman.jpg", "hat.png"),
                             ("smile=+2.5", "yaw=+15")):
        graph = graph.replace(json.dumps(faces), json.dumps(portraits))
    return graph


async def run(page: Page) -> float:
    """Queue the page's graph and wait; seconds until the page knows of the end."""
    await page.run("window.shot.done = null")
    begin = time.perf_counter()
    await page.run(RUN)
    while not (done := await page.run("window.shot.done")):
        await asyncio.sleep(0.005)
    if done != "execution_success":
        raise RuntimeError(f"{done}: {await page.run('window.shot.error')}")
    return time.perf_counter() - begin


async def pictures(address: str) -> dict[str, np.ndarray]:
    """{node: its last picture} of the latest run."""
    async with aiohttp.ClientSession() as session:
        async with session.get(address + "/history") as answer:
            history = await answer.json()
        latest = max(history.values(), key=lambda item: item["prompt"][0])
        found = {}
        for node, output in latest["outputs"].items():
            for entry in output.get("images", []):
                query = {key: entry[key] for key in ("filename", "subfolder", "type")}
                async with session.get(address + "/view", params=query) as answer:
                    found[node] = np.asarray(Image.open(io.BytesIO(await answer.read())).convert("RGB"), dtype=np.int16)
        return found


async def headless(address: str, prompt: dict[str, Any]) -> float:
    """Run an API graph without a page; seconds."""
    begin = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        async with session.post(address + "/prompt", json={"prompt": prompt}) as answer:
            number = (await answer.json())["prompt_id"]
        while True:
            async with session.get(f"{address}/history/{number}") as answer:
                if (await answer.json()).get(number, {}).get("status", {}).get("completed"):
                    return time.perf_counter() - begin
            await asyncio.sleep(0.005)


def told(what: str, seconds: list[float]) -> str:
    """Median and range."""
    return (f"a slider move {what}, {len(seconds)} times: median {statistics.median(seconds):.2f} s, "
            f"from {min(seconds):.2f} to {max(seconds):.2f}")


def check(what: str, holds: bool) -> bool:
    """Print and pass on."""
    print(("yes  " if holds else "NO   ") + what, flush=True)
    return holds


async def in_the_page(page: Page, address: str) -> tuple[list[bool], dict[str, Any], dict[str, np.ndarray]]:
    """What a person does; whether all held, the graph in API form and its pictures."""
    graph = portraits_graph()
    await start(page, address)
    await page.run(LOAD.format(graph=graph, name='"quick_edit"'))
    await page.until(f"({SLIDERS}).length > 0", 60, "the sliders")
    editors = await page.run(CHOOSE)
    names = [name for name, *_ in await page.run(SLIDERS)]
    held = [check(f"editors to choose: {', '.join(editors)}", "portraits (packaged)" in editors),
            check(f"sliders: {', '.join(names)}", {"yaw", "smile", "age"} <= set(names))]
    print(f"first run, networks loaded and picture inverted: {await run(page):.2f} s")
    before = await pictures(address)
    seconds = []
    for value in MOVES:
        await page.run(MOVE.format(name='"yaw"', value=value))
        seconds.append(await run(page))
    after = await pictures(address)
    print(told("in the page", seconds))
    edits = (await page.run(VALUES))["edits"]
    moved = max(float(np.abs(after[node] - before[node]).mean()) for node in after)
    held += [check(f"the node's text after the last move: {edits}", edits == f"yaw={MOVES[-1]:+d}"),
             check(f"the picture changed, by {moved:.1f} of 255 on average", moved > 1)]
    saved = await page.run("app.graph.serialize()")
    prompt = (await page.run("app.graphToPrompt()"))["output"]
    await start(page, address)
    await page.run(LOAD.format(graph=json.dumps(saved), name='"saved"'))
    await page.until(f"({SLIDERS}).length > 0", 60, "the sliders of the saved graph")
    shown = {name: value for name, _, _, value in await page.run(SLIDERS)}
    held.append(check(f"saved and opened again: {(await page.run(VALUES))['edits']}, slider at {shown['yaw']:g}",
                      (await page.run(VALUES))["edits"] == edits and shown["yaw"] == MOVES[-1]))
    held.append(check(f"errors of the page: {page.errors or 'none'}", not page.errors))
    return held, prompt, after


async def main() -> int:
    """See the module."""
    with tempfile.TemporaryDirectory() as folder:
        with comfyui(Path(folder) / "one") as (address, process):
            await serve_until_ready(address, process, Path(folder) / "one" / "log.txt")
            async with browser(Path(folder) / "browser") as page:
                held, prompt, seen = await in_the_page(page, address)
        with comfyui(Path(folder) / "two") as (address, process):
            await serve_until_ready(address, process, Path(folder) / "two" / "log.txt")
            await headless(address, prompt)
            alone, seconds = await pictures(address), []
            editor = next(node["inputs"] for node in prompt.values() if node["class_type"] == "DyStyleEdit")
            for value in MOVES:
                editor["edits"] = f"yaw={value:+d}"
                seconds.append(await headless(address, prompt))
    worst = max(int(np.abs(alone[node] - seen[node]).max()) for node in seen)
    held.append(check(f"the API form without a page gives the same {len(seen)} pictures: largest difference {worst}",
                      alone.keys() == seen.keys() and worst == 0))
    held.append(check(told("without a page", seconds) + "; at most 0.5 s", statistics.median(seconds) <= 0.5))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
