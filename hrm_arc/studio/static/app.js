// The page: which view the address names, the color scheme, and what the server told of itself.

import { el, get, say } from "./dom.js";
import { setPalette } from "./grid.js";
import * as editor from "./editor.js";
import * as run from "./run.js";
import * as runs from "./runs.js";
import * as tasks from "./tasks.js";
import * as think from "./think.js";

const VIEWS = { runs, run, tasks, editor, think };
const TITLES = { runs: "Runs", run: "Run", tasks: "Tasks", editor: "Editor", think: "Think" };
const SCHEMES = ["auto", "light", "dark"];
let close = () => {};
let about = null;
let shown = 0;

// #/run?run=A&run=B: the view, and what it shows.
function place() {
  const [name, query] = location.hash.replace(/^#\/?/, "").split("?");
  return [name in VIEWS ? name : "runs", new URLSearchParams(query ?? "")];
}

async function show() {
  const [name, parameters] = place();
  const number = (shown += 1);
  close();
  close = () => {};
  say("");
  for (const link of document.querySelectorAll("header nav a")) {
    const isHere = link.getAttribute("href") === `#/${name === "run" ? "runs" : name}`;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[name]} - hrm studio`;
  const root = el("div", { class: `view ${name}` });
  document.getElementById("view").replaceChildren(root);
  try {
    const closing = await VIEWS[name].show(root, parameters, about);
    // Another view may have been opened while this one was read.
    if (number === shown) close = closing ?? (() => {});
    else closing?.();
  } catch (error) {
    if (number !== shown) return;
    say(error.message);
    root.append(el("p", { class: "empty" }, error.message));
  }
}

function scheme() {
  const switcher = document.getElementById("theme");
  const use = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    switcher.textContent = name;
    switcher.setAttribute("aria-label", `color scheme: ${name === "auto" ? "as the system" : name}`);
  };
  let name = "auto";
  try {
    const kept = localStorage.getItem("hrm-studio-scheme");
    if (SCHEMES.includes(kept)) name = kept;
  } catch {
    // A browser that keeps nothing of this page still shows it.
  }
  use(name);
  switcher.addEventListener("click", () => {
    name = SCHEMES[(SCHEMES.indexOf(name) + 1) % SCHEMES.length];
    use(name);
    try {
      localStorage.setItem("hrm-studio-scheme", name);
    } catch {
      // It lasts as long as the page.
    }
  });
}

scheme();
// An address of its own would be the name of a view.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("view").focus();
});
about = await get("/api/about").catch((error) => say(error.message));
if (about) {
  setPalette(about.palette);
  addEventListener("hashchange", show);
  await show();
}
