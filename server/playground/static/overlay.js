// Draws a selection over its picture.

const FOCUS = "#d55e00";
const CONTEXT = "#56b4e9";
const DROPPED = "rgba(0, 0, 0, 0.72)";
const LONGEST = 672; // pixels along the picture's longer side
const GAP = 8; // between two views of it

// Where cell number `place` of `count` begins on a side of so many pixels.
export function edge(side, count, place) {
  return Math.floor((side * place) / count);
}

// The grids that the picture's tokens are, each a view of the whole of it, with the tokens that are its cells.
function views(selection) {
  if (selection?.pieces) return selection.pieces;
  const [height, width] = selection?.grid ?? [0, 0];
  return [{ grid: [height, width], tokens: [...Array(height * width).keys()] }];
}

// Pixels of the picture as it is drawn.
function sizeOf(picture) {
  const scale = LONGEST / Math.max(picture.width, picture.height);
  return { width: Math.max(1, Math.round(picture.width * scale)), height: Math.max(1, Math.round(picture.height * scale)) };
}

// Room for so many views beside one another.
function fit(canvas, { width, height }, count) {
  const whole = count * (width + GAP) - GAP;
  if (canvas.width !== whole) canvas.width = whole;
  if (canvas.height !== height) canvas.height = height;
}

// view: "kept", "saliency" or "relevance". selection: a picture of /v1/visual-tokens, or null.
export function draw(canvas, picture, selection, view) {
  const [size, shown] = [sizeOf(picture), views(selection)];
  fit(canvas, size, shown.length);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  for (const [place, one] of shown.entries()) {
    pen.setTransform(1, 0, 0, 1, place * (size.width + GAP), 0);
    pen.filter = view === "kept" || !selection ? "none" : "grayscale(1)";
    pen.drawImage(picture, 0, 0, size.width, size.height);
    pen.filter = "none";
    if (!selection) continue;
    if (view === "kept") frames(pen, size, one, selection);
    else heat(pen, size, one, selection[view]);
  }
}

// Nothing is shown, as of a picture that this browser cannot read.
export function clear(canvas) {
  canvas.width = canvas.height = LONGEST;
}

function* cells(size, { grid: [height, width], tokens }) {
  for (const [cell, token] of tokens.entries()) {
    const [column, row] = [cell % width, Math.floor(cell / width)];
    const [left, top] = [edge(size.width, width, column), edge(size.height, height, row)];
    const [right, bottom] = [edge(size.width, width, column + 1), edge(size.height, height, row + 1)];
    yield { token, left, top, width: right - left, height: bottom - top };
  }
}

function frames(pen, size, one, selection) {
  const kept = new Set(selection.kept);
  const focus = new Set(selection.focus ?? []);
  const all = kept.size === selection.grid[0] * selection.grid[1];
  for (const cell of cells(size, one)) {
    if (!kept.has(cell.token)) {
      pen.fillStyle = DROPPED;
      pen.fillRect(cell.left, cell.top, cell.width, cell.height);
    } else if (!all) {
      const thick = focus.has(cell.token) ? 3 : 2;
      pen.fillStyle = focus.has(cell.token) ? FOCUS : CONTEXT;
      pen.fillRect(cell.left, cell.top, cell.width, thick);
      pen.fillRect(cell.left, cell.top + cell.height - thick, cell.width, thick);
      pen.fillRect(cell.left, cell.top, thick, cell.height);
      pen.fillRect(cell.left + cell.width - thick, cell.top, thick, cell.height);
    }
  }
}

const COLOURS = [[0, 0, 4], [120, 28, 109], [237, 105, 37], [252, 255, 164]];

function heat(pen, size, one, values) {
  if (!values) return;
  for (const cell of cells(size, one)) {
    const place = Math.min(values[cell.token] * (COLOURS.length - 1), COLOURS.length - 1.001);
    const [low, high] = [COLOURS[Math.floor(place)], COLOURS[Math.floor(place) + 1]];
    const mixed = low.map((level, i) => Math.round(level + (high[i] - level) * (place % 1)));
    pen.fillStyle = `rgba(${mixed.join(", ")}, 0.75)`;
    pen.fillRect(cell.left, cell.top, cell.width, cell.height);
  }
}

// The token under a point of the canvas as it is shown: whole, in the middle of its box.
export function tokenAt(canvas, selection, event) {
  const box = canvas.getBoundingClientRect();
  const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
  const x = (event.clientX - box.left - (box.width - canvas.width * scale) / 2) / scale;
  const y = (event.clientY - box.top - (box.height - canvas.height * scale) / 2) / scale;
  const shown = views(selection);
  const side = (canvas.width + GAP) / shown.length;
  const one = shown[Math.floor(x / side)];
  if (!one) return null;
  const [height, width] = one.grid;
  const column = Math.floor(((x % side) / (side - GAP)) * width);
  const row = Math.floor((y / canvas.height) * height);
  return column < 0 || row < 0 || column >= width || row >= height ? null : one.tokens[row * width + column];
}

export function describe(selection) {
  const { original, retained, focus, gate, kept, skipped_reason: why } = selection;
  if (why) return `All ${kept.length} tokens are kept: ${why}.`;
  const parts = focus?.length ? `, ${focus.length} of them focus and ${kept.length - focus.length} context` : "";
  return `${retained} of ${original} tokens are kept${parts}. Gate: ${gate ?? "no question was looked at"}.`;
}

export function describeToken(selection, token) {
  const shown = views(selection);
  const view = shown.findIndex((one) => one.tokens.includes(token));
  const cell = shown[view].tokens.indexOf(token);
  const [, width] = shown[view].grid;
  const place = `${shown.length > 1 ? `view ${view + 1}, ` : ""}row ${Math.floor(cell / width)}, column ${cell % width}`;
  const role = !selection.kept.includes(token) ? "dropped" : selection.focus?.includes(token) ? "focus" : "context";
  const parts = [`token ${token} (${place}): `];
  parts.push(selection.focus ? role : selection.kept.includes(token) ? "kept" : "dropped");
  for (const name of ["saliency", "relevance"]) {
    if (selection[name]) parts.push(`, ${name} ${selection[name][token].toFixed(2)}`);
  }
  return parts.join("");
}
