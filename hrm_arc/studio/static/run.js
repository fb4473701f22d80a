// A run as it goes, or several overlaid: curves with zoom, time shares, recipes and what differs, scores.

import { chart } from "./chart.js";
import { button, el, follow, get, post, redraw, safely, say } from "./dom.js";
import { UNKNOWN, bytes, count, duration, percent } from "./numbers.js";
import { badge } from "./runs.js";

export async function show(root, parameters) {
  const keys = parameters.getAll("run");
  const { runs, differences } = await get("/api/run", { run: keys });
  const names = namesOf(runs);
  const live = runs.map(() => null);
  const thinking = keys.map((key) => el("p", { hidden: true }, el("a", { href: `#/think?${new URLSearchParams({ model: `run:${key}` })}` }, "let this run think about a task")));
  const detail = new Map();
  let zoom = null;
  let isHeld = false;
  const waiting = new Set();
  const head = el("div", { class: "head" });
  const cards = el("div", { class: "cards" });
  const whole = button("whole run", () => zoomTo(null), { hidden: true });
  const range = el("span", { class: "note" });
  const charts = el("div", { class: "charts" });
  root.append(
    head,
    cards,
    el("div", { class: "section-head" }, el("h2", {}, "Curves"), range, whole),
    charts,
    el("p", { class: "note" }, "Drag over a chart to zoom, double-click for the whole run; keys: + and - zoom, arrows move, Escape is the whole run. Lines are running means; the faint line behind one is the metric itself. Points are validations."),
    ...(runs.length > 1 ? [differing(names, differences)] : []),
    ...runs.map((run, number) => about(run, keys[number], runs.length > 1 ? number : null, names[number], thinking[number])),
  );
  // A chart that is drawn anew under the pointer would end the drag.
  charts.addEventListener("pointerdown", () => (isHeld = true));
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    charts.addEventListener(name, () => {
      if (isHeld) {
        isHeld = false;
        draw();
      }
    });
  }
  head.append(el("h1", {}, names.join(" and ")), el("p", { class: "note" }, runs.map((run) => run.run_id).join(" · ")));

  const span = () => {
    const last = Math.max(1, ...live.map((each) => each?.last ?? 0));
    return zoom ?? [0, last];
  };

  async function zoomTo(wanted) {
    const last = Math.max(1, ...live.map((each) => each?.last ?? 0));
    zoom = wanted && inside(wanted, last);
    whole.hidden = zoom === null;
    range.textContent = zoom ? `steps ${count(zoom[0])} to ${count(zoom[1])}` : "";
    detail.clear();
    draw();
    if (!zoom) return;
    const asked = zoom;
    const found = await Promise.all(keys.map((key) => get("/api/run/range", { run: key, first: asked[0], last: asked[1] })));
    if (zoom !== asked) return;
    found.forEach((each, number) => detail.set(number, each));
    draw();
  }

  function draw() {
    const sets = live.map((each, number) => (each && detail.has(number) ? zoomed(each, detail.get(number)) : each));
    const all = new Map();
    sets.forEach((set, number) => {
      for (const each of set?.charts ?? []) {
        if (!all.has(each.key)) all.set(each.key, { ...each, lines: [] });
        all.get(each.key).lines[number] = { name: names[number], train: each.train, validation: each.validation };
      }
    });
    const drawn = [...all.values()].map(({ key, title, scale, prefixes, lines }) =>
      chart({
        title,
        scale,
        prefixes,
        lines: runs.map((_, number) => lines[number] ?? { name: names[number], ...NOTHING }),
        baselines: live.length === 1 ? baselines(live[0]?.status, BESIDE[key]) : [],
        domain: span(),
        onzoom: safely(zoomTo),
      }),
    );
    redraw(charts, drawn.length ? drawn : [el("p", { class: "empty" }, live[0]?.status.missing ?? "No metrics yet.")]);
  }

  function drawCards() {
    redraw(cards, runs.flatMap((run, place) => (live[place] ? [card({ run, key: keys[place], status: live[place].status, number: runs.length > 1 ? place : null, name: names[place], waiting, drawn: drawCards })] : [])));
  }

  // One stream for all of them: a browser has six connections to a server.
  return follow(`/api/run/events?${new URLSearchParams(keys.map((key) => ["run", key]))}`, root, (contents) => {
    contents.forEach((content, number) => {
      if (content.problem) say(`${content.problem.where}: ${content.problem.what}`);
      else live[number] = content;
      thinking[number].hidden = !live[number]?.status.has_weights;
    });
    drawCards();
    if (!isHeld) draw();
  });
}

const NOTHING = { train: [[], []], validation: [[], []] };

// The charts of a run with the rows of a range; a chart without a row there stays, empty.
const zoomed = (whole, range) => ({ charts: whole.charts.map((each) => range.charts.find(({ key }) => key === each.key) ?? { ...each, ...NOTHING }) });

// A range of whole steps inside of a run, at least two long; null: that is the whole run.
function inside([first, final], last) {
  const length = Math.max(2, Math.round(final) - Math.round(first));
  if (length >= last) return null;
  const start = Math.max(0, Math.min(Math.round((first + final - length) / 2), last - length));
  return [start, start + length];
}

// The charts with baselines, and the score of theirs that belongs there.
const BESIDE = { exact_accuracy: "exact_accuracy", validation_token_accuracy: "token_accuracy" };
const baselines = (status, score) =>
  (status?.baselines ?? []).filter((each) => typeof each[score] === "number").map((each) => ({ name: each.name, value: each[score] }));

// Those of their recipes; where two have the same, their IDs.
function namesOf(runs) {
  const names = runs.map((run) => run.name ?? run.run_id);
  return names.map((name, place) => (names.filter((each) => each === name).length > 1 ? runs[place].run_id : name));
}

function card({ run, key, status, number, name, waiting, drawn }) {
  const isOn = status.state === "running" || status.state === "validating";
  // To resume takes seconds, in which the card may be drawn anew.
  const act = (path, said) => safely(async () => {
    if (waiting.has(key)) return;
    waiting.add(key);
    drawn();
    try {
      await post(path, { run: key });
      say(said, false);
    } finally {
      waiting.delete(key);
      drawn();
    }
  });
  const asking = { "aria-disabled": waiting.has(key) && "true" };
  const facts = [
    ["step", status.current_step === null || status.current_step === undefined ? UNKNOWN : `${count(status.current_step)}${run.recipe ? ` of ${count(run.recipe.training.max_steps)}` : ""}`],
    ["exact match, held-out", status.last_validation ? percent(status.last_validation.exact_accuracy) : UNKNOWN],
    ...(status.baselines ?? []).map((each) => [each.name, percent(each.exact_accuracy)]),
    ["samples/s", status.samples_per_sec ? count(Math.round(status.samples_per_sec)) : UNKNOWN],
    ...(isOn ? [["time left", duration(status.estimated_time_remaining)]] : []),
    ...(status.pass_at_2 === null || status.pass_at_2 === undefined ? [] : [["pass@2", percent(status.pass_at_2)]]),
    ...(status.peak_memory_bytes ? [["peak memory", bytes(status.peak_memory_bytes)]] : []),
  ];
  return el(
    "section",
    { class: "card", data: { run: key } },
    el(
      "div",
      { class: "card-head" },
      number === null ? null : el("span", { class: `key c${number}` }),
      number === null ? null : el("strong", {}, name),
      badge(status.state),
      status.progress ? el("progress", { value: status.progress, max: 1, "aria-label": "progress" }) : null,
      isOn && status.ours ? button("stop", act("/api/runs/stop", "the run saves its state and ends"), asking) : null,
      !isOn && ["interrupted", "failed", "lost"].includes(status.state) ? button(waiting.has(key) ? "resuming" : "resume", act("/api/runs/resume", "the run goes on"), asking) : null,
    ),
    el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    status.timing ? shares(status.timing) : null,
    status.message ? el("p", { class: "note" }, status.message) : null,
  );
}

// Those of hrm_arc/training/clock.py.
const PARTS = ["forward", "backward", "optimizer", "data", "validation", "checkpoint"];
const colorOf = (part) => (PARTS.includes(part) ? PARTS.indexOf(part) : "-other");

// Where the time of a step goes; a part keeps its color when another one takes longer.
function shares(timing) {
  const parts = Object.entries(timing).filter(([, share]) => share >= 0.005).sort((one, other) => other[1] - one[1]);
  const bar = el("div", { class: "shares", role: "img", "aria-label": `time: ${parts.map(([name, share]) => `${name} ${percent(share, 0)}`).join(", ")}` });
  parts.forEach(([name, share]) => {
    const part = el("span", { class: `fill c${colorOf(name)}` });
    part.style.width = `${100 * share}%`;
    bar.append(part);
  });
  const legend = parts.map(([name, share]) => el("span", {}, el("span", { class: `key c${colorOf(name)}` }), `${name} ${percent(share, 0)}`));
  return el("div", { class: "time" }, bar, el("p", { class: "legend" }, legend));
}

function differing(names, rows) {
  const shown = (value) => (value === null ? "nothing" : typeof value === "object" ? JSON.stringify(value) : String(value));
  const columns = names.map((name, number) => el("th", { scope: "col" }, el("span", { class: `key c${number}` }), name));
  return el(
    "section",
    {},
    el("h2", {}, "What differs"),
    rows.length
      ? el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "key"), columns)), el("tbody", {}, rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row.key), row.values.map((value) => el("td", {}, shown(value))))))))
      : el("p", { class: "note" }, "Their recipes say the same."),
  );
}

function about(run, key, number, name, thinking) {
  const reports = run.scores.map((each) => {
    const query = new URLSearchParams({ run: key, scores: each.name });
    const known = each.test_outputs ? `${count(each.solved)} of ${count(each.test_outputs)} test outputs solved` : "answers not known";
    return el("li", {}, el("a", { href: `/report?${query}` }, each.own ? "report: gallery, breakdown, refinement" : `report on ${each.name}`), ` ${known}, ${count(each.votes)} votes, after step ${count(each.step)}`, each.warnings.map((text) => el("small", { class: "bad" }, text)));
  });
  return el(
    "section",
    { class: "about" },
    el("h2", {}, number === null ? null : el("span", { class: `key c${number}` }), number === null ? "Scores and recipe" : name),
    run.problem ? el("p", { class: "bad" }, run.problem) : null,
    reports.length ? el("ul", { class: "plain" }, reports) : el("p", { class: "note" }, "Not scored yet: hrm eval scores it and writes its report."),
    run.outlook.length ? el("div", {}, el("h3", {}, "Would more training help?"), el("ul", { class: "plain" }, run.outlook.map((text) => el("li", {}, text)))) : null,
    run.recipe ? el("details", {}, el("summary", {}, "the whole recipe"), el("pre", {}, JSON.stringify(run.recipe, null, 2))) : null,
    thinking,
  );
}

