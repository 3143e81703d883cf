"""Pictures of every template in a real ComfyUI, for docs/screenshots: one command makes them all again.

    COMFYUI_PATH=<checkout> COMFYUI_PYTHON=<its interpreter> $COMFYUI_PYTHON tests/screenshots.py [NAME ...]

Starts that ComfyUI with a copy of this pack (as git would publish it) in a temporary folder, opens every graph of
workflows/ in a headless Chromium (``CHROMIUM`` names another one), runs it to the end and takes its picture in both
renderings: ``NAME.jpg`` and, with ``--both``, ``NAME.nodes2.jpg``. Run it with ComfyUI's interpreter: it has the
packages needed here, aiohttp and pillow. ``COMFYUI_FRONTEND`` names the static folder of another frontend. Exit status
1 when a graph does not run or the page reports an error.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SIZE, WIDTH = (1920, 1080), 1400
READY = ("!!(window.app?.graph && app.canvas && app.extensionManager && window.LiteGraph && "
         "Object.keys(LiteGraph.registered_node_types).length > 100)")
LOAD = """(async (graph, name) => {{
  window.shot = {{done: null}};
  const api = app.api ?? window.comfyAPI.api.api;
  if (!window.shotListens) for (const kind of ['execution_success', 'execution_error', 'execution_interrupted'])
    api.addEventListener(kind, (event) => {{
      Object.assign(window.shot, {{done: kind, error: event.detail?.exception_message}});
    }});
  window.shotListens = true;
  await app.loadGraphData(graph, true, true, name);
}})({graph}, {name})"""
RUN = "app.queuePrompt(0, 1).then(() => 0)"
FIT = "app.extensionManager.command.execute('Comfy.Canvas.FitView').then(() => app.canvas.setDirty(true, true))"
ENTRY = "[...document.querySelectorAll('span')].find((item) => item.innerText.trim() === 'reganie')"
QUIET = "document.querySelectorAll('.p-toast-close-button').forEach((button) => button.click())"


NAMES = [path.stem for path in sorted((ROOT / "workflows" / "api").glob("*.json"))]


def path_of(name: str) -> Path:
    """The page's graph that belongs to an API graph: the file with the same nodes."""
    nodes = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))
    wanted = sorted(node["class_type"] for node in nodes.values())
    for path in sorted((ROOT / "workflows").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))["nodes"]
        if sorted(node["type"] for node in found if node["type"] != "MarkdownNote") == wanted:
            return path
    raise SystemExit(f"workflows/ has no graph for {name}.")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def ended(command: list[str], **options: Any) -> Iterator[subprocess.Popen]:
    """A process that does not outlive its block."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def publish(target: Path) -> None:
    """What git tracks, or would, copied to ``target``."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


@contextlib.contextmanager
def comfyui(base: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address and the process of a starting ComfyUI that has the pack."""
    publish(base / "custom_nodes" / "reganie")
    for name in ("models", "input", "output", "temp", "user/default"):
        (base / name).mkdir(parents=True, exist_ok=True)
    settings = {"Comfy.TutorialCompleted": True, "LiteGraph.Canvas.MinFontSizeForLOD": 0}  # small text is text, too
    (base / "user/default/comfy.settings.json").write_text(json.dumps(settings))
    port, python = free_port(), os.environ.get("COMFYUI_PYTHON", sys.executable)
    command = [python, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base),
               "--database-url", f"sqlite:///{base}/user/comfyui.db", "--disable-auto-launch", "--disable-api-nodes"]
    if frontend := os.environ.get("COMFYUI_FRONTEND"):
        command += ["--front-end-root", frontend]
    hidden = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    with open(base / "log.txt", "wb") as log, ended(command, cwd=os.environ["COMFYUI_PATH"], stdout=log,
                                                    env=environment) as process:
        yield f"http://127.0.0.1:{port}", process


class Page:
    """A tab of a headless Chromium, over its DevTools protocol."""

    def __init__(self, socket_: aiohttp.ClientWebSocketResponse) -> None:
        self.socket, self.number, self.errors = socket_, 0, []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command; what the page reports meanwhile is kept where it is an error."""
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while True:
            message = await self.socket.receive_json(timeout=120)
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message.get("result", {})
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(message["params"]["exceptionDetails"])[:400])

    async def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        found = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:600])
        return found["result"].get("value")

    async def until(self, script: str, seconds: float, what: str) -> None:
        """Wait for an expression to become true."""
        end = asyncio.get_running_loop().time() + seconds
        while not await self.run(script):
            if asyncio.get_running_loop().time() > end:
                raise RuntimeError(f"{what} did not happen within {seconds:.0f} s")
            await asyncio.sleep(0.3)

    async def picture(self) -> Image.Image:
        """What is seen."""
        data = (await self.call("Page.captureScreenshot", format="png"))["data"]
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


@contextlib.asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    """A page of a Chromium of its own."""
    names = (os.environ.get("CHROMIUM"), "chromium", "google-chrome", "chromium-browser")
    program = next((found for name in names if name and (found := shutil.which(name))), None)
    if program is None:
        raise SystemExit("No Chromium was found; install one, or name it in CHROMIUM.")
    port = free_port()
    command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio",
               "--no-first-run", f"--window-size={SIZE[0]},{SIZE[1]}", f"--remote-debugging-port={port}",
               "--remote-allow-origins=*", f"--user-data-dir={folder}", "about:blank"]
    with ended(command, stdout=subprocess.DEVNULL):
        async with aiohttp.ClientSession() as session:
            pages: list[dict[str, Any]] = []
            for _ in range(200):
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                        pages = [page for page in await answer.json() if page.get("type") == "page"]
                if pages:
                    break
                await asyncio.sleep(0.2)
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as connection:
                page = Page(connection)
                await page.call("Runtime.enable")
                await page.call("Emulation.setDeviceMetricsOverride", width=SIZE[0], height=SIZE[1],
                                deviceScaleFactor=1, mobile=False)
                yield page


async def serve_until_ready(address: str, process: subprocess.Popen, log: Path) -> None:
    """Wait until ComfyUI answers; its log is shown when it ends or does not."""
    async with aiohttp.ClientSession() as session:
        for _ in range(600):
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(address + "/system_stats"):
                    return
            if process.poll() is not None:
                break
            await asyncio.sleep(0.5)
    raise SystemExit("ComfyUI did not start:\n" + log.read_text(errors="replace")[-2000:])


async def start(page: Page, address: str) -> None:
    """The page anew."""
    await page.call("Page.navigate", url=address)
    await asyncio.sleep(1)
    await page.until(READY, 180, "the start of the page")
    await asyncio.sleep(1)


async def shoot(page: Page, address: str, path: Path, target: Path, nodes2: bool) -> None:
    """Open, run and picture one graph."""
    async with aiohttp.ClientSession() as session:
        await session.post(address + "/api/settings", json={"Comfy.VueNodes.Enabled": nodes2})
    await start(page, address)
    await page.run(LOAD.format(graph=path.read_text(encoding="utf-8"), name=json.dumps(path.stem)))
    await asyncio.sleep(1)
    await page.run(RUN)
    await page.until("window.shot.done", 900, f"the end of {path.stem}")
    state = await page.run("window.shot")
    if state["done"] != "execution_success":
        page.errors.append(f"{path.stem}: {state['done']}: {state.get('error')}")
    await asyncio.sleep(1.5)
    await page.run(QUIET)
    await page.run(FIT)
    await asyncio.sleep(1.5)
    save(await page.picture(), target)


async def shoot_first_steps(page: Page, address: str, folder: Path) -> None:
    """The two pictures of docs/walkthrough.md that are no graphs: the list of templates, and a help page."""
    await start(page, address)
    await page.run("app.extensionManager.command.execute('Comfy.BrowseTemplates').then(() => 0)")
    await page.until(f"!!({ENTRY})", 60, "the entry of the pack in the list of templates")
    await page.run(f"({ENTRY}).click()")
    await asyncio.sleep(4)
    save(await page.picture(), folder / "templates.jpg")
    await start(page, address)
    graph = path_of("quick_edit").read_text(encoding="utf-8")
    await page.run(LOAD.format(graph=graph, name='"quick_edit"'))
    await asyncio.sleep(1)
    await page.run(FIT)
    await page.run("app.canvas.selectNode(app.graph._nodes.find((node) => node.type === 'DyStyleEdit'), false)")
    await asyncio.sleep(1.5)
    await page.run("document.querySelector('[data-testid=info-button]')?.click() ?? "
                   "[...document.querySelectorAll('button')].find((b) => /lucide--info/.test(b.outerHTML))?.click()")
    await asyncio.sleep(3)
    save(await page.picture(), folder / "help.jpg")


def save(picture: Image.Image, path: Path) -> None:
    """Smaller, as JPEG."""
    height = round(picture.height * WIDTH / picture.width)
    picture.resize((WIDTH, height), Image.LANCZOS).save(path, quality=80, optimize=True)
    print(f"{path.name}: {path.stat().st_size // 1024} KiB", flush=True)


async def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="which graphs, or first_steps (default: all)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots")
    parser.add_argument("--both", action="store_true", help="also NAME.nodes2.jpg, in the newer rendering of nodes")
    options = parser.parse_args()
    if not os.environ.get("COMFYUI_PATH"):
        parser.error("set COMFYUI_PATH to a ComfyUI checkout and COMFYUI_PYTHON to its interpreter")
    options.out.mkdir(parents=True, exist_ok=True)
    graphs = {name: path_of(name) for name in NAMES if not options.names or name in options.names}
    with tempfile.TemporaryDirectory() as folder, comfyui(Path(folder)) as (address, process):
        await serve_until_ready(address, process, Path(folder) / "log.txt")
        async with browser(Path(folder) / "browser") as page:
            for name, path in graphs.items():
                for nodes2 in (False, True) if options.both else (False,):
                    target = options.out / f"{name}{'.nodes2' if nodes2 else ''}.jpg"
                    await shoot(page, address, path, target, nodes2)
            if not options.names or "first_steps" in options.names:
                await shoot_first_steps(page, address, options.out)
            for error in page.errors:
                print("PROBLEM", error)
            return 1 if page.errors else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
