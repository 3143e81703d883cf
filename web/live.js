// Runs while a slider moves: never more than one at a time, and the last position always comes last.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

let wanted = false;
let busy = false;

export function requestRun() {
  wanted = true;
  pump();
}

async function pump() {
  if (busy || !wanted) return;
  wanted = false;
  busy = true;
  try {
    if ((await app.queuePrompt(0, 1)) === false) busy = false; // refused: the page shows why
  } catch {
    busy = false;
  }
}

function done() {
  busy = false;
  pump();
}

for (const event of ["execution_success", "execution_error", "execution_interrupted"]) api.addEventListener(event, done);
