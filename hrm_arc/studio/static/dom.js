// Elements, requests and messages. Text is only ever set as text: nothing from a file becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name in element && typeof value === "boolean") element[name] = value;
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export const button = (label, onclick, attributes = {}) => el("button", { type: "button", onclick, ...attributes }, label);

const RELEASES = ["pointerup", "pointercancel"];
let isPressed = false;
addEventListener("pointerdown", () => (isPressed = true), true);
for (const type of RELEASES) addEventListener(type, () => (isPressed = false), true);

// Calls a function once a click that is under way has arrived.
export function afterClick(call) {
  if (!isPressed) return setTimeout(call);
  const released = new AbortController();
  const soon = () => { released.abort(); setTimeout(call); };
  for (const type of RELEASES) addEventListener(type, soon, { signal: released.signal });
}

export function option(value, label, selected = false) {
  return el("option", { value, selected }, label);
}

export class ServerError extends Error {
  constructor(error, status) {
    super(`${error.where}: ${error.what}`);
    this.where = error.where;
    this.status = status;
  }
}

// Milliseconds until a server that has refused is asked again.
const RETRY = 3000;
const GONE = { where: "server", what: "it does not answer; was hrm studio ended? Start it again and reload this page" };

export async function failure(response) {
  try {
    return new ServerError((await response.json()).error, response.status);
  } catch {
    return new ServerError({ where: "server", what: `status ${response.status}` }, response.status);
  }
}

async function answered(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(GONE, 0);
  }
  if (!response.ok) throw await failure(response);
  return response;
}

export async function get(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) for (const each of [value].flat()) query.append(name, each);
  return (await answered(query.size ? `${path}?${query}` : path)).json();
}

export const send = (path, data, signal) =>
  answered(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data), signal });

export const post = async (path, data) => (await send(path, data)).json();

// The objects of server-sent events, and whether each is whole or only what has changed; nothing is asked while the page is
// hidden. While the server does not answer, root has the class "lost" and the page says so. Returns a function that ends it.
export function follow(path, root, onmessage) {
  let source = null;
  let again = 0;
  let asked = null;
  const found = () => {
    if (!root.classList.contains("lost")) return;
    root.classList.remove("lost");
    say("");
  };
  const lost = () => {
    root.classList.add("lost");
    say(new ServerError(GONE, 0).message);
    // A browser asks again by itself where the connection ended, but not where the server refused.
    if (source.readyState === EventSource.CLOSED) refused();
  };
  const refused = async () => {
    const [mine, own] = [source, new AbortController()];
    asked = own;
    let reason = null;
    try {
      const response = await fetch(path, { signal: own.signal });
      if (response.status >= 400 && response.status < 500) reason = await failure(response);
    } catch {
      // It does not answer at all.
    } finally {
      own.abort();
    }
    // The view may have been left, or its stream opened anew.
    if (source !== mine) return;
    if (reason) say(reason.message);
    else again = setTimeout(open, RETRY);
  };
  const open = () => {
    source = new EventSource(path);
    source.onmessage = (event) => {
      found();
      const content = JSON.parse(event.data);
      if (content.problem) say(`${content.problem.where}: ${content.problem.what}`);
      else onmessage(content.content, content.whole === true);
    };
    source.onerror = lost;
  };
  const close = () => {
    clearTimeout(again);
    asked?.abort();
    source?.close();
    source = null;
  };
  const change = () => {
    if (document.hidden) close();
    else if (!source) open();
  };
  document.addEventListener("visibilitychange", change);
  change();
  return () => {
    document.removeEventListener("visibilitychange", change);
    close();
  };
}

// Replaces what an element holds. The keyboard's focus stays on its control. If that was drawn anew, it is the one with the
// same name, of the same run; if there is none, the one at the same place.
export function redraw(element, children) {
  const active = document.activeElement;
  const run = runOf(active);
  const controls = () => [...element.querySelectorAll(CONTROLS)].filter((each) => runOf(each) === run && !each.disabled);
  const before = controls();
  const place = before.indexOf(active);
  const named = (all) => all.filter((each) => nameOf(each) === nameOf(active));
  const number = named(before).indexOf(active);
  element.replaceChildren(...children);
  if (place < 0) return;
  const after = controls();
  (active.isConnected ? active : (named(after)[number] ?? after[Math.min(place, after.length - 1)]))?.focus({ preventScroll: true });
}

const CONTROLS = "a, button, input, select, textarea, svg[tabindex], canvas[tabindex]";
const runOf = (element) => element?.closest("[data-run]")?.dataset.run;
const nameOf = (control) => control.dataset.control ?? control.getAttribute("aria-label") ?? control.textContent;

let quiet;
export function say(message, isError = true) {
  const line = document.getElementById("message");
  line.textContent = message;
  line.classList.toggle("bad", isError);
  line.hidden = !message;
  clearTimeout(quiet);
  if (message && !isError) quiet = setTimeout(() => (line.hidden = true), 4000);
}

// Runs a handler; what goes wrong becomes a line that people can read.
export const safely = (handler) => async (...values) => {
  try {
    say("");
    return await handler(...values);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
    return undefined;
  }
};
