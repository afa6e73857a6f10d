/* The assessment: done when every question is right and the reflection is written.
 *
 * quiz.js keeps the answers and says after each change how far the reader is ("hb-progress"); this
 * file says what is missing and, at the end, makes a summary to print. */
(() => {
  "use strict";

  const block = [...document.querySelectorAll(".hb-assessment")].pop(); // one for each section
  if (!block) return;
  const LEAST_WORDS = 30; // of the reflection
  const DONE = "handbook-assessment-done";

  const words = (text) => text.trim().split(/\s+/).filter(Boolean).length;

  function make(tag, className, text = "") {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    return element;
  }

  // A summary needs no server: it is a section that prints alone.
  const panel = make("section", "hb-finish");
  panel.setAttribute("aria-label", "Completion");
  const state = make("p", "hb-state");
  state.setAttribute("role", "status");
  const field = make("label", "hb-name", "Name on the summary (not kept) ");
  const name = Object.assign(document.createElement("input"), { type: "text", autocomplete: "name" });
  field.append(name);
  const actions = make("div", "hb-actions");
  const print = Object.assign(make("button", "hb-print", "Print the summary"), { type: "button" });
  actions.append(print);
  const summary = make("div", "hb-summary");
  panel.append(make("p", "hb-kicker", "Completion"), state, field, actions, summary);
  block.append(panel);

  function finishedOn(complete) {
    try {
      if (!complete) localStorage.removeItem(DONE);
      else if (!localStorage.getItem(DONE)) localStorage.setItem(DONE, new Date().toISOString());
      return localStorage.getItem(DONE);
    } catch {
      return complete ? new Date().toISOString() : null; // storage is shut
    }
  }

  function describe({ questions, reflections }, day) {
    const book = document.querySelector("meta[name=handbook]")?.content
      ?? document.title.split(" – ").pop(); // Quarto's title of a page ends with the book's
    const title = document.querySelector("h1").innerText.trim().replace(/\s+/g, " ");
    summary.replaceChildren(make("p", "hb-book", book), make("h2", "", title));
    const who = name.value.trim();
    summary.append(make("p", "", `${who ? `${who}, c` : "C"}ompleted on ${day}: `
      + `${questions.length} of ${questions.length} questions right, reflection written.`));
    const list = make("ol", "");
    for (const question of questions) list.append(make("li", "", `✓ ${question.text}`));
    summary.append(list);
    for (const reflection of reflections) {
      summary.append(make("h3", "", reflection.text), make("blockquote", "", reflection.answer));
    }
  }

  let latest;
  function update(progress) {
    latest = progress;
    const right = progress.questions.filter((question) => question.right).length;
    const open = progress.questions.length - right;
    const short = progress.reflections.filter((r) => words(r.answer) < LEAST_WORDS).length;
    const complete = open === 0 && short === 0;
    const since = finishedOn(complete);
    field.hidden = actions.hidden = summary.hidden = !complete;
    if (complete) {
      const day = new Date(since).toLocaleDateString("en-GB", { dateStyle: "long" });
      state.textContent = `Done on ${day}: every question is right and the reflection is written.`;
      describe(progress, day);
      return;
    }
    const missing = [];
    if (open) missing.push(open === 1 ? "1 question" : `${open} questions`);
    if (short) missing.push(`the reflection (${LEAST_WORDS} words or more)`);
    state.textContent = `Still open: ${missing.join(" and ")}.`;
  }

  name.addEventListener("input", () => update(latest));
  print.addEventListener("click", () => {
    document.documentElement.classList.add("hb-printing");
    window.print();
  });
  addEventListener("afterprint", () => document.documentElement.classList.remove("hb-printing"));
  document.addEventListener("hb-progress", (event) => update(event.detail));
})();
