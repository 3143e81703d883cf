"""The scripts of web/ run by node, with small stand-ins for the page."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.host_stubs import ROOT

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs node to run the page's scripts")
PAGE = """
const later = (ms) => new Promise((done) => setTimeout(done, ms));
class Element extends EventTarget {
  constructor(tag) {
    super();
    const own = { style: {}, dataset: {}, children: [], parent: null, isConnected: false };
    Object.assign(this, own, { tagName: tag.toUpperCase() });
  }
  append(...parts) { for (const part of parts) { this.children.push(part); part.parent = this; } }
  matches(selector) { return selector.split(", ").includes(this.tagName.toLowerCase()); }
  blur() { this.blurred = (this.blurred ?? 0) + 1; }
  replaceWith(other) { [this.isConnected, other.isConnected] = [false, true]; }
}
const page = { entries: 0, held: 0, toasts: [], listeners: {}, extensions: {}, answers: {} };
globalThis.window = new EventTarget();
globalThis.document = { createElement: (tag) => new Element(tag), head: new Element("head") };
globalThis.api = {
  addEventListener: (name, heard) => (page.listeners[name] ??= []).push(heard),
  apiURL: (path) => path,
  fetchApi: async (path) => ({ json: async () => page.answers[path.split("?")[0]] ?? {} }),
};
globalThis.app = {
  registerExtension: (given) => { page.extensions[given.name] = given; },
  canvas: {
    emitBeforeChange() { page.held += 1; },
    emitAfterChange() { page.held -= 1; if (!page.held) page.entries += 1; },
    setDirty() {},
  },
  nodeOutputs: {},
  extensionManager: {
    toast: { add: (message) => page.toasts.push(message) },
    setting: { get: () => page.locale ?? "en" },
  },
};
const emit = (name, detail) => (page.listeners[name] ?? []).forEach((heard) => heard({ detail }));
const pointer = (name, target = window) => target.dispatchEvent(new Event(name));
"""


def drive(folder: Path, script: str) -> Any:
    """What ``script`` leaves in ``found``; it sees PAGE's stand-ins and may import ./extensions/reganie/NAME.js."""
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "app.js").write_text("export const app = globalThis.app;\n")
    (folder / "scripts" / "api.js").write_text("export const api = globalThis.api;\n")
    shutil.copytree(ROOT / "web", folder / "extensions" / "reganie", ignore=shutil.ignore_patterns("docs"))
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "drive.js").write_text(f"{PAGE}\nlet found;\n{script}\nconsole.log(JSON.stringify(found));\n")
    done = subprocess.run([NODE, "drive.js"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
