// Behaviour of every page; without it the page still reads, prints and navigates.
(function () {
  "use strict";
  const root = document.documentElement;
  const base = document.body.dataset.root;

  // Theme: follows the system until the reader chooses.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  document.querySelector(".theme-button").addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    try { localStorage.setItem("handbook-theme", root.dataset.theme); } catch (e) { /* private window */ }
  });

  // Contents drawer on narrow screens.
  const menu = document.querySelector(".menu-button");
  const sections = document.querySelector(".page-toc ol");
  const setMenu = (open) => {
    if (open && sections && !document.querySelector(".book-nav .sections")) {
      const entry = document.querySelector(".book-nav [aria-current]").parentElement;
      const copy = sections.cloneNode(true);
      copy.className = "sections";
      copy.addEventListener("click", () => setMenu(false));
      entry.append(copy);
    }
    root.classList.toggle("nav-open", open);
    menu.setAttribute("aria-expanded", String(open));
  };
  menu.addEventListener("click", () => setMenu(!root.classList.contains("nav-open")));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && root.classList.contains("nav-open")) { setMenu(false); menu.focus(); }
  });

  // A long list of chapters shows the one that is open.
  const nav = document.querySelector(".book-nav"), here = nav.querySelector("[aria-current]");
  if (here) nav.scrollTop = here.offsetTop - nav.offsetTop - nav.clientHeight / 2;

  // Copy buttons.
  document.querySelectorAll("div.sourceCode").forEach((block) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      const text = block.querySelector("code").innerText.replace(/\n+$/, "\n");
      try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
      catch (e) { button.textContent = "Press Ctrl+C"; getSelection().selectAllChildren(block.querySelector("code")); }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    block.append(button);
  });

  // Chromium gives a root the width that its sign would have at another size.
  document.fonts.ready.then(() => document.querySelectorAll("msqrt").forEach((el) => {
    const right = (node) => node.getBoundingClientRect().right;
    const gap = right(el) - Math.max(...[...el.children].map(right));
    const size = parseFloat(getComputedStyle(el).fontSize);
    if (gap > 0.15 * size) el.style.marginInlineEnd = `${(0.08 - gap / size).toFixed(3)}em`;
  }));

  // Regions that scroll sideways can be reached with the keyboard.
  const reach = () => document.querySelectorAll("pre, .table-wrap, math[display=block]").forEach((el) => {
    const wide = el.scrollWidth > el.clientWidth + 1;
    if (wide) el.tabIndex = 0; else el.removeAttribute("tabindex");
    if (el.tagName === "math") return;  // a label would be read in place of the formula
    if (wide) {
      el.setAttribute("role", "group");
      el.setAttribute("aria-label", `${el.tagName === "PRE" ? "Code" : "Table"}, scrolls sideways`);
    } else { el.removeAttribute("role"); el.removeAttribute("aria-label"); }
  });
  reach();
  addEventListener("resize", reach);

  // Tab sets: plain sections until now.
  document.querySelectorAll(".tabset").forEach((set, k) => {
    const tabs = [...set.children];
    const bar = document.createElement("div");
    bar.className = "tab-bar";
    bar.setAttribute("role", "tablist");
    const show = (chosen, focus) => tabs.forEach((tab, i) => {
      tab.hidden = i !== chosen;
      bar.children[i].setAttribute("aria-selected", String(i === chosen));
      bar.children[i].tabIndex = i === chosen ? 0 : -1;
      if (focus && i === chosen) bar.children[i].focus();
    });
    tabs.forEach((tab, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = tab.dataset.title;
      button.setAttribute("role", "tab");
      button.id = `tab-${k}-${i}`;
      tab.id = tab.id || `panel-${k}-${i}`;
      tab.setAttribute("role", "tabpanel");
      tab.setAttribute("aria-labelledby", button.id);
      button.setAttribute("aria-controls", tab.id);
      button.addEventListener("click", () => show(i));
      button.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step) { event.preventDefault(); show((i + step + tabs.length) % tabs.length, true); }
      });
      bar.append(button);
    });
    set.prepend(bar);
    set.classList.add("ready");
    show(0);
  });

  // The section being read, marked in the page's contents.
  const links = new Map([...document.querySelectorAll(".toc a")].map((a) => [decodeURIComponent(a.hash.slice(1)), a]));
  const heads = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
  const toc = document.querySelector("aside.toc");
  let marked = null;
  const mark = () => {
    let current = heads[0];
    for (const head of heads) if (head.getBoundingClientRect().top < 120) current = head;
    if (current === marked) return;
    marked = current;
    links.forEach((a) => a.removeAttribute("aria-current"));
    toc.querySelectorAll("li.open").forEach((li) => li.classList.remove("open"));
    const link = links.get(current.id);
    link.setAttribute("aria-current", "true");
    for (let li = link.closest("li"); li; li = li.parentElement.closest("li")) li.classList.add("open");
    const gap = link.getBoundingClientRect().top - toc.getBoundingClientRect().top;
    if (gap < 40 || gap > toc.clientHeight - 60) toc.scrollTop += gap - toc.clientHeight / 3;
  };
  if (heads.length) { addEventListener("scroll", mark, { passive: true }); mark(); }

  // Search with the index that pagefind wrote beside the pages.
  const dialog = document.querySelector("dialog.search");
  const field = dialog.querySelector("input");
  const status = dialog.querySelector(".search-status");
  const list = dialog.querySelector(".search-results");
  let engine = null;
  const load = async () => {
    if (engine) return engine;
    engine = await import(new URL(base + "pagefind/pagefind.js", location.href).href);
    await engine.options({ baseUrl: new URL(base || ".", location.href).pathname });
    return engine;
  };
  const open = () => { dialog.showModal(); field.focus(); field.select(); };
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
  const run = async () => {
    const words = field.value.trim();
    if (!words) { list.replaceChildren(); status.textContent = ""; return; }
    if (location.protocol === "file:") {
      status.textContent = "Browsers allow search only on a served page: run make preview.";
      return;
    }
    let found;
    try { found = await (await load()).debouncedSearch(words); }
    catch (e) { status.textContent = "The search index could not be loaded."; return; }
    if (!found) return;
    const top = await Promise.all(found.results.slice(0, 8).map((r) => r.data()));
    status.textContent = found.results.length ? `${found.results.length} pages found` : "Nothing found.";
    list.replaceChildren(...top.flatMap((page) => {
      const parts = page.sub_results.length ? page.sub_results.slice(0, 3) : [page];
      return parts.map((part) => {
        const item = document.createElement("li");
        const link = document.createElement("a");
        link.href = part.url;
        const heading = part.title || page.meta.title;
        link.textContent = heading === page.meta.title ? heading : `${page.meta.title} › ${heading}`;
        link.addEventListener("click", () => dialog.close());
        const excerpt = document.createElement("p");
        excerpt.innerHTML = part.excerpt;
        item.append(link, excerpt);
        return item;
      });
    }));
  };
  // Enter goes to the first result: of the words that stand in the field, so wait for theirs.
  let shown = "", follow = false;
  const goToFirst = () => {
    follow = false;
    const first = list.querySelector("a");
    if (first) first.click();
  };
  field.addEventListener("input", async () => {
    follow = false;
    const words = field.value.trim();
    await run();
    if (words !== field.value.trim()) return;
    shown = words;
    if (follow) goToFirst();
  });
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value.trim() === shown) goToFirst(); else follow = true;
  });
})();
