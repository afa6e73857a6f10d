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
  const sections = document.querySelector(".page-toc noscript");
  const setMenu = (open) => {
    if (open && sections && !document.querySelector(".book-nav .sections")) {
      const entry = document.querySelector(".book-nav [aria-current]").parentElement;
      const copy = document.createElement("div");
      copy.innerHTML = sections.textContent;
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

  const within = (part, selector) => [...part.querySelectorAll(selector)];

  // Copy buttons.
  const copying = (part) => within(part, "div.sourceCode").forEach((block) => {
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
  const rooted = (part) => document.fonts.ready.then(() => {
    const right = (node) => node.getBoundingClientRect().right;
    const gaps = within(part, "msqrt").map((el) => [
      el, right(el) - Math.max(...[...el.children].map(right)), parseFloat(getComputedStyle(el).fontSize),
    ]);
    // all are measured before one is changed: the page is laid out once
    for (const [el, gap, size] of gaps) {
      if (gap > 0.15 * size) el.style.marginInlineEnd = `${(0.08 - gap / size).toFixed(3)}em`;
    }
  });

  // Regions that scroll sideways can be reached with the keyboard.
  const reach = (part) => {
    const regions = within(part, "pre, .table-wrap, math[display=block]");
    const wide = regions.map((el) => el.scrollWidth > el.clientWidth + 1);
    regions.forEach((el, k) => {
      if (wide[k]) el.tabIndex = 0; else el.removeAttribute("tabindex");
      if (el.tagName === "math") return;  // a label would be read in place of the formula
      if (wide[k]) {
        el.setAttribute("role", "group");
        el.setAttribute("aria-label", `${el.tagName === "PRE" ? "Code" : "Table"}, scrolls sideways`);
      } else { el.removeAttribute("role"); el.removeAttribute("aria-label"); }
    });
  };
  addEventListener("resize", () => reach(document));

  // Tab sets: plain sections until now.
  let sets = 0;
  const tabbed = (part) => within(part, ".tabset").forEach((set) => {
    const k = sets++;
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
      button.addEventListener("click", () => { show(i); reach(tab); });
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

  const dress = (part) => { tabbed(part); copying(part); rooted(part); reach(part); };
  dress(document);
  document.addEventListener("hb-unfold", (event) => dress(event.target));

  // A link into a fold opens it; what it leads to is text until then.
  const arrive = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    if (!id || document.getElementById(id)) return;
    const held = within(document, "details > noscript").find((el) => el.textContent.includes(`id="${id}"`));
    if (!held) return;
    const fold = held.parentElement;
    fold.addEventListener("hb-unfold", () => document.getElementById(id).scrollIntoView(), { once: true });
    fold.open = true;
  };
  addEventListener("hashchange", arrive);
  arrive();

  // The section being read, marked in the page's contents.
  const links = new Map([...document.querySelectorAll(".toc a")].map((a) => [decodeURIComponent(a.hash.slice(1)), a]));
  const heads = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
  const toc = document.querySelector("aside.toc");
  let marked = null;
  const mark = () => {
    let current = heads[0];
    for (const head of heads) if (head.getBoundingClientRect().top < 120) current = head;
    const left = root.scrollHeight - innerHeight - scrollY;
    if (left < 4 && scrollY) current = heads[heads.length - 1];  // a short last section never comes to the top
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
})();
