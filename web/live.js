// Runs while a slider moves: never more than one at a time, and the last position always comes last.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { allNodes } from "./controls.js";
import { oneEntry, plain } from "./page.js";

let wanted = false;
let busy = false; // a run of ours is queued or computing
let submitting = false;
let ended = 0;

export function requestRun() {
  wanted = true;
  pump();
}

async function pump() {
  if (busy || !wanted) return;
  [wanted, busy, submitting] = [false, true, true];
  const before = ended;
  try {
    // What queuePrompt answers means different things in different pages, so the server is asked instead: a run that was
    // refused, and one that is over already, are not in its queue.
    await oneEntry(() => app.queuePrompt(0, 1)); // a run enters the graph into the history as it is
    const queue = await (await api.fetchApi("/queue")).json();
    busy = queue.queue_running.length + queue.queue_pending.length > 0 && ended === before;
  } catch {
    busy = false;
  }
  submitting = false;
  pump();
}

function done() {
  ended += 1;
  if (submitting) return;
  busy = false;
  pump();
}

for (const event of ["execution_success", "execution_error", "execution_interrupted"]) api.addEventListener(event, done);

// The one switch of a graph: "run while moving", which DyStyle Edit shows.
const isLive = () => allNodes(app.rootGraph ?? app.graph).some((node) => node.properties?.reganie_live);

// Other sliders follow it: the strength of Rectify, of one direction, of a text.
const SLIDERS = { Rectify: ["strength"], DirectionEdit: ["strength"], StyleCLIPEdit: ["strength", "threshold"], PasteFace: ["strength", "feather"] };

app.registerExtension({
  name: "reganie.live",
  nodeCreated(node) {
    for (const name of SLIDERS[plain(node.comfyClass)] ?? []) {
      const widget = node.widgets?.find((item) => item.name === name);
      if (!widget) continue;
      const before = widget.callback;
      widget.callback = function (...values) {
        const result = before?.apply(this, values);
        if (isLive()) requestRun();
        return result;
      };
    }
  },
});
