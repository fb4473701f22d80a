// All runs, live: states, exact match beside the baselines, speed, time left; and a form that starts one.

import { button, el, follow, get, option, post, redraw, safely, say } from "./dom.js";
import { UNKNOWN, count, counted, duration, percent } from "./numbers.js";

export async function show(root, parameters, about) {
  const rows = new Map(Object.entries(await get("/api/runs")));
  const lines = new Map();
  const chosen = new Set();
  const filter = el("input", { type: "search", placeholder: "run, recipe or model", "aria-label": "filter runs", oninput: () => draw() });
  const state = el("select", { "aria-label": "state", onchange: () => draw() }, option("", "any state"));
  const number = el("output", {});
  const together = button("overlay", () => (location.hash = address([...chosen])), { disabled: true, class: "primary" });
  const body = el("tbody");
  const columns = ["", "run", "state", "model", "step", "exact match", "samples/s", "time left"];
  const table = el(
    "table",
    { class: "runs" },
    el("thead", {}, el("tr", {}, columns.map((name, place) => el("th", { scope: "col", class: place > 3 ? "number" : "" }, name)))),
    body,
  );
  const empty = el("p", { class: "empty" });
  root.append(
    el("div", { class: "head" }, el("h1", {}, "Runs"), el("p", { class: "note" }, about.root)),
    el("form", { class: "filters", onsubmit: (event) => event.preventDefault() }, filter, state, together, number),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "list of runs" }, table),
    empty,
    starting(about),
  );

  function choose(key, isChosen) {
    if (isChosen) chosen.add(key);
    else chosen.delete(key);
    if (chosen.size > about.limits.together) say(`at most ${about.limits.together} runs are shown together`);
    together.disabled = chosen.size < 2 || chosen.size > about.limits.together;
    together.textContent = chosen.size > 1 ? `overlay ${chosen.size} runs` : "overlay";
  }

  function draw(changed = null) {
    const names = [...new Set([...rows.values()].map((row) => row.state))].sort();
    if (names.join() !== [...state.options].slice(1).map((each) => each.value).join()) {
      const value = state.value;
      state.replaceChildren(option("", "any state"), ...names.map((name) => option(name, name)));
      state.value = names.includes(value) ? value : "";
    }
    for (const key of changed ?? rows.keys()) if (rows.has(key)) lines.set(key, line(key, rows.get(key), chosen, choose));
    const wanted = filter.value.trim().toLowerCase();
    const fits = ([, row]) =>
      (!state.value || row.state === state.value) &&
      (!wanted || `${row.run_id} ${row.name} ${row.model}`.toLowerCase().includes(wanted));
    const shown = [...rows].filter(fits).reverse();
    redraw(body, shown.map(([key]) => lines.get(key)));
    number.textContent = shown.length === rows.size ? counted(rows.size, "runs") : `${count(shown.length)} of ${counted(rows.size, "runs")}`;
    table.hidden = !shown.length;
    empty.textContent = rows.size ? "No run fits these filters." : "No runs here yet. Start one below, or with hrm train RECIPE.";
    empty.hidden = shown.length > 0;
  }

  draw();
  return follow("/api/runs/events", root, (changes, isWhole) => {
    // Of the runs here, some may have been deleted while the page was hidden or the server was down.
    if (isWhole) for (const key of rows.keys()) changes[key] ??= null;
    const changed = Object.keys(changes).filter((key) => JSON.stringify(rows.get(key)) !== JSON.stringify(changes[key]));
    for (const key of changed) {
      if (changes[key] === null) {
        rows.delete(key);
        if (chosen.has(key)) choose(key, false);
      } else rows.set(key, changes[key]);
    }
    if (!changed.length) return undefined;
    // The first message has every row; most of them are here already.
    return draw(changed);
  });
}

export const address = (keys) => `#/run?${new URLSearchParams(keys.map((key) => ["run", key]))}`;

function line(key, row, chosen, choose) {
  const box = el("input", { type: "checkbox", checked: chosen.has(key), "aria-label": `overlay ${row.run_id}`, onchange: () => choose(key, box.checked) });
  const steps = row.step === null ? UNKNOWN : row.steps ? `${count(row.step)} of ${count(row.steps)}` : count(row.step);
  const isOn = row.state === "running" || row.state === "validating";
  return el(
    "tr",
    { data: { run: key } },
    el("td", {}, box),
    el("td", {}, el("a", { href: address([key]) }, row.name ?? row.run_id), el("small", {}, row.run_id)),
    el("td", {}, badge(row.state), row.problem ? el("small", { class: "bad" }, row.problem) : null),
    el("td", {}, row.model ?? UNKNOWN),
    el("td", { class: "number", data: { label: "step" } }, steps, row.progress ? el("progress", { value: row.progress, max: 1, "aria-label": "progress" }) : null),
    el("td", { class: "number", data: { label: "exact match" } }, exact(row)),
    el("td", { class: "number", data: { label: "samples/s" } }, isOn && row.samples_per_sec !== null ? count(Math.round(row.samples_per_sec)) : ""),
    el("td", { class: "number", data: { label: "time left" } }, isOn ? duration(row.estimated_time_remaining) : ""),
  );
}

function exact(row) {
  const best = row.baselines.reduce((most, each) => ((each.exact_accuracy ?? -1) > (most?.exact_accuracy ?? -1) ? each : most), null);
  const own = row.best === null ? [] : [percent(row.best)];
  if (row.pass_at_2 !== null && row.pass_at_2 !== undefined) own.push(`pass@2 ${percent(row.pass_at_2)}`);
  const [first = UNKNOWN, ...others] = own;
  const lines = [best && `${percent(best.exact_accuracy)} ${best.name}`, ...others].filter(Boolean);
  return [el("span", {}, first), lines.map((each) => el("small", {}, each))];
}

export const badge = (state) => el("span", { class: `badge ${state}` }, state);

function keyAndValue(text) {
  const parts = text.split(/\s*=\s*|\s+/);
  if (parts.length !== 2 || !parts.every(Boolean)) throw new Error(`${text}: expected a key and one value, such as training.max_steps 500`);
  return parts;
}

function starting(about) {
  const recipe = el("select", { name: "recipe" }, about.recipes.map((name) => option(name, name, name === "quickstart")));
  const source = el("select", { name: "source" }, option("", "as in the recipe"), about.sources.map((name) => option(name, name)));
  const changes = el("textarea", { rows: 3, spellcheck: "false", placeholder: "training.max_steps 500\noptimizer.lr 0.001" });
  const go = el("button", { class: "primary" }, "start");
  const start = safely(async () => {
    const keys = Object.fromEntries(changes.value.split("\n").map((text) => text.trim()).filter(Boolean).map(keyAndValue));
    if (source.value) keys["data.solve"] = source.value;
    go.disabled = true;
    try {
      const { run } = await post("/api/runs/start", { recipe: recipe.value, changes: keys });
      say(`started ${run}`, false);
      location.hash = address([run]);
    } finally {
      go.disabled = false;
    }
  });
  return el(
    "details",
    { class: "panel start" },
    el("summary", {}, "Start a run"),
    el(
      "form",
      { class: "fields", onsubmit: (event) => { event.preventDefault(); start(); } },
      el("label", {}, "recipe", recipe),
      el("label", {}, "tasks to solve", source),
      el("label", { class: "wide" }, "other keys, one a line: key and value", changes),
      el("p", { class: "note wide" }, "The run is hrm train in a process of its own. It is saved and ended when the studio ends, and can be resumed."),
      go,
    ),
  );
}
