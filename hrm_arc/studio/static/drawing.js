// What can be done to a task, and undone: every function makes a new grid, and a history keeps the tasks.

export const blank = (height, width) => Array.from({ length: height }, () => new Array(width).fill(0));

export const newTask = () => ({
  id: "my-task",
  source: "",
  train: [{ input: blank(3, 3), output: blank(3, 3) }],
  test: [{ input: blank(3, 3), output: null }],
});

export const resized = (grid, height, width) =>
  Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => grid[y]?.[x] ?? 0));

export function painted(grid, cells, color) {
  const made = grid.map((row) => [...row]);
  for (const { y, x } of cells) if (made[y]?.[x] !== undefined) made[y][x] = color;
  return made;
}

// The cells of a straight line, so that a fast stroke has no gaps.
export function stroke(from, to) {
  const steps = Math.max(Math.abs(to.y - from.y), Math.abs(to.x - from.x), 1);
  return Array.from({ length: steps + 1 }, (_, n) => ({
    y: Math.round(from.y + ((to.y - from.y) * n) / steps),
    x: Math.round(from.x + ((to.x - from.x) * n) / steps),
  }));
}

export function flooded(grid, { y, x }, color) {
  const old = grid[y][x];
  if (old === color) return grid;
  const made = grid.map((row) => [...row]);
  const waiting = [[y, x]];
  while (waiting.length) {
    const [row, column] = waiting.pop();
    if (made[row]?.[column] !== old) continue;
    made[row][column] = color;
    waiting.push([row + 1, column], [row - 1, column], [row, column + 1], [row, column - 1]);
  }
  return made;
}

export const cut = (grid, { top, left, bottom, right }) => grid.slice(top, bottom + 1).map((row) => row.slice(left, right + 1));

export function pasted(grid, part, top, left) {
  const made = grid.map((row) => [...row]);
  part.forEach((row, y) => row.forEach((value, x) => {
    if (made[top + y]?.[left + x] !== undefined) made[top + y][left + x] = value;
  }));
  return made;
}

export const turned = (grid) => grid[0].map((_, x) => grid.map((row) => row[x]).reverse());
export const mirrored = (grid) => grid.map((row) => [...row].reverse());
export const flipped = (grid) => [...grid].reverse();

// A change of the whole grid, or of a selected part: [grid, selection]. The part stays in its place, or moves as far as it
// must to fit into the grid; null: it does not fit.
export function changed(grid, selection, change) {
  if (!selection) return [change(grid), null];
  const part = cut(grid, selection);
  const made = change(part);
  const [height, width] = [made.length, made[0].length];
  const [top, left] = [Math.min(selection.top, grid.length - height), Math.min(selection.left, grid[0].length - width)];
  if (top < 0 || left < 0) return null;
  const cleared = pasted(grid, blank(part.length, part[0].length), selection.top, selection.left);
  return [pasted(cleared, made, top, left), { top, left, bottom: top + height - 1, right: left + width - 1 }];
}

const MOST = 500;

export class History {
  constructor(task) {
    this.past = [];
    this.now = task;
    this.future = [];
  }

  add(task) {
    this.past.push(this.now);
    if (this.past.length > MOST) this.past.shift();
    this.now = task;
    this.future = [];
  }

  undo() {
    if (!this.past.length) return false;
    this.future.push(this.now);
    this.now = this.past.pop();
    return true;
  }

  redo() {
    if (!this.future.length) return false;
    this.past.push(this.now);
    this.now = this.future.pop();
    return true;
  }
}
