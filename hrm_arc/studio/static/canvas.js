// One grid that can be drawn on, with a pointer or with keys.

import { el } from "./dom.js";
import { cellSize, paint, sized } from "./grid.js";
import { flooded, painted, stroke } from "./drawing.js";

// state: what all grids of the editor share: tool, color. onchange gets the new grid; onactive the canvas
// that is used; onspeak what a screen reader says of the cells that a key has reached or painted.
export class GridCanvas {
  constructor({ grid, label, state, onchange, onactive, oncolor, onspeak }) {
    this.grid = grid;
    this.label = label;
    this.state = state;
    this.onchange = onchange;
    this.onactive = onactive;
    this.oncolor = oncolor;
    this.onspeak = onspeak;
    this.cursor = { y: 0, x: 0 };
    this.selection = null;
    this.wrong = [];
    this.canvas = el("canvas", { class: "grid editable", tabindex: 0, role: "application", "aria-label": this.describe() });
    const listeners = { pointerdown: "down", pointermove: "move", pointerup: "up", pointercancel: "up", keydown: "key", focus: "focus", blur: "draw" };
    for (const [name, method] of Object.entries(listeners)) this.canvas.addEventListener(name, (event) => this[method](event));
    this.draw();
  }

  describe() {
    return `${this.label}, ${sized(this.grid)}; arrows move, 0 to 9 paint, F fills, Shift and arrows select`;
  }

  focus() {
    this.onactive(this);
    this.draw();
  }

  draw() {
    this.cell = cellSize(this.grid, 240, 30);
    const isUsed = document.activeElement === this.canvas;
    paint(this.canvas, this.stroking ?? this.grid, { cell: this.cell, wrong: this.wrong, selection: this.selection, cursor: isUsed && !this.from ? this.cursor : null });
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const clamp = (value, most) => Math.max(0, Math.min(most - 1, Math.floor(value)));
    return {
      y: clamp(((event.clientY - box.top) / box.height) * this.grid.length, this.grid.length),
      x: clamp(((event.clientX - box.left) / box.width) * this.grid[0].length, this.grid[0].length),
    };
  }

  down(event) {
    if (event.button) return;
    event.preventDefault();
    this.canvas.focus();
    this.canvas.setPointerCapture(event.pointerId);
    this.cursor = this.from = this.at(event);
    this.selection = null;
    if (this.state.tool === "fill") this.finish(flooded(this.grid, this.cursor, this.state.color));
    else if (this.state.tool === "draw") this.stroking = painted(this.grid, [this.cursor], this.state.color);
    else this.select(this.cursor, this.cursor);
    this.draw();
  }

  move(event) {
    if (!this.from) return;
    const here = this.at(event);
    if (this.state.tool === "draw" && this.stroking) {
      this.stroking = painted(this.stroking, stroke(this.cursor, here), this.state.color);
    } else if (this.state.tool === "select") this.select(this.from, here);
    this.cursor = here;
    this.draw();
  }

  up() {
    const made = this.stroking;
    this.from = this.stroking = null;
    if (made) this.finish(made);
    else this.draw();
  }

  select(one, other) {
    this.selection = { top: Math.min(one.y, other.y), bottom: Math.max(one.y, other.y), left: Math.min(one.x, other.x), right: Math.max(one.x, other.x) };
  }

  finish(grid) {
    if (JSON.stringify(grid) !== JSON.stringify(this.grid)) this.onchange(grid);
    this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (event.key in arrows) {
      const before = this.cursor;
      const [down, right] = arrows[event.key];
      this.cursor = { y: Math.max(0, Math.min(this.grid.length - 1, before.y + down)), x: Math.max(0, Math.min(this.grid[0].length - 1, before.x + right)) };
      if (event.shiftKey) this.select((this.anchor ??= before), this.cursor);
      else this.selection = this.anchor = null;
    } else if (/^[0-9]$/.test(event.key)) {
      this.oncolor(Number(event.key));
      this.finish(painted(this.grid, this.chosen(), Number(event.key)));
    } else if (event.key === " " || event.key === "Enter") this.finish(painted(this.grid, this.chosen(), this.state.color));
    else if (event.key.toLowerCase() === "f") this.finish(flooded(this.grid, this.cursor, this.state.color));
    else if (event.key === "Escape") this.selection = this.anchor = null;
    else return;
    event.preventDefault();
    this.draw();
    this.onspeak(this.cursor, this.selection);
  }

  // The selected cells, or the one that the cursor is on.
  chosen() {
    if (!this.selection) return [this.cursor];
    const { top, bottom, left, right } = this.selection;
    const cells = [];
    for (let y = top; y <= bottom; y += 1) for (let x = left; x <= right; x += 1) cells.push({ y, x });
    return cells;
  }
}
