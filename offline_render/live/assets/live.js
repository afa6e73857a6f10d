// Buttons beside the code of a page; what runs it is loaded when the first of them is pressed.
(function () {
  "use strict";
  const script = document.currentScript;
  const base = script.src.replace(/[^/]*$/, "");
  const loaded = {};
  const load = (name) => loaded[name] ||= new Promise((done, failed) => {
    const element = document.createElement("script");
    element.charset = "utf-8";
    element.src = base + name;
    element.onload = () => { element.remove(); done(); };
    element.onerror = () => { element.remove(); delete loaded[name]; failed(new Error(`${name} can't be read`)); };
    document.head.append(element);
  });
  const live = window.handbookLive = { base, load, page: script.dataset.page, own: new Map() };
  live.put = (name, content) => { live.own.set(name, content); live.python?.put(name, content); };

  // Python's module needs exceptions of WebAssembly: the smallest module that has one.
  const able = () => {
    try {
      return typeof DecompressionStream === "function" && WebAssembly.validate(Uint8Array.of(
        0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 8, 1, 6, 0, 31, 64, 0, 11, 11));
    } catch (e) { return false; }
  };

  const button = (words, does, more) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = words;
    made.addEventListener("click", does);
    Object.assign(made, more);
    return made;
  };
  live.button = button;

  async function press(block, what) {
    const status = block ? block.querySelector(".live-status") : document.querySelector(".live-page .live-status");
    try {
      if (!live.cells) status.textContent = "Loading …";
      await Promise.all([load("cells.js"), load("python.js"), load(`pages/${live.page}.js`)]);
    } catch (error) {
      status.textContent = `The code can't run here: ${error.message}. The printed results stand.`;
      return;
    }
    live.pressed(block, what);
  }

  const runs = (block) => block.querySelector("pre.python") &&
    (block.matches(".cell-code") || block.querySelector(".cell-code") || block.closest(".exercise") || script.dataset.each);
  function dress(part) {
    for (const block of part.querySelectorAll("div.sourceCode")) {
      if (block.querySelector(":scope > .live-tools") || !runs(block)) continue;
      const tools = document.createElement("div");
      tools.className = "live-tools";
      const status = document.createElement("span");
      status.className = "live-status";
      status.setAttribute("role", "status");
      tools.append(
        button("Run", () => press(block, "run"), { className: "live-run" }),
        button("Edit", () => press(block, "edit"), { className: "live-edit" }),
        status,
      );
      block.append(tools);
    }
  }

  if (!document.querySelector("pre.python, noscript")) return;
  const head = document.querySelector("main h1")?.closest("header") || document.querySelector("main h1");
  const bar = document.createElement("p");
  bar.className = "live-page";
  if (!able()) {
    bar.textContent = "This browser can't run the code of this page; the printed results stand.";
    head?.after(bar);
    return;
  }
  dress(document);
  document.addEventListener("hb-unfold", (event) => dress(event.target));
  const status = document.createElement("span");
  status.className = "live-status";
  status.setAttribute("role", "status");
  if (!script.dataset.each) {
    const licences = document.createElement("a");
    licences.href = base + "licences.txt";
    licences.textContent = "what it loads, and its licences";
    bar.append("The code of this page runs in your browser (", licences, "): ", button("Run all", () => press(null, "all")), " ", status);
    (document.querySelector(".hb-downloads") || head)?.after(bar);
    return;
  }
  // Recipes read a file of the reader's own: it is read here and goes nowhere else.
  const area = document.createElement("div");
  area.className = "live-page live-files";
  const label = document.createElement("label");
  const input = document.createElement("input");
  Object.assign(input, { type: "file", accept: ".csv,.txt,text/csv", multiple: true });
  const read = async (files) => {
    for (const file of files) {
      const content = new Uint8Array(await file.arrayBuffer());
      for (const name of [file.name, "my_data.csv", "my_file.csv", "my_wide.csv"]) live.put(name, content);
    }
    if (files.length) status.textContent = `${files[files.length - 1].name} stands as my_data.csv, my_file.csv and my_wide.csv.`;
  };
  input.addEventListener("change", () => read(input.files));
  area.addEventListener("dragover", (event) => event.preventDefault());
  area.addEventListener("drop", (event) => { event.preventDefault(); read(event.dataTransfer.files); });
  label.append("Your own file, chosen or dropped here, is read in this browser and sent nowhere: ", input);
  area.append(label, " ", status);
  head?.after(area);
})();
