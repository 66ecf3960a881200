// Draws a selection over its picture.

const FOCUS = "#d55e00";
const CONTEXT = "#56b4e9";
const DROPPED = "rgba(0, 0, 0, 0.72)";
const LONGEST = 672; // pixels of the canvas along the picture's longer side

// Where cell number `place` of `count` begins on a side of so many pixels.
export function edge(side, count, place) {
  return Math.floor((side * place) / count);
}

export function fit(canvas, picture) {
  const scale = LONGEST / Math.max(picture.width, picture.height);
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
}

// view: "kept", "saliency" or "relevance". selection: a picture of /v1/visual-tokens, or null.
export function draw(canvas, picture, selection, view) {
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.filter = view === "kept" || !selection ? "none" : "grayscale(1)";
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  pen.filter = "none";
  if (!selection) return;
  if (view === "kept") frames(pen, canvas, selection);
  else heat(pen, canvas, selection.grid, selection[view]);
}

function* cells(canvas, [height, width]) {
  for (let token = 0; token < height * width; token++) {
    const [column, row] = [token % width, Math.floor(token / width)];
    const [left, top] = [edge(canvas.width, width, column), edge(canvas.height, height, row)];
    const [right, bottom] = [edge(canvas.width, width, column + 1), edge(canvas.height, height, row + 1)];
    yield { token, left, top, width: right - left, height: bottom - top };
  }
}

function frames(pen, canvas, selection) {
  const kept = new Set(selection.kept);
  const focus = new Set(selection.focus ?? []);
  const all = kept.size === selection.grid[0] * selection.grid[1];
  for (const cell of cells(canvas, selection.grid)) {
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

function heat(pen, canvas, grid, values) {
  if (!values) return;
  for (const cell of cells(canvas, grid)) {
    const place = Math.min(values[cell.token] * (COLOURS.length - 1), COLOURS.length - 1.001);
    const [low, high] = [COLOURS[Math.floor(place)], COLOURS[Math.floor(place) + 1]];
    const mixed = low.map((level, i) => Math.round(level + (high[i] - level) * (place % 1)));
    pen.fillStyle = `rgba(${mixed.join(", ")}, 0.75)`;
    pen.fillRect(cell.left, cell.top, cell.width, cell.height);
  }
}

// The token under a point of the canvas as it is shown.
export function tokenAt(canvas, selection, event) {
  const box = canvas.getBoundingClientRect();
  const [height, width] = selection.grid;
  const column = Math.floor(((event.clientX - box.left) / box.width) * width);
  const row = Math.floor(((event.clientY - box.top) / box.height) * height);
  return column < 0 || row < 0 || column >= width || row >= height ? null : row * width + column;
}

export function describe(selection) {
  const { original, retained, focus, gate, kept, skipped_reason: why } = selection;
  if (why) return `All ${kept.length} tokens are kept: ${why}.`;
  const parts = focus?.length ? `, ${focus.length} of them focus and ${kept.length - focus.length} context` : "";
  return `${retained} of ${original} tokens are kept${parts}. Gate: ${gate ?? "no question was looked at"}.`;
}

export function describeToken(selection, token) {
  const [, width] = selection.grid;
  const role = !selection.kept.includes(token) ? "dropped" : selection.focus?.includes(token) ? "focus" : "context";
  const parts = [`token ${token} (row ${Math.floor(token / width)}, column ${token % width}): `];
  parts.push(selection.focus ? role : selection.kept.includes(token) ? "kept" : "dropped");
  for (const name of ["saliency", "relevance"]) {
    if (selection[name]) parts.push(`, ${name} ${selection[name][token].toFixed(2)}`);
  }
  return parts.join("");
}
