/* The explorer of shrinkage: two variances and a group size under the reader's hand.
 *
 * Without this file its block shows the sentence that the chapter wrote, beside a static figure. */
(() => {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 400, HEIGHT = 270, LEFT = 54, RIGHT = 14, TOP = 14, BOTTOM = 50;
  const MOST = 100; // members of a group on the axis
  const SLIDERS = [
    { name: "g", label: "Variance between groups, σ²<sub>g</sub>", min: 0, max: 20, step: 0.5, value: 5 },
    { name: "e", label: "Variance within groups, σ²", min: 1, max: 60, step: 1, value: 20 },
    { name: "m", label: "Members of the group, <i>m</i>", min: 1, max: MOST, step: 1, value: 4 },
  ];
  // Raw means of seven groups of m members, as departures from the overall mean
  const RAW = [-6, -4, -2, 0, 2, 4, 6];

  const shrinkage = (g, e, m) => g / (g + e / m);
  const icc = (g, e) => g / (g + e);
  const say = (value) => value.toFixed(2);

  function draw(tag, attributes, parent, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    parent?.append(element);
    return element;
  }

  function frame(label, xTitle, yTitle) {
    const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
    draw("line", { class: "hb-axis", x1: LEFT, y1: HEIGHT - BOTTOM, x2: WIDTH - RIGHT,
      y2: HEIGHT - BOTTOM }, svg);
    draw("line", { class: "hb-axis", x1: LEFT, y1: TOP, x2: LEFT, y2: HEIGHT - BOTTOM }, svg);
    draw("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, svg,
      xTitle);
    draw("text", { x: 0, y: 0, "text-anchor": "middle",
      transform: `translate(14 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)` }, svg, yTitle);
    return svg;
  }

  function curve() {
    const x = (m) => LEFT + (m / MOST) * (WIDTH - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - value * (HEIGHT - TOP - BOTTOM);
    const svg = frame("", "members of the group, m", "shrinkage factor");
    for (const tick of [0, 25, 50, 75, 100]) {
      draw("text", { x: x(tick), y: HEIGHT - BOTTOM + 20, "text-anchor": "middle" }, svg, tick);
    }
    for (const tick of [0, 0.5, 1]) {
      draw("text", { x: LEFT - 6, y: y(tick) + 5, "text-anchor": "end" }, svg, tick);
      draw("line", { class: "hb-grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }, svg);
    }
    const line = draw("path", { class: "hb-curve" }, svg);
    const drop = draw("path", { class: "hb-drop" }, svg);
    const point = draw("circle", { class: "hb-point", r: 6 }, svg);
    return {
      svg,
      show(g, e, m) {
        const path = Array.from({ length: MOST }, (_, k) => `${x(k + 1)} ${y(shrinkage(g, e, k + 1))}`);
        line.setAttribute("d", `M ${path.join(" L ")}`);
        const [px, py] = [x(m), y(shrinkage(g, e, m))];
        point.setAttribute("cx", px);
        point.setAttribute("cy", py);
        drop.setAttribute("d", `M ${px} ${y(0)} V ${py} H ${LEFT}`);
        svg.setAttribute("aria-label", "Line chart of the shrinkage factor against the number of "
          + `members. The marked point: ${m} members, factor ${say(shrinkage(g, e, m))}.`);
      },
    };
  }

  function arrows() {
    const x = (value) => LEFT + ((value + 7) / 14) * (WIDTH - LEFT - RIGHT);
    const high = TOP + 40, low = HEIGHT - BOTTOM - 30;
    const svg = frame("", "departure from the overall mean", "");
    for (const tick of [-6, -3, 0, 3, 6]) {
      draw("text", { x: x(tick), y: HEIGHT - BOTTOM + 20, "text-anchor": "middle" }, svg,
        String(tick).replace("-", "−"));
    }
    draw("line", { class: "hb-grid", x1: x(0), x2: x(0), y1: TOP, y2: HEIGHT - BOTTOM }, svg);
    draw("text", { x: LEFT + 6, y: high - 16 }, svg, "raw means of seven groups");
    draw("text", { x: LEFT + 6, y: low + 24 }, svg, "their predictions (BLUPs)");
    const parts = RAW.map((raw) => {
      const path = draw("line", { class: "hb-drop", x1: x(raw), y1: high, y2: low }, svg);
      draw("circle", { class: "hb-raw", r: 5, cx: x(raw), cy: high }, svg);
      return { raw, path, dot: draw("circle", { class: "hb-point", r: 5, cy: low }, svg) };
    });
    return {
      svg,
      show(g, e, m) {
        const factor = shrinkage(g, e, m);
        for (const { raw, path, dot } of parts) {
          path.setAttribute("x2", x(factor * raw));
          dot.setAttribute("cx", x(factor * raw));
        }
        svg.setAttribute("aria-label", "Raw means of seven groups above, their predictions below. "
          + `Each prediction is ${say(factor)} times its raw departure from the mean.`);
      },
    };
  }

  function build(block, number) {
    const panel = document.createElement("div");
    panel.className = "hb-controls";
    const inputs = {};
    for (const slider of SLIDERS) {
      const id = `explorer-${number}-${slider.name}`;
      const row = document.createElement("div");
      row.className = "hb-slider";
      const label = document.createElement("label");
      label.htmlFor = id;
      label.innerHTML = slider.label;
      const input = Object.assign(document.createElement("input"), {
        type: "range", id, min: slider.min, max: slider.max, step: slider.step, value: slider.value,
      });
      const shown = document.createElement("output");
      shown.htmlFor = id;
      row.append(label, input, shown);
      panel.append(row);
      inputs[slider.name] = { input, shown };
    }
    const result = document.createElement("p");
    result.className = "hb-result";
    result.setAttribute("role", "status");
    const plots = [curve(), arrows()];
    const pictures = document.createElement("div");
    pictures.className = "hb-pictures";
    pictures.append(...plots.map((plot) => plot.svg));
    block.append(panel, result, pictures);

    function update() {
      const [g, e, m] = ["g", "e", "m"].map((name) => Number(inputs[name].input.value));
      for (const { input, shown } of Object.values(inputs)) shown.value = input.value;
      result.textContent = `Shrinkage factor ${say(shrinkage(g, e, m))}, ICC ${say(icc(g, e))}: the `
        + `group keeps ${Math.round(100 * shrinkage(g, e, m))}% of its raw departure from the mean.`;
      for (const plot of plots) plot.show(g, e, m);
    }
    panel.addEventListener("input", update);
    update();
  }

  document.querySelectorAll(".hb-explorer").forEach((block, k) => build(block, k + 1));
})();
