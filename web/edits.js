// The text form of edits, as the server reads it: "yaw=+10, age=@-0.5, glasses=on".
const NAME = /^[\p{L}\p{N}_][\p{L}\p{N}_.\-]{0,63}$/u;
const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/;

// Map of name -> {mode: "change" | "absolute" | "switch", value}, or null for a text that is no list of edits.
export function parseEdits(text) {
  const edits = new Map();
  for (const item of String(text ?? "").replace(/\s*=\s*/g, "=").split(/[\s,;]+/)) {
    if (!item) continue;
    const [name, ...rest] = item.split("=");
    const value = rest.join("=");
    if (!rest.length || !NAME.test(name) || edits.has(name)) return null;
    if (/^(on|off)$/i.test(value)) {
      edits.set(name, { mode: "switch", value: value.toLowerCase() === "on" });
      continue;
    }
    const absolute = value.startsWith("@");
    const digits = absolute ? value.slice(1) : value;
    if (!NUMBER.test(digits) || !Number.isFinite(Number(digits))) return null;
    edits.set(name, { mode: absolute ? "absolute" : "change", value: Number(digits) });
  }
  return edits;
}

const short = (value) => String(Number(value.toFixed(6)));

export function formatEdits(edits) {
  return [...edits].map(([name, { mode, value }]) => {
    if (mode === "switch") return `${name}=${value ? "on" : "off"}`;
    if (mode === "absolute") return `${name}=@${short(value)}`;
    return `${name}=${value >= 0 ? "+" : ""}${short(value)}`;
  }).join(", ");
}

// Ends and step of a control's slider: its range for an absolute value, as far either way for a change.
export function sliderOf(control, absolute) {
  const span = control.maximum - control.minimum;
  const around = control.minimum < 0 && control.maximum > 0;
  const step = 10 ** Math.floor(Math.log10(span / 100) + 1e-9);
  if (absolute || around) return { min: control.minimum, max: control.maximum, step };
  return { min: -span, max: span, step };
}

// A change that shows without breaking: half of the way from the middle of the range to its end; on for what is on or off.
export function clearChange(control) {
  if (control.kind === "binary") return 1;
  const most = control.maximum > 0 ? control.maximum : (control.maximum - control.minimum) / 2;
  return Number((most / 2).toPrecision(3));
}
