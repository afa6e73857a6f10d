// Search: definitions first, then sections by relevance. It reads an index of the whole book, a script
// that is loaded at the first search, and so works where the book is opened as a file too.
(function () {
  "use strict";
  const base = document.body.dataset.root;
  const dialog = document.querySelector("dialog.search");
  const field = dialog.querySelector("input");
  const status = dialog.querySelector(".search-status");
  const list = dialog.querySelector(".search-results");
  const MOST = 12, AROUND = 90;

  const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase()
    .replace(/[\u2019']/g, "").replace(/[^\p{L}\p{N}]+/gu, " ").trim();
  // "halve" finds "halving" and "herds" finds "herd": a word stands for all that begin with its stem,
  // and one of a letter or two ("p-value") for itself alone
  const stem = (word) => (word.length > 4 ? word.replace(/(?:es|s|e)$/, "") : word);
  const needle = (word) => (word.length < 3 ? ` ${word} ` : ` ${stem(word)}`);

  let index = null;
  const load = () => {
    if (!index) {
      index = new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `${base}search-index.js`;
        script.onload = () => resolve(window.handbookIndex.map((entry) => ({
          ...entry, head: ` ${plain(entry.title)} `, body: ` ${plain(entry.text)} `,
        })));
        script.onerror = reject;
        document.head.append(script);
      });
      index.catch(() => { index = null; });
    }
    return index;
  };

  const count = (text, needle) => text.split(needle).length - 1;

  // How well an entry answers: rare words count more, words in its title most, the whole phrase besides.
  const rank = (entries, words) => {
    const stems = words.split(" ").map(needle);
    const holds = (entry, s) => entry.head.includes(s) || entry.body.includes(s);
    const rarity = stems.map((s) => Math.log(1 + entries.length / (1 + entries.filter((e) => holds(e, s)).length)));
    const phrase = ` ${stem(words)}`;
    return entries.flatMap((entry) => {
      let score = 0, met = 0;
      stems.forEach((s, k) => {
        const often = count(entry.body, s), inTitle = entry.head.includes(s);
        if (!often && !inTitle) return;
        met += 1;
        score += rarity[k] * ((inTitle ? 6 : 0) + often / (often + 1 + entry.body.length / 2500));
      });
      if (met < stems.length) return [];
      if (stems.length > 1) {
        const often = count(entry.body, phrase);
        score += (entry.head.includes(phrase) ? 12 : 0) + (often ? 6 * often / (often + 1) : 0);
      }
      if (entry.kind === "aside") score *= 0.6;
      // a definition of what was asked for, by name or abbreviation, stands above all sections
      const names = entry.kind === "term" ? entry.title.split(/[()]/).map(plain) : [];
      const named = names.some((name) => ` ${name}`.startsWith(phrase));
      const exact = names.some((name) => ` ${name} `.startsWith(` ${words} `));
      return [{ entry, score, first: exact ? 2 : named ? 1 : 0 }];
    }).sort((a, b) => b.first - a.first || b.score - a.score);
  };

  // The words around the first match, with the matches marked.
  const excerpt = (entry, words) => {
    const stems = words.split(" ").map(stem).map((s) => s.replace(/[^\p{L}\p{N}]/gu, ""));
    const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(?:${stems.join("|")})[\\p{L}\\p{N}]*`, "giu");
    const at = Math.max(0, entry.text.search(pattern));
    const from = entry.kind === "term" || at < AROUND ? 0 : entry.text.indexOf(" ", at - AROUND) + 1;
    const piece = entry.text.slice(from, from + 2.2 * AROUND);
    const out = document.createElement("p");
    if (from) out.append("… ");
    let last = 0;
    for (const match of piece.matchAll(pattern)) {
      const mark = document.createElement("mark");
      mark.textContent = match[0];
      out.append(piece.slice(last, match.index), mark);
      last = match.index + match[0].length;
    }
    out.append(piece.slice(last), from + piece.length < entry.text.length ? " …" : "");
    return out;
  };

  const item = (entry, words) => {
    const out = document.createElement("li"), link = document.createElement("a");
    const page = document.createElement("span");
    link.href = base + entry.url;
    link.textContent = entry.title;
    link.addEventListener("click", () => dialog.close());
    page.className = "page";
    page.textContent = entry.kind === "term" ? "Definition" : entry.page;
    out.append(page, link, excerpt(entry, words));
    return out;
  };

  // What is shown belongs to the words in the field: an answer that comes late is dropped.
  const run = async () => {
    const typed = field.value, words = plain(typed);
    let entries = [];
    if (words) {
      try { entries = await load(); }
      catch (e) { status.textContent = "The search index could not be loaded."; return; }
      if (typed !== field.value) return;
    }
    const found = words ? rank(entries, words) : [];
    status.textContent = !words ? "" : found.length ? `${found.length} places found` : "Nothing found.";
    list.replaceChildren(...found.slice(0, MOST).map(({ entry }) => item(entry, words)));
    list.dataset.words = typed;
  };

  const open = () => { dialog.showModal(); field.focus(); field.select(); load().catch(() => {}); };
  document.querySelector(".search-button").addEventListener("click", open);
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing && !dialog.open) { event.preventDefault(); open(); }
  });
  // A search field keeps the first Escape to empty itself; one is enough here.
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.preventDefault(); dialog.close(); }
  });
  dialog.querySelector(".search-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  field.addEventListener("input", run);
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    await run();
    const first = list.querySelector("a");
    if (first && list.dataset.words === field.value) first.click();
  });
})();
