/* Self-checks of the handbook: choose, check, see why, try again.
 *
 * Without this file every answer stands in a fold under its question. With it, the fold's
 * explanations move under the options and open when an answer is checked. Answers are kept under
 * one key of the browser's own storage and go nowhere else. */
(() => {
  "use strict";

  const STORE = "handbook-quiz";
  const YES = '<span aria-hidden="true">✓</span> ';
  const REASONS = "The reasons stand under the options.";
  const NO = '<span aria-hidden="true">✗</span> ';

  // What the browser remembers: {questions: {key: {choice, right}}, reflections: {key: text},
  // exercises: {key: {given, right}}}

  const empty = () => ({ questions: {}, reflections: {}, exercises: {} });
  let memory = empty();
  try {
    const kept = JSON.parse(localStorage.getItem(STORE));
    for (const part of Object.keys(memory)) {
      if (kept?.[part] && typeof kept[part] === "object") memory[part] = { ...kept[part] };
    }
  } catch {
    // Storage is shut or its content unreadable: the page then remembers until it is left.
  }

  function remember() {
    const nothing = Object.values(memory).every((part) => Object.keys(part).length === 0);
    try {
      if (nothing) localStorage.removeItem(STORE);
      else localStorage.setItem(STORE, JSON.stringify(memory));
    } catch {
      // See above.
    }
    panel?.update();
  }

  function make(tag, className, html = "") {
    const element = document.createElement(tag);
    element.className = className;
    element.innerHTML = html;
    return element;
  }

  /** The text of an element as a reader sees it: MathML carries its TeX a second time. */
  function wordsOf(element) {
    const copy = element.cloneNode(true);
    for (const source of copy.querySelectorAll("annotation")) source.remove();
    return copy.textContent.trim();
  }

  // One question

  function liven(quiz) {
    const key = quiz.dataset.hbKey;
    const form = quiz.querySelector(".hb-form");
    const feedback = quiz.querySelector(".hb-feedback");
    const again = quiz.querySelector(".hb-again");
    const fold = quiz.querySelector(".hb-answer");
    const options = [...quiz.querySelectorAll(".hb-option")].map((element) => {
      const input = element.querySelector("input");
      input.hidden = input.disabled = false;
      return { element, input, why: null, right: element.dataset.hbRight === "true" };
    });
    const multiple = options[0].input.type === "checkbox";
    fold.remove();

    // Each reason goes under its option; one renderer keeps them as text until they are asked for.
    function explain() {
      const held = fold.querySelector("noscript");
      if (held) fold.innerHTML = held.textContent;
      for (const option of options) {
        option.why = fold.querySelector(`#${CSS.escape(option.input.id)}-why`);
        option.why.hidden = true;
        option.element.append(option.why);
        if (held) option.why.dispatchEvent(new Event("hb-unfold", { bubbles: true }));
      }
    }
    if (!fold.querySelector("noscript")) explain();
    const text = wordsOf(quiz.querySelector(".hb-question"));
    const show = quiz.querySelector(".hb-show");
    show.hidden = quiz.closest(".hb-assessment") !== null; // there the reader finds the answer
    quiz.querySelector(".hb-actions").hidden = false;
    quiz.classList.add("hb-live");

    // The reasons stand on the page already; a screen reader hears them with the verdict.
    function say(kind, html, reasons = []) {
      feedback.className = `hb-feedback ${kind}`;
      feedback.innerHTML = html;
      if (!reasons.length) return;
      const aloud = make("span", "hb-aloud");
      for (const option of reasons) {
        aloud.textContent += ` ${wordsOf(option.why)}`;
      }
      feedback.append(aloud);
    }

    function reveal(shown) {
      if (shown.length && !options[0].why) explain();
      for (const option of options) {
        if (!option.why) continue;
        const open = shown.includes(option);
        option.why.hidden = !open;
        option.element.classList.toggle("hb-is-right", open && option.right);
        option.element.classList.toggle("hb-is-wrong", open && !option.right);
        if (open) option.input.setAttribute("aria-describedby", option.why.id);
        else option.input.removeAttribute("aria-describedby");
      }
      again.hidden = shown.length === 0;
    }

    function clear() {
      reveal([]);
      say("", "");
    }

    function judge() {
      const chosen = options.filter((option) => option.input.checked);
      const wrong = chosen.filter((option) => !option.right).length;
      const missing = options.filter((option) => option.right && !option.input.checked).length;
      const right = wrong === 0 && missing === 0;
      if (right) {
        reveal(options);
        say("hb-good", `${YES}<strong>Right.</strong> ${REASONS}`, chosen);
      } else {
        reveal(chosen);
        let verdict = "<strong>Not right.</strong> Read why under your choice, then try again.";
        if (multiple) {
          const found = chosen.length - wrong;
          verdict = `<strong>Not yet.</strong> You chose ${found} of the ${found + missing}`;
          verdict += " right options";
          verdict += wrong ? ` and ${wrong} that ${wrong === 1 ? "is" : "are"} not right.` : ".";
        }
        say("hb-bad", NO + verdict, chosen);
      }
      return { choice: chosen.map((option) => option.input.value), right };
    }

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!options.some((option) => option.input.checked)) {
        say("", "Choose an option first.");
        return;
      }
      const { choice, right } = judge();
      memory.questions[key] = { choice, right: right || memory.questions[key]?.right === true };
      remember();
    });
    form.addEventListener("change", clear);
    again.addEventListener("click", () => {
      form.reset();
      clear();
      options[0].input.focus();
    });
    show.addEventListener("click", () => {
      const right = options.filter((option) => option.right).map((option) => option.input.value);
      reveal(options);
      say("", `Right: <strong>${right.join(", ")}</strong>. ${REASONS}`);
    });

    function restore() {
      form.reset();
      clear();
      const choice = [memory.questions[key]?.choice ?? []].flat();
      for (const option of options) option.input.checked = choice.includes(option.input.value);
      if (choice.length) judge();
    }
    restore();
    return { key, text, restore };
  }

  // One reflection: a place to write before the model answer is opened

  function listen(reflection) {
    const key = reflection.dataset.hbKey;
    const note = '<span class="hb-note">Your answer, kept in this browser only</span>';
    const label = make("label", "hb-write", note);
    const text = make("textarea", "");
    text.rows = 4;
    label.append(text);
    reflection.querySelector(".hb-model").before(label);
    text.addEventListener("input", () => {
      if (text.value.trim()) memory.reflections[key] = text.value;
      else delete memory.reflections[key];
      remember();
    });
    function restore() {
      text.value = memory.reflections[key] ?? "";
    }
    restore();
    const question = wordsOf(reflection.querySelector(".hb-question"));
    return { key, text: question, restore };
  }

  // The score of the page, and the way to forget it

  let panel;

  function score(quizzes, reflections, exercises) {
    const element = make("section", "hb-score", `
      <p class="hb-kicker">Your answers</p>
      <p class="hb-count"></p>
      <div class="hb-bar" aria-hidden="true"><span></span></div>
      <p class="hb-note">Kept in this browser only.</p>
      <div class="hb-actions">
        <button type="button" class="hb-reset-page">Reset this page</button>
      </div>
      <p class="hb-feedback" role="status" aria-live="polite"></p>
      <div class="hb-actions hb-whole-book">
        <button type="button" class="hb-reset-book">Reset the whole book …</button>
        <div class="hb-ask" role="group" aria-label="Reset the whole book" hidden>
          <p class="hb-count-book"></p>
          <button type="button" class="hb-keep">Keep them</button>
          <button type="button" class="hb-forget">Forget all of them</button>
        </div>
      </div>`);
    element.setAttribute("aria-label", "Your answers");
    const status = element.querySelector(".hb-feedback");

    function update() {
      const right = quizzes.filter((quiz) => memory.questions[quiz.key]?.right).length;
      const count = element.querySelector(".hb-count");
      const done = exercises.filter((exercise) => memory.exercises[exercise.key]?.right).length;
      const all = quizzes.length + exercises.length;
      count.innerHTML = `<strong>${right} of ${quizzes.length}</strong> right on this page`;
      if (exercises.length) {
        count.innerHTML = `<strong>${right} of ${quizzes.length}</strong> questions and `
          + `<strong>${done} of ${exercises.length}</strong> checks of exercises right on this page`;
      }
      count.hidden = element.querySelector(".hb-bar").hidden = all === 0;
      const share = (right + done) / Math.max(all, 1);
      element.querySelector(".hb-bar span").style.inlineSize = `${100 * share}%`;
      status.textContent = "";
      document.dispatchEvent(new CustomEvent("hb-progress", { detail: {
        questions: quizzes.map(({ key, text }) => (
          { text, right: memory.questions[key]?.right === true })),
        reflections: reflections.map(({ key, text }) => (
          { text, answer: memory.reflections[key] ?? "" })),
      } }));
    }

    function restoreAll() {
      for (const item of [...quizzes, ...reflections, ...exercises]) item.restore();
      update();
    }

    function reset(forget, said) {
      forget();
      remember();
      restoreAll();
      status.textContent = said;
    }
    element.querySelector(".hb-reset-page").addEventListener("click", () => reset(() => {
      for (const quiz of quizzes) delete memory.questions[quiz.key];
      for (const reflection of reflections) delete memory.reflections[reflection.key];
      for (const exercise of exercises) delete memory.exercises[exercise.key];
    }, "The answers of this page are forgotten."));

    // What was answered in weeks goes with a second, deliberate press only.
    const opener = element.querySelector(".hb-reset-book");
    const ask = element.querySelector(".hb-ask");
    function asking(open) {
      ask.hidden = !open;
      opener.hidden = open;
      (open ? ask.querySelector(".hb-keep") : opener).focus();
    }
    opener.addEventListener("click", () => {
      const count = (part) => Object.keys(memory[part]).length;
      if (!Object.keys(memory).some(count)) {
        status.textContent = "No answers are kept yet.";
        return;
      }
      const some = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
      ask.querySelector(".hb-count-book").textContent = "This forgets what you answered in every "
        + `chapter: ${some(count("questions"), "question")}, `
        + `${some(count("reflections"), "reflection")} and `
        + `${some(count("exercises"), "exercise")}. It can't be undone.`;
      status.textContent = "";
      asking(true);
    });
    ask.querySelector(".hb-keep").addEventListener("click", () => asking(false));
    ask.addEventListener("keydown", (event) => { if (event.key === "Escape") asking(false); });
    ask.querySelector(".hb-forget").addEventListener("click", () => {
      asking(false);
      reset(() => { memory = empty(); }, "All answers of the book are forgotten.");
    });
    update();
    return { element, update };
  }

  const items = document.querySelectorAll(".hb-quiz, .hb-reflection, .hb-exercise[data-hb-key]");
  if (items.length) {
    const quizzes = [...document.querySelectorAll(".hb-quiz")].map(liven);
    const reflections = [...document.querySelectorAll(".hb-reflection")].map(listen);
    const asked = { exercises: [], answers: () => memory.exercises, remember };
    document.dispatchEvent(new CustomEvent("hb-exercises", { detail: asked }));
    panel = score(quizzes, reflections, asked.exercises);
    items[items.length - 1].after(panel.element);
  }
})();
