// A colour of its own for each kind of wire, in both renderings of nodes, whatever palette is chosen.
import { app } from "../../scripts/app.js";

const COLOURS = {
  REGANIE_GENERATOR: "#5b8def",
  REGANIE_ENCODER: "#8f6be8",
  REGANIE_DYSTYLE: "#e8884a",
  REGANIE_STYLECLIP: "#e05a8a",
  REGANIE_DIRECTIONS: "#e6b93c",
  REGANIE_RECTIFIER: "#36b38a",
  REGANIE_LATENT: "#d86fd8",
  REGANIE_DELTA: "#4fb8c9",
  REGANIE_FACE: "#a3c653",
};

// A palette that is loaded later writes an empty colour over every type that it does not know.
function keep(table) {
  if (!table) return;
  const own = { ...COLOURS, "REGANIE_DYSTYLE,REGANIE_DIRECTIONS": COLOURS.REGANIE_DYSTYLE };
  for (const [type, colour] of Object.entries(own)) {
    Object.defineProperty(table, type, { get: () => colour, set() {}, enumerable: true, configurable: true });
  }
}

app.registerExtension({
  name: "reganie.colours",
  setup() {
    const style = document.createElement("style");
    style.textContent = `:root { ${Object.entries(COLOURS).map(([type, colour]) => `--color-datatype-${type}: ${colour};`).join(" ")} }`;
    document.head.append(style);
    keep(app.canvas?.default_connection_color_byType);
    keep(app.canvas?.default_connection_color_byTypeOff);
    keep((globalThis.LGraphCanvas ?? app.canvas?.constructor)?.link_type_colors);
    app.canvas?.setDirty?.(true, true);
  },
});
