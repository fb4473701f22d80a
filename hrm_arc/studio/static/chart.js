// One metric over steps, as SVG: a line for each run, points for validations, zoom by dragging or keys.

import { el, svg } from "./dom.js";
import { count, prefixed, short } from "./numbers.js";

// In place of a value, so that the others stay in theirs.
const NO_VALUE = "–";
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [380, 190, 46, 10, 10, 24];

// lines: [{name, train: [steps, values, means], validation: [steps, values]}], a line for each run.
export function chart({ title, scale, prefixes, lines, baselines = [], domain, onzoom }) {
  const values = lines.flatMap(({ train, validation }) => [...within(train[0], train[2] ?? train[1], domain), ...within(validation[0], validation[1], domain)]);
  const all = [...values, ...baselines.map((each) => each.value)];
  // No value at all has no logarithm either.
  const isLog = scale === "log" && all.length > 0 && all.every((value) => value > 0);
  const [low, high] = bounds(all, isLog);
  const up = isLog ? Math.log : (value) => value;
  const x = (step) => LEFT + ((step - domain[0]) / (domain[1] - domain[0] || 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - ((up(value) - up(low)) / (up(high) - up(low) || 1)) * (HEIGHT - TOP - BOTTOM);
  const marks = isLog ? logTicks(low, high) : ticks(low, high, 4);
  // So many digits that no two ticks read the same.
  const digits = [3, 4, 5, 6].find((each) => new Set(marks.map((tick) => short(tick, each))).size === marks.length) ?? 7;
  const label = (value) => (prefixes ? prefixed(value, digits) : short(value, digits));
  const drawing = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: 0, role: "img", "aria-label": `${title}: ${summary(lines, label)}` });
  for (const tick of marks) {
    drawing.append(
      svg("path", { class: "rule", d: `M${LEFT} ${y(tick).toFixed(1)}H${WIDTH - RIGHT}` }),
      svg("text", { class: "tick", x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, label(tick)),
    );
  }
  for (const tick of ticks(...domain, 4)) {
    if (x(tick) > WIDTH - RIGHT + 1) continue;
    drawing.append(svg("text", { class: "tick", x: x(tick), y: HEIGHT - 7, "text-anchor": "middle" }, prefixed(tick)));
  }
  for (const { name, value } of baselines) {
    drawing.append(svg("path", { class: "baseline", d: `M${LEFT} ${y(value).toFixed(1)}H${WIDTH - RIGHT}` }, svg("title", {}, name)));
  }
  lines.forEach(({ train, validation }, number) => {
    const [steps, raw, means] = train;
    if (means && lines.length === 1) drawing.append(path(steps, raw, x, y, domain, `line raw c${number}`));
    drawing.append(path(steps, means ?? raw, x, y, domain, `line c${number}`));
    validation[0].forEach((step, place) => {
      if (step >= domain[0] && step <= domain[1]) {
        drawing.append(svg("circle", { class: `point c${lines.length === 1 ? 1 : number}`, cx: x(step).toFixed(1), cy: y(validation[1][place]).toFixed(1), r: 3 }));
      }
    });
  });
  const readout = el("output", { class: lines.length > 3 ? "readout long" : "readout" }, last(lines, label));
  interact(drawing, { domain, lines, label, readout, onzoom, x });
  return el("figure", { class: "chart-box" }, el("figcaption", {}, el("span", {}, title), readout), drawing);
}

const within = (steps, values, [first, final]) => values.filter((_, place) => steps[place] >= first && steps[place] <= final);

function path(steps, values, x, y, [first, final], style) {
  let drawn = "";
  steps.forEach((step, place) => {
    if (step >= first && step <= final) drawn += `${drawn ? "L" : "M"}${x(step).toFixed(1)} ${y(values[place]).toFixed(1)}`;
  });
  return svg("path", { class: style, d: drawn });
}

function bounds(values, isLog) {
  if (!values.length) return [0, 1];
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (isLog) return low === high ? [low / 2, high * 2] : [low, high];
  if (low >= 0 && low < high / 2) low = 0;
  const gap = (high - low || Math.abs(high) || 1) * 0.06;
  return [low === 0 ? 0 : low - gap, high + gap];
}

function ticks(low, high, most) {
  const raw = (high - low) / most || 1;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = size * [1, 2, 5, 10].find((each) => each * size >= raw);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step) found.push(Number(tick.toPrecision(12)));
  return found;
}

function logTicks(low, high) {
  const all = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const each of [1, 2, 5]) if (each * 10 ** power >= low * 0.999 && each * 10 ** power <= high * 1.001) all.push(each * 10 ** power);
  }
  // A range within one decade may have none of these.
  return all.length < 2 ? ticks(low, high, 3) : all.filter((_, place) => place % Math.ceil(all.length / 5) === 0);
}

const summary = (lines, label) => lines.map((each) => `${each.name} ${last([each], label)}`).join(", ");

function last(lines, label) {
  return lines
    .map(({ train, validation }) => (train[1].length ? (train[2] ?? train[1]) : validation[1]).at(-1))
    .map((value) => (value === undefined ? NO_VALUE : label(value)))
    .join("  ");
}

function interact(drawing, { domain, lines, label, readout, onzoom, x }) {
  const ofEvent = (event) => {
    const box = drawing.getBoundingClientRect();
    const share = (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT);
    return domain[0] + Math.max(0, Math.min(1, share)) * (domain[1] - domain[0]);
  };
  const band = svg("rect", { class: "band", y: TOP, height: HEIGHT - TOP - BOTTOM, width: 0 });
  const hair = svg("path", { class: "hair", d: "" });
  drawing.append(band, hair);
  let from = null;
  drawing.addEventListener("pointerdown", (event) => {
    from = ofEvent(event);
    drawing.setPointerCapture(event.pointerId);
  });
  drawing.addEventListener("pointermove", (event) => {
    const here = ofEvent(event);
    const step = Math.round(here);
    hair.setAttribute("d", `M${x(here).toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}`);
    readout.textContent = `step ${count(step)}: ${lines.map((each) => nearest(each, step, label)).join("  ")}`;
    if (from !== null) {
      band.setAttribute("x", Math.min(x(from), x(here)));
      band.setAttribute("width", Math.abs(x(here) - x(from)));
    }
  });
  drawing.addEventListener("pointerup", (event) => {
    const here = ofEvent(event);
    const start = from;
    from = null;
    band.setAttribute("width", 0);
    if (start !== null && Math.abs(x(here) - x(start)) > 6) onzoom([Math.min(start, here), Math.max(start, here)]);
  });
  drawing.addEventListener("pointerleave", () => {
    hair.setAttribute("d", "");
    readout.textContent = last(lines, label);
  });
  drawing.addEventListener("dblclick", () => onzoom(null));
  drawing.addEventListener("keydown", (event) => {
    const [first, final] = domain;
    const span = final - first;
    const move = Math.max(1, span / 4);
    const moves = {
      "+": [first + span / 4, final - span / 4],
      "=": [first + span / 4, final - span / 4],
      "-": [first - span / 2, final + span / 2],
      ArrowLeft: [first - move, final - move],
      ArrowRight: [first + move, final + move],
      Escape: null,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    onzoom(moves[event.key]);
  });
}

function nearest({ train, validation }, step, label) {
  const [steps, values] = train[0].length ? [train[0], train[2] ?? train[1]] : validation;
  // Beyond the first and the last step of a run nothing is known.
  if (!steps.length || step < steps[0] || step > steps.at(-1)) return NO_VALUE;
  let best = 0;
  steps.forEach((each, place) => {
    if (Math.abs(each - step) < Math.abs(steps[best] - step)) best = place;
  });
  return label(values[best]);
}
