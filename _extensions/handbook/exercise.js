/* The check of an exercise: a number within a tolerance, or a decision.
 *
 * quiz.js keeps the answers, and asks for the exercises of the page when it starts
 * ("hb-exercises"); this file brings their checks to life. */
(() => {
  "use strict";

  const TRIES = 2; // then the hint is offered
  const YES = '<span aria-hidden="true">✓</span> <strong>Right.</strong> ';
  const NOT_YET = '<span aria-hidden="true">✗</span> <strong>Not yet.</strong> ';

  /** What a typed number may mean: a comma marks decimals or thousands. */
  function numbersIn(typed, unit) {
    let text = typed.trim().replace(/[−–]/g, "-").replace(/[\s\u00a0\u202f]/g, "");
    const tail = (unit ?? "").replace(/\s/g, "");
    if (tail && text.endsWith(tail)) text = text.slice(0, -tail.length);
    const readings = [text.replaceAll(",", ""), text.replace(",", ".")];
    if (!/^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$/.test(text)) readings.shift();
    return readings.filter((one) => /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(one)).map(Number);
  }

  function liven(exercise, kept) {
    const key = exercise.dataset.hbKey;
    const form = exercise.querySelector(".hb-own");
    const answer = form.dataset.hbAnswer;
    const field = form.querySelector(".hb-field");
    const inputs = [...form.querySelectorAll("input")];
    const feedback = form.querySelector(".hb-feedback");
    const toHint = form.querySelector(".hb-to-hint");
    const hint = exercise.querySelector(".hb-hint");
    let wrong = 0;

    if (field) field.hidden = false;
    else for (const input of inputs) input.hidden = input.disabled = false;
    form.querySelector(".hb-actions").hidden = false;
    exercise.classList.add("hb-live");

    function say(kind, html) {
      feedback.className = `hb-feedback ${kind}`;
      feedback.innerHTML = html;
    }

    const given = () => (field ? inputs[0].value.trim()
      : inputs.filter((input) => input.checked).map((input) => input.value).join(","));

    /** Whether what is given is right; null where it is no answer. */
    function judged() {
      if (!field) return given() ? given() === answer : null;
      const unit = form.querySelector(".hb-unit")?.textContent;
      const numbers = numbersIn(given(), unit);
      if (!numbers.length) return null;
      // what stands in binary differs in the last digit from what is typed
      const within = Number(form.dataset.hbWithin) + 1e-9 * Math.max(1, Math.abs(answer));
      return numbers.some((number) => Math.abs(number - answer) <= within);
    }

    function show(right) {
      if (right) {
        say("hb-good", `${YES}The solution says why.`);
        return;
      }
      const more = wrong < TRIES ? "Try again."
        : hint ? "The hint may help; then try again."
          : "The solution shows one way.";
      say("hb-bad", NOT_YET + more);
      if (toHint) toHint.hidden = wrong < TRIES || hint.open;
    }

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const right = judged();
      if (right === null) {
        say("", field ? "Type a number first." : "Choose an option first.");
        return;
      }
      if (!right) wrong += 1;
      show(right);
      const before = kept.answers()[key]?.right === true;
      kept.answers()[key] = { given: given(), right: right || before };
      kept.remember();
    });
    form.addEventListener("input", () => say("", ""));
    toHint?.addEventListener("click", () => {
      hint.open = true;
      hint.querySelector("summary").focus();
    });

    function restore() {
      form.reset();
      say("", "");
      wrong = 0;
      if (toHint) toHint.hidden = true;
      const old = String(kept.answers()[key]?.given ?? "");
      if (!old) return;
      if (field) inputs[0].value = old;
      else for (const input of inputs) input.checked = old.split(",").includes(input.value);
      const right = judged();
      if (right !== null) show(right);
    }
    restore();
    return { key, restore };
  }

  document.addEventListener("hb-exercises", (event) => {
    for (const exercise of document.querySelectorAll(".hb-exercise[data-hb-key]")) {
      event.detail.exercises.push(liven(exercise, event.detail));
    }
  });
})();
