"""Undo, redo, tabs, keys, bypass, subgraphs, errors and drags in a real page, in both renderings: one command.

    COMFYUI_PATH=<checkout> COMFYUI_PYTHON=<python> $COMFYUI_PYTHON tests/browser_history.py [litegraph] [nodes2]

Everything is done with the mouse and the keyboard of a headless Chromium, on the template quick_edit. Prints what was
seen; exit status 1 where something is not as it must be. See screenshots.py for what it needs.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
from browser_edit import check, portraits_graph, run
from screenshots import FIT, LOAD, QUIET, Page, browser, comfyui, serve_until_ready, start

FIND = "(type, graph = app.canvas.graph) => graph._nodes.find((node) => node.type === type)"
EDITS = f"({FIND})('DyStyleEdit').widgets.find((widget) => widget.name === 'edits').value"
RANGE = """[...document.querySelectorAll('input[type=range][data-control="{0}"]')]"""
TRACKER = "app.extensionManager.workflow.activeWorkflow.changeTracker"
ENTRIES = f"{TRACKER}.undoQueue.length"
COMPARED = """[...document.querySelectorAll('.reganie-compare img')].filter((image) =>
  image.getBoundingClientRect().width > 0 && image.style.visibility !== 'hidden' && image.src).map((it) => it.src)"""
WRITE = "((widget, value) => {{ widget.value = value; widget.callback?.(value); }})(" + (
    EDITS.removesuffix(".value").replace("{", "{{").replace("}", "}}") + ", {value})")
TOASTS = "[...document.querySelectorAll('.p-toast-message')].map((toast) => toast.innerText).join()"
CTRL = 2


async def key(page: Page, name: str, code: int, modifiers: int = 0) -> None:
    """Press and let go."""
    letter = name.upper() if len(name) == 1 else name
    about = {"key": name, "code": f"Key{letter}" if len(name) == 1 else name, "windowsVirtualKeyCode": code,
             "modifiers": modifiers}
    held = {"key": "Control", "code": "ControlLeft", "windowsVirtualKeyCode": 17}
    if modifiers == CTRL:
        await page.call("Input.dispatchKeyEvent", type="rawKeyDown", modifiers=CTRL, **held)
    await page.call("Input.dispatchKeyEvent", type="rawKeyDown", **about)
    await page.call("Input.dispatchKeyEvent", type="keyUp", **about)
    if modifiers == CTRL:
        await page.call("Input.dispatchKeyEvent", type="keyUp", **held)
    await asyncio.sleep(1.5)


async def drag(page: Page, control: str, share: float, steps: int = 8, pause: float = 0.03) -> None:
    """Take a slider by its handle to a share of its width, as the mouse does."""
    box = await page.run(f"""(() => {{ const range = {RANGE.format(control)}[0], box = range.getBoundingClientRect();
      const now = (range.value - range.min) / (range.max - range.min);
      return [box.left, box.width, box.top + box.height / 2, now]; }})()""")
    left, width, y, now = box
    mouse: dict[str, Any] = {"y": y, "button": "left"}
    handle = left + 6 + now * (width - 12)
    await page.call("Input.dispatchMouseEvent", type="mouseMoved", x=handle, y=y)
    await page.call("Input.dispatchMouseEvent", type="mousePressed", x=handle, clickCount=1, buttons=1, **mouse)
    for step in range(1, steps + 1):
        x = handle + (left + 6 + share * (width - 12) - handle) * step / steps
        await page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, buttons=1, **mouse)
        await asyncio.sleep(pause)
    await page.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, clickCount=1, buttons=0, **mouse)
    await asyncio.sleep(0.5)


async def shown(page: Page, control: str = "yaw") -> list[float]:
    """What the sliders of that name on the page stand at."""
    return await page.run(f"{RANGE.format(control)}.map((range) => Number(range.value))")


async def agrees(page: Page, what: str, edits: str | None = None) -> list[bool]:
    """One live slider that stands where the node's text says."""
    await page.until(f"{RANGE.format('yaw')}.length > 0", 30, "a slider")
    text, found = await page.run(EDITS), await shown(page)
    named = dict(part.split("=") for part in text.replace(" ", "").split(",") if part)
    held = [check(f"{what}: one slider, at {found}, text {text!r}", found == [float(named.get("yaw", 0))])]
    return held if edits is None else [*held, check(f"{what}: the text is {text!r}, must be {edits!r}", text == edits)]


async def pictures(page: Page, what: str) -> list[bool]:
    """Before and After shows its pair."""
    for _ in range(20):
        found = await page.run(COMPARED)
        if len(found) == 2:
            break
        await asyncio.sleep(0.3)
    return [check(f"{what}: Before and After shows {len(found)} pictures", len(found) == 2)]


async def select(page: Page, kind: str) -> None:
    """As a click on its title does."""
    await page.run(f"(app.canvas.deselectAll?.(), app.canvas.select(({FIND})('{kind}')), app.canvas.canvas.focus(), 0)")
    await asyncio.sleep(0.3)


async def open_graph(page: Page, name: str = "quick_edit", title: str = "one") -> None:
    graph = portraits_graph(name)
    await page.run(LOAD.format(graph=graph, name=json.dumps(title)))
    await asyncio.sleep(1)
    await page.run(QUIET)
    await page.run(FIT)
    await asyncio.sleep(1)


async def history(page: Page) -> list[bool]:
    """Drag, undo, redo; Delete right after a slider."""
    held = await agrees(page, "opened", "yaw=+15")
    print(f"     first run: {await run(page):.1f} s")
    held += await pictures(page, "after the first run")
    before = await page.run(ENTRIES)
    await drag(page, "yaw", 0.2)
    moved = await page.run(EDITS)
    held += [check(f"a drag changes the text: {moved}", moved != "yaw=+15"),
             check("a drag is one entry of the history", await page.run(ENTRIES) == before + 1)]
    await key(page, "z", 90, CTRL)
    held += await agrees(page, "Ctrl+Z right after the drag", "yaw=+15") + await pictures(page, "after undo")
    await key(page, "y", 89, CTRL)
    held += await agrees(page, "redo", moved) + await pictures(page, "after redo")
    await key(page, "z", 90, CTRL)
    await drag(page, "smile", 0.8)
    held += await agrees(page, "a slider after undo")
    held.append(check("a slider after undo still works", "smile" in await page.run(EDITS)))
    old = await page.run(COMPARED)
    await run(page)
    await asyncio.sleep(1)
    held += await pictures(page, "a run after undo")
    held.append(check("they are new", await page.run(COMPARED) != old))
    await select(page, "DyStyleEdit")
    await drag(page, "yaw", 0.6)
    await key(page, "Delete", 46)
    held.append(check("Delete right after a slider deletes the node", not await page.run(f"!!({FIND})('DyStyleEdit')")))
    await key(page, "z", 90, CTRL)
    return held + await agrees(page, "the node is back")


async def live(page: Page, address: str) -> list[bool]:
    """Run while moving: many runs, one entry, the last position last."""
    await page.run("document.querySelector('.reganie-sliders input[type=checkbox]').click()")
    await asyncio.sleep(0.5)
    before = await page.run(ENTRIES)
    await drag(page, "yaw", 0.35, steps=25, pause=0.12)
    for _ in range(40):
        async with aiohttp.ClientSession() as session, session.get(address + "/history") as answer:
            runs = await answer.json()
        last = max(runs.values(), key=lambda item: item["prompt"][0])["prompt"][2]
        edits = next(node["inputs"]["edits"] for node in last.values() if node["class_type"] == "DyStyleEdit")
        if edits == await page.run(EDITS):
            break
        await asyncio.sleep(0.5)
    held = [check(f"while moving, the last of {len(runs)} runs is of {edits}", edits == await page.run(EDITS)),
            check(f"its drag is {await page.run(ENTRIES) - before} entry", await page.run(ENTRIES) == before + 1)]
    await page.run("document.querySelector('.reganie-sliders input[type=checkbox]').click()")
    return held + await pictures(page, "after moving")


async def tabs(page: Page) -> list[bool]:
    """To another graph and back."""
    held, text = [], await page.run(EDITS)
    await open_graph(page, "edit_sweep", "two")
    for title, kind in (("one", "DyStyleEdit"), ("two", "ReGANIE_EditSweep"), ("one", "DyStyleEdit")):
        x, y = await page.run(f"""(() => {{ const box = [...document.querySelectorAll('.workflow-tab')].find((tab) =>
          tab.innerText.trim().startsWith('{title}')).getBoundingClientRect();
          return [box.left + 20, box.top + box.height / 2]; }})()""")
        for kind_ in ("mousePressed", "mouseReleased"):
            await page.call("Input.dispatchMouseEvent", type=kind_, x=x, y=y, button="left", clickCount=1)
        await page.until(f"!!({FIND})('{kind}')", 30, f"the tab {title}")
        await asyncio.sleep(2)
    held += await agrees(page, "back from another tab", text) + await pictures(page, "back from another tab")
    await drag(page, "yaw", 0.7)
    return held + await agrees(page, "a slider back from another tab")


async def errors(page: Page) -> list[bool]:
    """What the node says is on the page: before the run, and from within it."""
    held, right = [], await page.run(EDITS)
    for text, words in (("yaw=fast", "Cannot read the value"), ("wings=+1", "no control 'wings'")):
        await page.run(WRITE.format(value=repr(text)))
        await page.run("window.shot.done = null; app.queuePrompt(0, 1).then(() => 0).catch(() => 0)")
        shown = ""
        for _ in range(40):
            shown = await page.run(TOASTS)
            if words in shown:
                break
            await asyncio.sleep(0.5)
        held.append(check(f"{text!r}: a message says {words!r}", words in shown))
        await page.run(QUIET)
    await page.run(WRITE.format(value=repr(right)))
    await page.run("document.querySelectorAll('.p-dialog-close-button').forEach((button) => button.click())")
    return held


async def bypass(page: Page) -> list[bool]:
    """Ctrl+B on the editor passes the picture without the edit on."""
    await select(page, "DyStyleEdit")
    await key(page, "b", 66, CTRL)
    prompt = (await page.run("app.graphToPrompt()"))["output"]
    origin = next(node for node in prompt.values() if node["class_type"] == "Rectify")["inputs"].get("edited")
    passed = bool(origin) and prompt[str(origin[0])]["class_type"] == "E4EInvert" and origin[1] == 1
    held = [check(f"bypassed, Rectify takes the inversion: {origin}", passed)]
    print(f"     run without the edit: {await run(page):.1f} s")
    await select(page, "DyStyleEdit")
    await key(page, "b", 66, CTRL)
    return held


async def subgraph(page: Page) -> list[bool]:
    """The editor and Rectify in a subgraph: its sliders know the loader outside."""
    await page.run(f"""(() => {{
      const find = {FIND}, editor = find('DyStyleEdit');
      const loader = LiteGraph.createNode('ReGANIE_LoadDyStyle');
      loader.pos = [editor.pos[0], editor.pos[1] - 160];
      app.canvas.graph.add(loader);
      loader.connect(0, editor, editor.inputs.findIndex((input) => input.name === 'editor'));
      const {{ subgraph }} = app.canvas.graph.convertToSubgraph(new Set([editor, find('Rectify')]));
      app.canvas.setGraph(subgraph);
    }})()""")
    await asyncio.sleep(2)
    await page.run(FIT)
    await asyncio.sleep(1.5)
    held = await agrees(page, "in a subgraph")
    await drag(page, "yaw", 0.3)
    held += await agrees(page, "a drag in a subgraph")
    print(f"     run with the subgraph: {await run(page):.1f} s")
    await page.run("app.canvas.setGraph(app.rootGraph ?? app.graph)")
    await asyncio.sleep(2)
    return held + await pictures(page, "out of the subgraph")


async def one(page: Page, address: str, nodes2: bool) -> list[bool]:
    """Everything, in one rendering."""
    print(f"== {'Nodes 2.0' if nodes2 else 'LiteGraph'}", flush=True)
    async with aiohttp.ClientSession() as session:
        await session.post(address + "/api/settings", json={"Comfy.VueNodes.Enabled": nodes2})
    page.errors.clear()
    await start(page, address)
    await open_graph(page)
    held = await history(page) + await live(page, address) + await tabs(page) + await bypass(page)
    held += await subgraph(page)
    await open_graph(page, title="three")
    held += await errors(page)
    return [*held, check(f"errors of the page: {page.errors or 'none'}", not page.errors)]


async def main() -> int:
    """See the module."""
    wanted = [name == "nodes2" for name in sys.argv[1:]] or [False, True]
    held = []
    with tempfile.TemporaryDirectory() as folder:
        with comfyui(Path(folder) / "one") as (address, process):
            await serve_until_ready(address, process, Path(folder) / "one" / "log.txt")
            for nodes2 in wanted:
                async with browser(Path(folder) / f"browser{nodes2}") as page:
                    try:
                        held += await one(page, address, nodes2)
                    except Exception:
                        if target := os.environ.get("SHOT"):  # what was seen when it went wrong
                            (await page.picture()).save(target)
                        raise
    print(f"{sum(held)} of {len(held)} hold")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
