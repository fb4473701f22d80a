// A model thinks about the task: the answer after each segment, votes as they come in, and both attempts.

import { button, el, get, option, post, safely, say, send } from "./dom.js";
import { picture } from "./grid.js";
import { count, counted, duration, percent, short } from "./numbers.js";
import { asFile, getCurrent, getModel, setModel } from "./store.js";

export async function show(root, parameters, about) {
  const task = getCurrent();
  if (parameters.has("model")) setModel(parameters.get("model"));
  root.append(el("div", { class: "head" }, el("h1", {}, "Think"), task && el("p", { class: "note" }, `${task.id}${task.source ? ` of ${task.source}` : ""}`)));
  if (!task) {
    root.append(el("p", { class: "empty" }, "Choose a task first: ", el("a", { href: "#/tasks" }, "find one"), " or ", el("a", { href: "#/editor" }, "draw one"), "."));
    return undefined;
  }
  const models = (await get("/api/models")).filter((each) => each.has_weights);
  const isHere = models.some((each) => each.key === getModel());
  if (getModel() && !isHere) say(`${getModel()}: it has no checkpoint, or is not here any more; choose another model`);
  if (!isHere) setModel(null);
  const wanted = getModel() ?? models[0]?.key;
  const kinds = { weights: "weights that ship", file: "exported files", run: "runs" };
  const groups = Object.entries(kinds).map(([kind, label]) => [label, models.filter((each) => each.kind === kind)]);
  const model = el("select", { name: "model", onchange: () => setModel(model.value) }, groups.filter(([, of]) => of.length).map(([label, of]) => el("optgroup", { label }, of.map((each) => option(each.key, each.name, each.key === wanted)))));
  const votes = el("input", { type: "number", name: "votes", min: 1, max: about.limits.votes, value: 16 });
  const seconds = el("input", { type: "number", name: "seconds", min: 0, max: about.limits.seconds, value: 0 });
  const solve = el("button", { class: "primary" }, "Solve");
  const cancel = button("cancel", () => controller?.abort(), { hidden: true });
  const stop = button("stop learning", safely(() => post("/api/think/stop", { job })), { hidden: true });
  const state = el("p", { class: "note", "aria-live": "polite" }, models.length ? "" : "There is no model here: train a run, or name a file with hrm studio --model.");
  const progress = el("progress", { max: 1, value: 0, hidden: true, "aria-label": "progress" });
  const notes = el("ul", { class: "problems" });
  const results = el("div", { class: "results" });
  let [controller, job] = [null, null];
  root.append(
    el("div", { class: "think-body" },
      el("aside", { class: "panel" },
        el("form", { class: "fields", onsubmit: (event) => { event.preventDefault(); run(); } },
          el("label", { class: "wide" }, "model", model), el("label", {}, "votes", votes), el("label", {}, "learn first, seconds", seconds),
          el("div", { class: "actions wide" }, solve, stop, cancel)),
        progress, state, notes,
        el("div", { class: "shown" }, task.train.map((pair, number) => el("figure", {}, el("div", { class: "couple" }, picture(pair.input, { longest: 110, label: "input" }), el("span", { class: "arrow", "aria-hidden": "true" }, "→"), picture(pair.output, { longest: 110, label: "output" })), el("figcaption", {}, `demonstration ${number + 1}`)))),
        el("p", {}, el("a", { href: "#/editor" }, "change this task"), " or ", el("a", { href: "#/tasks" }, "choose another one"))),
      results),
  );
  const tests = task.test.map((test, index) => testView(test, index));
  results.append(...tests.map((each) => each.root));

  const run = safely(async () => {
    controller?.abort();
    controller = new AbortController();
    const mine = controller;
    [solve.disabled, cancel.hidden] = [true, false];
    notes.replaceChildren();
    tests.forEach((each) => each.clear());
    try {
      const order = { model: model.value, task: { id: task.id, ...asFile(task) }, votes: Number(votes.value), seconds: Number(seconds.value) };
      const response = await send("/api/think", order, mine.signal);
      let isDone = false;
      for await (const event of objects(response)) {
        isDone ||= event.event === "done" || event.event === "error";
        on(event);
      }
      if (!isDone) throw new Error("server: it ended before the job was done; start hrm studio again");
    } catch (error) {
      state.textContent = error.name === "AbortError" ? "cancelled" : "";
      if (error.name === "TypeError") throw new Error("server: it ended before the job was done; start hrm studio again");
      throw error;
    } finally {
      if (controller === mine) {
        [solve.disabled, cancel.hidden, stop.hidden, progress.hidden] = [false, true, true, true];
      }
    }
  });

  const heard = {
    job: (event) => (job = event.job),
    queued: (event) => (state.textContent = `waiting: ${count(event.before)} before this job`),
    loading: () => (state.textContent = "loading the model"),
    model: (event) => (state.textContent = `${event.model}, ${event.run}, step ${count(event.step)}: thinking`),
    note: (event) => notes.append(el("li", {}, event.text)),
    learning: (event) => {
      [stop.hidden, progress.hidden, progress.value] = [false, false, event.progress];
      state.textContent = `learning: step ${count(event.step)}, ${duration(event.seconds)}, loss ${short(event.loss)}, ${percent(event.exact_accuracy, 0)} of training samples exact`;
    },
    learned: (event) => {
      [stop.hidden, progress.hidden] = [true, true];
      state.textContent = event.stopped ? "stopped early: it answers with what was learned so far" : "learned: thinking";
    },
    segment: (event) => tests[event.test].segment(event),
    votes: (event) => {
      [progress.hidden, progress.value] = [false, event.done / event.of];
      state.textContent = `test ${event.test + 1}: ${count(event.done)} of ${count(event.of)} votes`;
      tests[event.test].votes(event);
    },
    answer: (event) => tests[event.test].answer(event),
    done: (event) => {
      event.tests.forEach((verdicts, place) => tests[place].compare(verdicts));
      notes.append(...event.warnings.map((text) => el("li", {}, text)));
      state.textContent = event.known ? "done; compared with the known answers" : "done; the answers are not known";
    },
    error: (event) => {
      state.textContent = "";
      say(`${event.where}: ${event.what}`);
    },
  };
  const on = (event) => heard[event.event]?.(event);
  return () => controller?.abort();
}

// The objects of an answer of one JSON object a line.
async function* objects(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const text of lines) if (text) yield JSON.parse(text);
  }
}

function testView(test, index) {
  const attempts = el("div", { class: "strip attempts" });
  const strip = el("div", { class: "strip" });
  const votes = el("div", { class: "strip" });
  const section = (title, body) => el("div", { class: "part", hidden: true }, el("h3", {}, title), body);
  const parts = { attempts: section("attempts", attempts), segments: section("the answer after each segment", strip), votes: section("votes", votes) };
  let given = [];
  const reveal = (name) => (parts[name].hidden = false);
  return {
    root: el("section", { class: "panel test" }, el("h2", {}, `test ${index + 1}`), el("div", { class: "test-body" }, el("figure", {}, picture(test.input, { longest: 220, label: "input" }), el("figcaption", {}, "input")), el("div", { class: "parts" }, parts.attempts, parts.segments, parts.votes))),
    clear() {
      for (const [part, body] of [[parts.attempts, attempts], [parts.segments, strip], [parts.votes, votes]]) {
        part.hidden = true;
        body.replaceChildren();
      }
    },
    segment({ segment, grid, halting, halted }) {
      reveal("segments");
      const bar = el("meter", { min: 0, max: 1, value: halting ?? 0, "aria-label": "halting probability" });
      strip.append(el("figure", { class: halted ? "halted" : "" }, grid ? picture(grid, { longest: 110, label: `segment ${segment}` }) : el("p", { class: "none" }, "no readable grid"), el("figcaption", {}, `segment ${segment}`, bar, `halting ${percent(halting, 0)}${halted ? ", the last one" : ""}`)));
    },
    votes({ done, of, candidates, different }) {
      reveal("votes");
      votes.replaceChildren(...candidates.map((each, place) => el("figure", {}, picture(each.grid, { longest: 90, label: `candidate ${place + 1}` }), el("figcaption", {}, el("meter", { min: 0, max: of, value: each.votes, "aria-label": `votes for candidate ${place + 1}` }), `${count(each.votes)} of ${count(done)}`))));
      if (different > candidates.length) votes.append(el("p", { class: "note" }, `and ${counted(different - candidates.length, "other answers")}`));
    },
    answer(event) {
      reveal("attempts");
      given = event.attempts;
      attempts.replaceChildren(...(given.length ? given.map((each, place) => attempt(each, place)) : [el("p", { class: "note" }, "no readable grid")]));
    },
    compare(verdicts) {
      attempts.replaceChildren(...(given.length ? given.map((each, place) => attempt(each, place, verdicts[place])) : [el("p", { class: "note" }, "no readable grid")]));
    },
  };
}

function attempt({ grid, share }, place, verdict = null) {
  const style = verdict?.right === true ? "good" : verdict?.right === false ? "bad" : "";
  return el("figure", { class: "attempt" }, picture(grid, { longest: 220, wrong: verdict?.wrong ?? [], label: `attempt ${place + 1}` }), el("figcaption", {}, `attempt ${place + 1}: ${percent(share, 0)} of the votes`, verdict ? el("strong", { class: style }, verdict.verdict) : null));
}
