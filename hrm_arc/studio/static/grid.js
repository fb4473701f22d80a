// Grids as pictures, in the colors that the server names.

import { el } from "./dom.js";

let palette = [];
export const setPalette = (colors) => (palette = colors);
export const color = (number) => palette[number];

export const sized = (grid) => `${grid.length} x ${grid[0].length}`;
export const cellSize = (grid, longest = 184, most = 26) =>
  Math.max(5, Math.min(most, Math.floor(longest / Math.max(grid.length, grid[0].length))));

// A canvas with lines between cells, and crosses on wrong ones.
export function picture(grid, { longest = 184, most = 26, wrong = [], label = "grid" } = {}) {
  const canvas = el("canvas", { class: "grid", role: "img", "aria-label": `${label}, ${sized(grid)}` });
  paint(canvas, grid, { cell: cellSize(grid, longest, most), wrong });
  return canvas;
}

export function paint(canvas, grid, { cell, wrong = [], cursor = null, selection = null }) {
  const [height, width] = [grid.length, grid[0].length];
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * cell * scale);
  canvas.height = Math.round(height * cell * scale);
  canvas.style.width = `${width * cell}px`;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      context.fillStyle = palette[grid[y][x]];
      context.fillRect(x * cell, y * cell, cell, cell);
    }
  }
  context.strokeStyle = "#555";
  context.lineWidth = cell > 7 ? 1 : 0.5;
  context.beginPath();
  for (let x = 0; x <= width; x += 1) line(context, x * cell, 0, x * cell, height * cell);
  for (let y = 0; y <= height; y += 1) line(context, 0, y * cell, width * cell, y * cell);
  context.stroke();
  for (const [y, x] of wrong) cross(context, x * cell, y * cell, cell);
  if (selection) frame(context, selection, cell, "#fff", "#d9622b");
  if (cursor) frame(context, { top: cursor.y, left: cursor.x, bottom: cursor.y, right: cursor.x }, cell, "#000", "#fff");
}

function line(context, ax, ay, bx, by) {
  context.moveTo(ax, ay);
  context.lineTo(bx, by);
}

function cross(context, left, top, cell) {
  for (const [style, width] of [["#fff", 0.16], ["#b00020", 0.07]]) {
    context.strokeStyle = style;
    context.lineWidth = Math.max(1, width * cell);
    context.lineCap = "round";
    context.beginPath();
    line(context, left + cell / 4, top + cell / 4, left + (3 * cell) / 4, top + (3 * cell) / 4);
    line(context, left + (3 * cell) / 4, top + cell / 4, left + cell / 4, top + (3 * cell) / 4);
    context.stroke();
  }
}

function frame(context, { top, left, bottom, right }, cell, outer, inner) {
  const box = [left * cell, top * cell, (right - left + 1) * cell, (bottom - top + 1) * cell];
  for (const [style, width] of [[outer, 4], [inner, 2]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.strokeRect(box[0] + 1, box[1] + 1, box[2] - 2, box[3] - 2);
  }
}

// Of thumbnails: a pixel for each cell, enlarged by the style sheet.
export function sprite(rows) {
  const lines = rows.split("\n");
  const canvas = el("canvas", { class: "sprite", width: lines[0].length, height: lines.length });
  const context = canvas.getContext("2d");
  const image = context.createImageData(lines[0].length, lines.length);
  const bytes = palette.map((each) => [1, 3, 5].map((place) => parseInt(each.slice(place, place + 2), 16)));
  let place = 0;
  for (const row of lines) {
    for (const digit of row) {
      image.data.set([...bytes[digit], 255], place);
      place += 4;
    }
  }
  context.putImageData(image, 0, 0);
  const cell = Math.max(1.5, Math.min(10, 68 / Math.max(lines.length, lines[0].length)));
  canvas.style.width = `${Math.round(lines[0].length * cell)}px`;
  return canvas;
}
