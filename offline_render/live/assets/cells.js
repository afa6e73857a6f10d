// Cells of a page that were pressed: which run, in what order, and where their results stand.
(function () {
  "use strict";
  const live = window.handbookLive;
  const button = live.button;
  // WebAssembly beside the machine that made the book; longer than this is asked about
  const SLOWER = 2, LONG = 20;
  let cells = null, busy = null, session = -1;
  const byBlock = new Map();

  const made = (tag, name, words) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (words) element.textContent = words;
    return element;
  };
  const codeOf = (block) => block.querySelector("code").textContent.replace(/\n+$/, "");
  const same = (code) => code.replace(/\s+/g, " ").trim();
  const seconds = (count) => count < 90 ? `${Math.round(count)} seconds` : `${Math.round(count / 60)} minutes`;

  // A block of the page and its cell: in order, and of the same code.
  function cellOf(block) {
    if (byBlock.has(block)) return byBlock.get(block);
    const code = codeOf(block);
    const free = (cell) => !cell.block && same(cell.code) === same(code);
    let cell = cells.find(free);
    if (!cell) {
      // a block that the book doesn't run: a start of an exercise, a recipe
      cell = { label: "your code", code, defines: [], seconds: 0, alone: true, at: cells.length };
      const before = [...document.querySelectorAll("div.sourceCode")];
      cell.after = Math.max(-1, ...cells.filter((c) => c.block && before.indexOf(c.block) < before.indexOf(block)).map((c) => c.at));
    }
    Object.assign(cell, { block, printed: code, status: block.querySelector(".live-status") });
    byBlock.set(block, cell);
    return cell;
  }

  function known() {
    if (cells) return;
    cells = live.pageData.cells.map((cell, at) => ({ ...cell, at }));
    live.cells = cells;
    for (const block of document.querySelectorAll("div.sourceCode")) {
      if (block.querySelector(":scope > .live-tools")) cellOf(block);
    }
  }

  const words = (code) => new Set(code.match(/[^\W\d]\w*/gu) || []);
  const current = (cell) => cell.field ? cell.field.value : cell.code;
  const given = (cell) => {
    const code = current(cell);
    const own = code === cell.code ? [] : [...code.matchAll(/^\s*(?:def |class |import |from .* import )?([^\W\d]\w*)/gmu)].map((m) => m[1]);
    return new Set([...cell.defines, ...own]);
  };

  // The cells before one that give it, or give those that give it, a name.
  function needed(cell) {
    const out = [];
    let wanted = words(current(cell));
    for (let k = cell.alone ? cell.after : cell.at - 1; k >= 0; k--) {
      const before = cells[k];
      if (![...given(before)].some((one) => wanted.has(one))) continue;
      out.unshift(before);
      wanted = new Set([...wanted, ...words(current(before))]);
    }
    return out;
  }
  const stamp = (cell) => JSON.stringify([...needed(cell), cell].map((one) => [one.at, current(one)]));

  // Where a cell's printed results stand: what follows its code.
  function results(cell) {
    if (cell.results) return cell.results;
    const fold = cell.block.closest("details.code-fold");
    const at = fold || cell.block.closest(".code-copy-outer-scaffold") || cell.block;
    const place = made("div", "live-output");
    place.setAttribute("role", "group");
    place.setAttribute("aria-label", "Result of running this code here");
    place.hidden = true;
    const printed = [];
    for (let next = at.nextElementSibling; next; next = next.nextElementSibling) {
      const own = next.id === cell.label || next.querySelector(`[id="${cell.label}"]`);
      if (!own && !next.matches("[class*=cell-output]")) break;
      printed.push(next);
    }
    at.after(place);
    const float = printed.find((one) => one.matches("figure, .quarto-float") || one.querySelector("figure"));
    const texts = printed.filter((one) => one !== float);
    return cell.results = {
      place, texts,
      pictures: float ? [...float.querySelectorAll("img")] : [],
      tables: float ? [...float.querySelectorAll(".table-wrap, .hb-wide")] : [],
    };
  }

  function clear(cell) {
    const { place, texts, pictures, tables } = results(cell);
    place.replaceChildren();
    place.hidden = true;
    cell.figures = cell.shown = 0;
    for (const one of [...texts, ...pictures.map((p) => p.closest("a") || p), ...tables]) one.classList.remove("live-away");
    document.querySelectorAll(`[data-live="${cell.at}"]`).forEach((one) => one.remove());
    if (cell.field) return;
    cell.back?.remove();
    cell.back = null;
  }

  function swap(old, fresh, cell) {
    fresh.dataset.live = cell.at;
    fresh.classList.add("live-in-place");
    old.after(fresh);
    old.classList.add("live-away");
  }

  function show(cell, thing) {
    const { place, texts, pictures, tables } = results(cell);
    if (!cell.back) {
      cell.back = button("Back to the printed result", () => reset(cell), { className: "live-back" });
      cell.block.querySelector(".live-tools .live-status").before(cell.back);
    }
    texts.forEach((one) => one.classList.add("live-away"));
    if (thing.kind === "figure") {
      const image = made("img");
      image.src = URL.createObjectURL(new Blob([thing.svg], { type: "image/svg+xml" }));
      image.alt = "The figure as the code above draws it here.";
      const old = pictures[cell.figures];
      cell.figures += 1;
      if (old) { swap(old.closest("a") || old, image, cell); return; }
      place.append(image);
    } else if (thing.kind === "markdown") {
      const parts = marked(thing.text);
      const old = parts.length === 1 && tables[cell.shown];
      cell.shown += 1;
      if (old) { swap(old, parts[0], cell); return; }
      place.append(...parts);
    } else if (thing.kind === "error") {
      place.append(made("pre", "live-error", thing.text.trimEnd()));
      if (thing.absent) place.append(made("p", "", `${thing.absent} isn't part of the Python in this page, so this code needs a computer; the printed result stands.`));
    } else if (thing.kind === "text" || thing.kind === "value") {
      const last = place.lastElementChild;
      const text = thing.kind === "value" ? `${thing.text}\n` : thing.text;
      if (last?.matches(`pre[data-name="${thing.name || thing.kind}"]`)) last.textContent += text;
      else {
        const pre = made("pre", "live-text", text);
        pre.dataset.name = thing.name || thing.kind;
        place.append(pre);
      }
    }
    place.hidden = false;
    place.querySelectorAll("pre").forEach((pre) => { if (pre.scrollWidth > pre.clientWidth + 1) pre.tabIndex = 0; });
  }

  // What the book's tables and comparisons use of Markdown: pipes, words in bold, code, boxes.
  const plain = (text) => text.replace(/\\([\\|[\]*~^<`])/g, "$1");
  function inline(element, text) {
    for (const part of text.split(/(\*\*[^*]+\*\*|(?<!\\)\*[^*\s][^*]*(?<!\\)\*|`[^`]+`)/)) {
      if (part.startsWith("**") && part.length > 4) element.append(made("strong", "", plain(part.slice(2, -2))));
      else if (part.startsWith("*") && part.length > 2) element.append(made("em", "", plain(part.slice(1, -1))));
      else if (part.startsWith("`") && part.length > 2) element.append(made("code", "", part.slice(1, -1)));
      else element.append(plain(part));
    }
    return element;
  }

  function tabled(lines) {
    // a pipe in code, as in a formula, ends no cell
    const parted = (line) => line.replace(/(?<!\\)`[^`]*`/g, (code) => code.replaceAll("|", "\0")).split(/(?<!\\)\|/);
    const rows = lines.map((line) => parted(line.replace(/^\s*\||\|\s*$/g, "")).map((cell) => cell.trim().replaceAll("\0", "|")));
    const right = rows[1].map((mark) => mark.endsWith(":") && !mark.startsWith(":"));
    const table = made("table");
    const line = (entries, tag) => {
      const row = made("tr");
      entries.forEach((entry, k) => {
        const one = inline(made(tag), entry);
        if (tag === "th") one.scope = "col";
        if (right[k]) one.style.textAlign = "right";
        row.append(one);
      });
      return row;
    };
    const top = made("thead"), body = made("tbody");
    top.append(line(rows[0], "th"));
    body.append(...rows.slice(2).map((entries) => line(entries, "td")));
    table.append(top, body);
    const wrap = made("div", "table-wrap");
    wrap.append(table);
    return wrap;
  }

  function marked(text) {
    const out = [];
    let lines = [];
    const close = () => {
      if (lines.length > 1 && lines.every((line) => line.trim().startsWith("|"))) out.push(tabled(lines));
      else if (lines.length) out.push(inline(made("p"), lines.join(" ")));
      lines = [];
    };
    for (const line of text.split("\n")) {
      const box = line.match(/^:{3,}.*?title="([^"]*)"/);
      if (box) { close(); out.push(made("p", "live-title", box[1])); }
      else if (!line.trim() || /^:{3,}/.test(line)) close();
      else lines.push(line);
    }
    close();
    return out;
  }

  function reset(cell) {
    cell.field?.remove();
    cell.field = null;
    cell.block.querySelector("pre").hidden = false;
    clear(cell);
    cell.status.textContent = "The printed result stands here again.";
    cell.block.querySelector(".live-run").focus();
  }

  function edit(cell) {
    if (cell.field) { cell.field.focus(); return; }
    const pre = cell.block.querySelector("pre");
    const field = made("textarea", "live-code");
    field.value = cell.code.replace(/\n+$/, "");
    field.rows = field.value.split("\n").length;
    Object.assign(field, { spellcheck: false, autocapitalize: "off", autocomplete: "off", wrap: "off" });
    field.setAttribute("aria-label", "Code of this cell; Control and Enter runs it");
    field.addEventListener("input", () => { field.rows = field.value.split("\n").length; });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); press(cell); }
    });
    pre.hidden = true;
    pre.after(field);
    cell.field = field;
    if (!cell.back) {
      cell.back = button("Back to the printed result", () => reset(cell), { className: "live-back" });
      cell.status.before(cell.back);
    }
    field.focus();
  }

  // A question in place of a window: it stands where the status stands.
  const asks = (status, question) => new Promise((answer) => {
    const done = (value) => () => { status.replaceChildren(); answer(value); };
    const yes = button("Run it", done(true));
    status.replaceChildren(`${question} `, yes, " ", button("Leave it", done(false)));
    yes.focus();
  });

  async function press(cell) {
    await work(cell.status, [cell], cell);
  }

  async function work(status, chosen, focus) {
    if (busy) { status.textContent = "Other code is running; stop it first."; return; }
    const stopper = button("Stop", () => { busy.stopped = true; live.python.stop(); }, { className: "live-stop" });
    const tell = (text) => { status.textContent = text; };
    busy = { stopped: false };
    try {
      if (session !== live.python.session) { session = live.python.session; cells.forEach((one) => { one.ran = null; }); }
      const plan = [];
      for (const cell of chosen) {
        for (const one of [...needed(cell), cell]) {
          if (!plan.includes(one) && (one.ran !== stamp(one) || one === focus)) plan.push(one);
        }
      }
      const long = plan.reduce((sum, one) => sum + (current(one) === one.code ? one.seconds * SLOWER : 0), 0);
      if (long > LONG && !(await asks(status, `This takes about ${seconds(long)} here.`))) return;
      tell("");
      status.before(stopper);
      await live.python.start(tell);
      for (const [k, one] of plan.entries()) {
        tell(plan.length > 1 ? `Running ${k + 1} of ${plan.length} …` : "Running …");
        const visible = one.block && (chosen.includes(one) || one.field);
        if (visible) clear(one);
        let failed = null;
        await live.python.run(
          { code: current(one), label: one.label, width: one.width, height: one.height, quiet: one.quiet },
          (thing) => {
            if (thing.kind === "error") failed = thing;
            if (visible && thing.kind !== "done") show(one, thing);
          },
        );
        one.ran = failed ? null : stamp(one);
        if (visible && !failed && one !== focus) one.status.textContent = "Run here.";
        if (failed && !failed.absent && one !== chosen[chosen.length - 1] && !chosen.includes(one)) {
          if (one.block) show(one, failed);
          tell(`Code before this one failed (${one.label}): ${failed.text.trim().split("\n").pop()}`);
          return;
        }
        if (failed && focus === one) { tell("It stopped with an error."); return; }
      }
      tell(focus ? "Run here, in your browser." : "All code of this page ran here.");
    } catch (error) {
      if (busy.stopped) tell("Stopped. What ran before runs again when it is needed.");
      else tell(`Python stopped: ${error.message.split("\n").pop()} The printed results stand.`);
    } finally {
      stopper.remove();
      busy = null;
    }
  }

  live.pressed = async (block, what) => {
    known();
    if (!block) {
      document.querySelectorAll("details.code-fold").forEach((fold) => { fold.open = true; });
      await new Promise((done) => { setTimeout(done, 60); });
      for (const one of document.querySelectorAll("div.sourceCode")) {
        if (one.querySelector(":scope > .live-tools")) cellOf(one);
      }
      const status = document.querySelector(".live-page .live-status");
      work(status, cells.filter((cell) => cell.block || cell.hidden), null);
      return;
    }
    const cell = cellOf(block);
    if (what === "edit") { cell.status.textContent = ""; edit(cell); } else press(cell);
  };
})();
