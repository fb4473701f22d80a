// Shows the answers that fit every filter. A link marked "pick" sets one filter and goes to the gallery.
(() => {
  const form = document.querySelector("form.filters");
  const answers = [...document.querySelectorAll("section.answer")];
  const fits = (answer, wanted) =>
    (!wanted.outcome || answer.dataset.outcome === wanted.outcome) &&
    (!wanted.error || answer.dataset.error === wanted.error) &&
    (!wanted.group || answer.dataset.groups.includes("|" + wanted.group + "|")) &&
    answer.dataset.task.toLowerCase().includes(wanted.task.trim().toLowerCase());
  const show = () => {
    const wanted = Object.fromEntries(new FormData(form));
    let shown = 0;
    for (const answer of answers) {
      answer.hidden = !fits(answer, wanted);
      shown += !answer.hidden;
    }
    form.querySelector("output").textContent = shown + " of " + answers.length + " test outputs";
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const link of document.querySelectorAll("a.pick")) {
    link.addEventListener("click", () => {
      form.reset();
      form.elements[link.dataset.filter].value = link.textContent;
      show();
    });
  }
  show();
})();
