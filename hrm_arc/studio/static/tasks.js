// The tasks of a source as thumbnails, found by name, kind, size, and by what a model solved. The filters are in the address,
// and the task that was opened last in the history's entry, so that a way back leads to both.

import { button, el, get, option, safely } from "./dom.js";
import { sprite } from "./grid.js";
import { count } from "./numbers.js";
import { setCurrent } from "./store.js";

const SIZES = [["", "any size"], ["10", "up to 10 x 10"], ["20", "up to 20 x 20"], ["30", "larger than 20 x 20"]];

export async function show(root, parameters, about) {
  let tasks = [];
  let scores = [];
  let wantedKind = parameters.get("kind");
  let isRead = false;
  // Said in place of the number of tasks, while there are none to count.
  let instead = "";
  const source = el("select", { "aria-label": "source", onchange: safely(go) }, about.sources.map((name) => option(name, name, name === parameters.get("source"))));
  const name = el("input", { type: "search", placeholder: "name", "aria-label": "name", size: 12, value: parameters.get("name"), oninput: () => filter() });
  const kind = el("select", { "aria-label": "kind", onchange: () => { wantedKind = kind.value; filter(); } });
  const size = el("select", { "aria-label": "size", onchange: () => filter() }, SIZES.map(([value, label]) => option(value, label, value === parameters.get("size"))));
  const model = el("select", { "aria-label": "model", onchange: safely(choose) }, option("", "solved by ..."));
  const outcome = el("select", { "aria-label": "outcome", hidden: true, onchange: () => filter() }, option("solved", "solved"), option("open", "not solved", parameters.get("outcome") === "open"));
  const number = el("output", {});
  const sheet = el("div", { class: "sheet" });
  const empty = el("p", { class: "empty", hidden: true }, "No task fits these filters.");
  root.append(
    el("div", { class: "head" }, el("h1", {}, "Tasks")),
    el("form", { class: "filters", onsubmit: (event) => event.preventDefault() }, source, name, kind, size, model, outcome, number),
    sheet,
    empty,
  );

  async function go() {
    const wanted = source.value;
    instead = "reading";
    fill([], wanted);
    try {
      const found = await get("/api/tasks", { source: wanted });
      // Another source may have been chosen meanwhile.
      if (source.value !== wanted) return;
      instead = "";
      fill(found, wanted);
    } catch (error) {
      if (source.value !== wanted) return;
      instead = "not readable";
      filter();
      throw error;
    }
  }

  function fill(found, of) {
    tasks = found;
    const kinds = [...new Set(tasks.flatMap((task) => task.groups))].sort();
    kind.replaceChildren(option("", "any kind"), ...kinds.map((each) => option(each, each, each === wantedKind)));
    // All of them at once: a task is two small canvases, and the browser draws only those in sight.
    sheet.replaceChildren(...tasks.map((task) => (task.card = thumbnail(task, of))));
    filter();
  }

  async function choose() {
    const wanted = model.value;
    const found = wanted ? await get("/api/solved", { model: wanted }) : [];
    if (model.value !== wanted) return;
    scores = found;
    outcome.hidden = !model.value;
    filter();
  }

  function filter() {
    const wanted = name.value.trim().toLowerCase();
    let [shown, known] = [0, 0];
    for (const task of tasks) {
      const side = Math.max(task.height, task.width);
      const solved = solvedBy(scores, source.value, task.id);
      known += solved !== null;
      const fits =
        task.id.toLowerCase().includes(wanted) &&
        (!kind.value || task.groups.includes(kind.value)) &&
        (!size.value || (size.value === "30" ? side > 20 : side <= Number(size.value))) &&
        (!model.value || solved === (outcome.value === "solved"));
      task.card.hidden = !fits;
      task.card.classList.toggle("solved", solved === true);
      shown += fits;
    }
    const text = `${count(shown)} of ${count(tasks.length)} tasks`;
    number.textContent = instead || (model.value && !known ? `${text}; what it solves of this source is not known: hrm eval scores it` : text);
    empty.hidden = shown > 0 || !tasks.length;
    // Not before all of them are here, nor once another view is.
    if (isRead && root.isConnected) history.replaceState(history.state, "", address());
  }

  function address() {
    const chosen = { source, name, kind, size, model, ...(model.value ? { outcome } : {}) };
    return `#/tasks?${new URLSearchParams(Object.entries(chosen).filter(([, { value }]) => value).map(([key, { value }]) => [key, value]))}`;
  }

  const last = history.state?.task;
  const back = () => {
    const card = tasks.find((task) => task.id === last)?.card;
    if (!card || card.hidden || !root.isConnected) return;
    card.querySelector("button").focus({ preventScroll: true });
    card.scrollIntoView({ block: "center" });
  };
  await safely(go)();
  if (!parameters.has("model")) back();
  const models = (await get("/api/models")).filter((each) => each.scored);
  model.append(...models.map((each) => option(each.key, each.name, each.key === parameters.get("model"))));
  if (model.value) {
    await safely(choose)();
    back();
  }
  isRead = true;
  filter();
}

// true, false, or null where it is not known. Weights list what they solved of a whole source.
function solvedBy(scores, source, id) {
  for (const each of scores) {
    if (each.solved[id] !== undefined) return each.solved[id];
    if (each.complete && each.data === source) return false;
  }
  return null;
}

function thumbnail(task, source) {
  const open = (view) => safely(async () => {
    setCurrent(await get("/api/task", { source, task: task.id }), source);
    history.replaceState({ task: task.id }, "");
    location.hash = `#/${view}`;
  });
  return el(
    "article",
    { class: "task", data: { task: task.id } },
    el("button", { type: "button", class: "thumb", onclick: open("think"), "aria-label": `task ${task.id}: let a model think about it` }, sprite(task.input), el("span", { class: "arrow", "aria-hidden": "true" }, "→"), task.output ? sprite(task.output) : el("span", {}, "?")),
    el("div", { class: "task-foot" }, el("span", { class: "task-name" }, task.id), button("edit", open("editor"), { class: "quiet", "aria-label": `edit ${task.id}` })),
  );
}
