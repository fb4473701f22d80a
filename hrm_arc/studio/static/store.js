// The task that the editor and the thinking model work on, which is kept while the tab is open, and the key of the model.

const KEY = "hrm-studio-task";

let current = null;
let wanted = null;

export const getModel = () => wanted;
export const setModel = (key) => (wanted = key);

export function getCurrent() {
  if (current) return current;
  try {
    current = JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    current = null;
  }
  return current;
}

// A test of the page's task has beside its output, which may be null, the answer by hand.
export function setCurrent(task, source = "") {
  current = { source, ...task };
  try {
    sessionStorage.setItem(KEY, JSON.stringify(current));
  } catch {
    // A full store keeps nothing, and the task is still open.
  }
  return current;
}

// The usual JSON of a task; outputs that are not known are left out.
export const asFile = (task) => ({
  train: task.train.map(({ input, output }) => ({ input, output })),
  test: task.test.map(({ input, output }) => (output ? { input, output } : { input })),
});
