// Draw a task or change one, try its test by hand, open and save the usual JSON.

import { GridCanvas } from "./canvas.js";
import { afterClick, button, el, option, post, redraw, safely, say } from "./dom.js";
import { History, blank, changed, cut, flipped, mirrored, newTask, pasted, resized, turned } from "./drawing.js";
import { color, sized } from "./grid.js";
import { count } from "./numbers.js";
import { asFile, getCurrent, setCurrent } from "./store.js";

const TOOLS = [["draw", "draw"], ["fill", "fill"], ["select", "select"]];
let clipboard = null;

export async function show(root, parameters, about) {
  const history = new History(getCurrent() ?? newTask());
  const state = { tool: "draw", color: 1 };
  let active = null;
  let editors = new Map();
  let reveal = false;
  let checking;
  const name = el("input", { "aria-label": "name of the task", maxlength: about.limits.name, onchange: () => change({ ...history.now, id: name.value }) });
  const swatches = about.palette.map((_, number) => swatch(number, (each) => pick(each)));
  const tools = TOOLS.map(([tool, label]) => button(label, () => use(tool), { class: "tool", data: { tool }, "aria-pressed": "false" }));
  const undo = button("undo", () => history.undo() && draw(), { title: "Ctrl+Z" });
  const redo = button("redo", () => history.redo() && draw(), { title: "Ctrl+Y" });
  const file = el("input", { type: "file", accept: ".json,application/json", hidden: true, "aria-label": "open a task file", onchange: () => open(file.files[0]) });
  const pairs = el("div", { class: "pairs" });
  const spoken = el("p", { class: "spoken", "aria-live": "polite" });
  const problems = el("ul", { class: "problems", "aria-live": "polite" });
  const many = el("label", { hidden: true }, "task of this file ", el("select", {}));
  root.append(
    el("div", { class: "head" }, el("h1", {}, "Editor"), name, el("div", { class: "actions" },
      button("new", () => change(newTask())), button("open", () => file.click()), file, button("save", save), button("let a model think", () => (location.hash = "#/think"), { class: "primary" }))),
    many,
    el("div", { class: "toolbar", role: "toolbar", "aria-label": "drawing" },
      el("div", { class: "swatches" }, swatches), el("div", { class: "group" }, tools), el("div", { class: "group" }, undo, redo),
      el("div", { class: "group" }, button("copy", copy, { title: "Ctrl+C" }), button("paste", paste, { title: "Ctrl+V" }), button("turn", () => alter(turned)), button("mirror", () => alter(mirrored)), button("flip", () => alter(flipped)))),
    problems,
    spoken,
    pairs,
    el("p", { class: "note" }, "Drop a .json file anywhere here to open it. Keys in a grid: arrows move, 0 to 9 paint, F fills, Shift and arrows select, Ctrl+C and Ctrl+V copy and paste, Ctrl+Z undoes."),
  );

  function pick(number) {
    state.color = number;
    swatches.forEach((each, place) => each.setAttribute("aria-pressed", String(place === number)));
  }

  function use(tool) {
    state.tool = tool;
    tools.forEach((each) => each.setAttribute("aria-pressed", String(each.dataset.tool === tool)));
  }

  function change(task) {
    history.add(task);
    draw();
  }

  const gridAt = (task, [part, index, side]) => task[part][index][side];
  const withGrid = (task, [part, index, side], grid) => ({ ...task, [part]: task[part].map((pair, place) => (place === index ? { ...pair, [side]: grid } : pair)) });

  function draw() {
    const task = setCurrent(history.now, history.now.source);
    const kept = active?.place.join();
    const focused = document.activeElement === active?.canvas;
    const [cursor, selection] = [active?.cursor, active?.selection];
    name.value = task.id;
    // A button that is disabled would lose the focus.
    undo.ariaDisabled = history.past.length ? null : "true";
    redo.ariaDisabled = history.future.length ? null : "true";
    editors = new Map();
    redraw(pairs, [
      ...task.train.map((pair, index) => row(task, "train", index)),
      el("p", {}, button("add a demonstration", () => change({ ...task, train: [...task.train, { input: blank(3, 3), output: blank(3, 3) }] }))),
      ...task.test.map((pair, index) => row(task, "test", index)),
      el("p", {}, button("add a test", () => change({ ...task, test: [...task.test, { input: blank(3, 3), output: null }] })),
        button(reveal ? "hide known outputs" : "show known outputs", () => { reveal = !reveal; draw(); }, { data: { control: "reveal" } })),
    ]);
    active = editors.get(kept) ?? [...editors.values()].find((each) => each.canvas === document.activeElement) ?? null;
    if (active) {
      const isInside = (spot) => spot && spot.y < active.grid.length && spot.x < active.grid[0].length;
      if (isInside(cursor)) active.cursor = cursor;
      if (selection && isInside({ y: selection.bottom, x: selection.right })) active.selection = selection;
      if (focused) active.canvas.focus({ preventScroll: true });
      active.draw();
    }
    clearTimeout(checking);
    checking = setTimeout(safely(check), 250);
  }

  function row(task, part, index) {
    const isTest = part === "test";
    const label = `${isTest ? "test" : "demonstration"} ${index + 1}`;
    const remove = button("remove", () => change({ ...task, [part]: task[part].filter((_, place) => place !== index) }), { class: "quiet", "aria-label": `remove ${label}`, disabled: task[part].length < 2 });
    const pair = task[part][index];
    const sides = isTest ? ["input", "answer", ...(reveal ? ["output"] : [])] : ["input", "output"];
    if (isTest && !pair.answer) pair.answer = blank(pair.input.length, pair.input[0].length);
    return el("section", { class: `pair ${part}` }, el("h2", {}, label, remove), el("div", { class: "sides" }, sides.map((side) => cell(task, part, index, side, label))));
  }

  function cell(task, part, index, side, label) {
    const title = side === "answer" ? "your answer" : part === "test" && side === "output" ? "known output" : side;
    const grid = task[part][index][side];
    const place = [part, index, side];
    if (!grid) {
      return el("div", { class: "side" }, el("h3", {}, title), el("p", { class: "note" }, "not known"), button("draw it", () => change(withGrid(task, place, task[part][index].answer))));
    }
    const editor = new GridCanvas({
      grid,
      label: `${label} ${title}`,
      state,
      onchange: (made) => change(withGrid(history.now, place, made)),
      onactive: (used) => (active = used),
      oncolor: pick,
      onspeak: (cursor, selection) => (spoken.textContent = said(gridAt(history.now, place), cursor, selection)),
    });
    editor.place = place;
    editors.set(place.join(), editor);
    const resize = (height, width) => change(withGrid(history.now, place, resized(gridAt(history.now, place), height, width)));
    const sides = [["height", grid.length], ["width", grid[0].length]].map(([what, value], number) =>
      el("input", {
        type: "number", min: 1, max: about.limits.side, value, "aria-label": `${what} of ${label} ${title}`,
        onchange: (event) => {
          const wanted = Math.max(1, Math.min(about.limits.side, Math.round(Number(event.target.value)) || 1));
          // Drawing anew would take a button away from the click that this change is a part of.
          afterClick(() => resize(number ? grid.length : wanted, number ? wanted : grid[0].length));
        },
      }),
    );
    const verdict = el("output", { class: "verdict" });
    const judge = safely(async () => {
      const found = await post("/api/judge", { answer: grid, truth: task[part][index].output });
      verdict.textContent = found.verdict;
      verdict.className = `verdict ${found.right === null ? "" : found.right ? "good" : "bad"}`;
      editor.wrong = found.wrong;
      editor.draw();
    });
    return el(
      "div",
      { class: "side" },
      el("h3", {}, title),
      editor.canvas,
      el("div", { class: "size" }, sides[0], "x", sides[1]),
      side === "answer"
        ? el("div", { class: "actions" }, button("check", judge, { class: "primary" }), button("copy the input", () => change(withGrid(history.now, place, task[part][index].input))), button("clear", () => change(withGrid(history.now, place, blank(grid.length, grid[0].length)))), verdict)
        : null,
    );
  }

  function alter(how) {
    if (!active) return say("choose a grid first");
    const made = changed(active.grid, active.selection, how);
    if (!made) return say(`the turned selection does not fit into ${sized(active.grid)} cells; make the grid larger first`);
    active.selection = made[1];
    return change(withGrid(history.now, active.place, made[0]));
  }

  function copy() {
    if (!active) return say("choose a grid first");
    clipboard = active.selection ? cut(active.grid, active.selection) : active.grid;
    return say(`copied ${clipboard.length} x ${clipboard[0].length} cells`, false);
  }

  function paste() {
    if (!active || !clipboard) return say("copy some cells first, and choose the grid to paste into");
    const { y, x } = active.selection ? { y: active.selection.top, x: active.selection.left } : active.cursor;
    return change(withGrid(history.now, active.place, pasted(active.grid, clipboard, y, x)));
  }

  const check = async () => list(await post("/api/check", { name: "task.json", text: JSON.stringify(asFile(history.now)) }));

  function list(found) {
    const lines = found.problems.map(({ place, what }) => el("li", {}, place ? `${place}: ${what}` : what));
    if (found.count > found.problems.length) lines.push(el("li", {}, `and ${count(found.count - found.problems.length)} more`));
    problems.replaceChildren(...lines);
  }

  const open = safely(async (chosen) => {
    if (!chosen) return;
    file.value = "";
    if (chosen.size > about.limits.body / 2) throw new Error(`${chosen.name}: larger than ${about.limits.body / 2 ** 21} MiB, which is the most that is opened here`);
    const found = await post("/api/check", { name: chosen.name.slice(-200), text: await chosen.text() });
    clearTimeout(checking);
    if (!found.tasks.length) {
      list(found);
      return;
    }
    change({ source: "", ...found.tasks[0] });
    many.hidden = found.tasks.length < 2;
    const select = many.querySelector("select");
    select.replaceChildren(...found.tasks.map((task, number) => option(number, task.id)));
    select.onchange = () => change({ source: "", ...found.tasks[select.value] });
    clearTimeout(checking);
    list(found);
    say(`opened ${chosen.name}`, false);
  });

  function save() {
    const content = new Blob([JSON.stringify(asFile(history.now))], { type: "application/json" });
    const link = el("a", { href: URL.createObjectURL(content), download: `${history.now.id.replace(/[^\w.-]+/g, "_") || "task"}.json` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function keys(event) {
    if (!(event.ctrlKey || event.metaKey) || event.target.matches("input, textarea")) return;
    const key = event.key.toLowerCase();
    if (key === "z" && event.shiftKey) history.redo() && draw();
    else if (key === "z") history.undo() && draw();
    else if (key === "y") history.redo() && draw();
    else if (key === "c" && active) copy();
    else if (key === "v" && active) paste();
    else return;
    event.preventDefault();
  }

  const over = (event) => event.preventDefault();
  const drop = (event) => {
    event.preventDefault();
    open(event.dataTransfer.files[0]);
  };
  document.addEventListener("keydown", keys);
  document.addEventListener("dragover", over);
  document.addEventListener("drop", drop);
  pick(1);
  use("draw");
  draw();
  return () => {
    clearTimeout(checking);
    document.removeEventListener("keydown", keys);
    document.removeEventListener("dragover", over);
    document.removeEventListener("drop", drop);
  };
}

function said(grid, { y, x }, selection) {
  const cell = `row ${y + 1}, column ${x + 1}: color ${grid[y][x]}`;
  return selection ? `${cell}; rows ${selection.top + 1} to ${selection.bottom + 1}, columns ${selection.left + 1} to ${selection.right + 1} selected` : cell;
}

function swatch(number, onpick) {
  const made = button(String(number), () => onpick(number), { class: "swatch", "aria-label": `color ${number}`, "aria-pressed": "false" });
  made.style.setProperty("--swatch", color(number));
  return made;
}
