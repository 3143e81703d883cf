"""Runs while a slider moves, in the page's own script against a small page: never two at once, the last one last."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.host_stubs import ROOT

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs node to run the page's script")
APP = "export const app = globalThis.app;\n"
API = "export const api = globalThis.api;\n"
DRIVER = """
const later = (ms) => new Promise((done) => setTimeout(done, ms));
const listeners = {}, posts = [], queue = { queue_running: [], queue_pending: [] };
let position = 0, most = 0, extension;
const emit = (name) => (listeners[name] ?? []).forEach((heard) => heard({}));
globalThis.api = {
  addEventListener: (name, heard) => (listeners[name] ??= []).push(heard),
  fetchApi: async () => ({ json: async () => structuredClone(queue) }),
};
globalThis.app = {
  registerExtension: (given) => { extension = given; },
  async queuePrompt() {
    posts.push(position);
    if (REFUSED) return false;
    queue.queue_running.push(position);
    most = Math.max(most, queue.queue_running.length);
    setTimeout(() => { queue.queue_running.shift(); emit(ENDING); }, RUN);
    await later(SUBMIT);  // the answer may come after the run is over
    return false;         // what current pages answer to a run that was taken
  },
};
globalThis.window = { addEventListener() {} };
const { requestRun } = await import("./extensions/reganie/live.js");
for (position = 1; position <= 30; position++) { requestRun(); await later(3); }
position = 30;
await later(RUN * 3 + SUBMIT * 3 + 60);
const widget = { name: "strength" }, node = { comfyClass: "Rectify", widgets: [widget], graph: { _nodes: [] } };
app.graph = node.graph;
extension.nodeCreated(node);
const before = posts.length;
widget.callback(1);
await later(30);
const still = posts.length;
node.graph._nodes.push({ properties: { reganie_live: true } });
widget.callback(1);
await later(30);
console.log(JSON.stringify({ posts: posts.slice(0, before), most, still: still - before, live: posts.length - still }));
"""


@pytest.mark.parametrize(("run", "submit"), [(20, 2), (5, 20), (30, 0)], ids=["usual", "slow answer", "long run"])
@pytest.mark.parametrize("ending", ["execution_success", "execution_error", "execution_interrupted"])
def test_runs_are_coalesced(tmp_path, run, submit, ending):
    found = _drive(tmp_path, run, submit, ending, refused=False)
    assert found["most"] == 1, "two runs at once"
    assert 2 <= len(found["posts"]) < 20 and found["posts"][-1] == 30
    assert found["still"] == 0 and found["live"] == 1


def test_a_refused_run_does_not_stop_the_next_ones(tmp_path):
    assert _drive(tmp_path, 20, 2, "execution_success", refused=True)["posts"][-1] == 30


def _drive(folder, run: int, submit: int, ending: str, refused: bool) -> dict:
    (folder / "scripts").mkdir()
    (folder / "scripts" / "app.js").write_text(APP)
    (folder / "scripts" / "api.js").write_text(API)
    (folder / "extensions" / "reganie").mkdir(parents=True)
    for name in ("live", "page", "controls"):
        shutil.copy(ROOT / "web" / f"{name}.js", folder / "extensions" / "reganie")
    (folder / "package.json").write_text('{"type": "module"}')
    values = f"const RUN = {run}, SUBMIT = {submit}, ENDING = '{ending}', REFUSED = {json.dumps(refused)};\n"
    (folder / "drive.js").write_text(values + DRIVER)
    done = subprocess.run([NODE, "drive.js"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
