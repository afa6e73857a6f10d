// While the pointer rests on a reference, what it leads to stands beside it. Links work without this.
(function () {
  "use strict";
  const KINDS = /#(fig|tbl|eq|sec|gls|ref)-/;
  const pages = new Map();
  const box = document.createElement("div");
  box.className = "preview";
  box.hidden = true;
  document.body.append(box);

  const pageOf = (address, id) => {
    if (address === location.href.split("#")[0] && document.getElementById(id)) return Promise.resolve(document);
    if (location.protocol === "file:") return Promise.reject(new Error("browsers read no other file"));
    if (!pages.has(address)) {
      pages.set(address, fetch(address).then((answer) => answer.text())
        .then((text) => new DOMParser().parseFromString(text, "text/html")));
    }
    return pages.get(address);
  };

  // The float, the formula, the definition or the source; of a section, its heading and first sentence.
  const partsAt = (page, id) => {
    const target = page.getElementById(id);
    if (!target) return [];
    const term = target.closest("dt");
    if (term) return [term, term.nextElementSibling];
    if (!/^H\d$/.test(target.tagName)) return [target];
    let next = target.nextElementSibling;
    while (next && next.tagName !== "P" && !/^H\d$/.test(next.tagName)) next = next.nextElementSibling;
    return next && next.tagName === "P" ? [target, next] : [target];
  };

  const copyOf = (part, address) => {
    const copy = part.cloneNode(true);
    copy.querySelectorAll(".anchor, .copy, script").forEach((el) => el.remove());
    for (const el of [copy, ...copy.querySelectorAll("*")]) {
      el.removeAttribute("id");
      for (const name of ["src", "href"]) {
        if (el.hasAttribute(name)) el.setAttribute(name, new URL(el.getAttribute(name), address).href);
      }
    }
    if (!/^H\d$/.test(copy.tagName) && copy.tagName !== "DT" && copy.tagName !== "DD") return copy;
    const plain = document.createElement(copy.tagName === "DD" ? "div" : "p");
    if (copy.tagName !== "DD") plain.className = "preview-title";
    plain.append(...copy.childNodes);
    return plain;
  };

  let timer = 0, current = null;
  const hide = () => { clearTimeout(timer); current = null; box.hidden = true; };
  const later = (act, wait) => { clearTimeout(timer); timer = setTimeout(act, wait); };
  const show = async (link) => {
    current = link;
    const url = new URL(link.href), address = link.href.split("#")[0];
    const id = decodeURIComponent(url.hash.slice(1));
    let parts;
    try { parts = partsAt(await pageOf(address, id), id); }
    catch (e) { return; }  // the link itself still leads there
    if (current !== link || !parts.length) return;
    box.replaceChildren(...parts.filter(Boolean).map((part) => copyOf(part, address)));
    box.hidden = false;
    const place = link.getBoundingClientRect(), width = box.offsetWidth, height = box.offsetHeight;
    const left = Math.max(8, Math.min(place.left, document.documentElement.clientWidth - width - 8));
    const below = place.bottom + height + 12 < innerHeight || place.top < height + 12;
    box.style.left = `${left + scrollX}px`;
    box.style.top = `${scrollY + (below ? place.bottom + 6 : place.top - height - 6)}px`;
  };

  const listen = (part) => part.querySelectorAll("a[href*='#']").forEach((link) => {
    if (!KINDS.test(link.getAttribute("href")) || link.matches(".anchor, .hb-letters a")) return;
    link.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse") later(() => show(link), 350);  // a finger follows the link
    });
    link.addEventListener("pointerleave", () => later(hide, 200));
  });
  listen(document.querySelector("main"));
  document.addEventListener("hb-unfold", (event) => listen(event.target));
  box.addEventListener("mouseenter", () => clearTimeout(timer));
  box.addEventListener("mouseleave", () => later(hide, 200));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
})();
