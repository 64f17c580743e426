// Entries side by side. The address keeps which ones.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (name) => document.getElementById(name);
  const known = new Set(data.names);
  const MOST = 8;
  const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D31", "#56B4E9", "#7A5195", "#808080"];
  const SVG = "http://www.w3.org/2000/svg";
  let chosen = [];
  let refused = "";

  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const draw = (tag, attributes, text) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const link = (name) => make("a", name, { href: `methods/${encodeURIComponent(name)}.html` });
  const figure = (text) => {
    const found = /^(−?[\d.]+(?:e−?\d+)?)(?: ± ([\d.]+(?:e−?\d+)?))?/.exec(text);
    const read = (part) => (part ? Number(part.replaceAll("−", "-")) : null);
    return found ? { value: read(found[1]), half: read(found[2]) } : null;
  };

  // Differences of overall scores, as the board tests them.
  const pair = (one, other) => {
    const { names, scores, halves, ties } = data.pairs;
    let [a, b] = [names.indexOf(one), names.indexOf(other)];
    if (a < 0 || b < 0) return null;
    const gap = scores[a] - scores[b];
    const tie = ties[a][b] === "1";
    if (a > b) [a, b] = [b, a];
    const n = names.length;
    return { gap, half: halves[a * n - (a * (a + 1)) / 2 + (b - a - 1)], tie };
  };
  const short = (value) => Number(value.toPrecision(3)).toString().replace("-", "−");

  const pairs = () => {
    const list = make("ul", undefined, { class: "listing" });
    for (let i = 0; i < chosen.length; i += 1) {
      for (let j = i + 1; j < chosen.length; j += 1) {
        const found = pair(chosen[i], chosen[j]);
        if (!found) continue;
        const verdict = found.tie ? "a tie" : found.gap > 0 ? `${chosen[i]} scores higher` : `${chosen[j]} scores higher`;
        list.append(make("li", `${chosen[i]} − ${chosen[j]}: ${short(found.gap)} ± ${short(found.half)}, ${verdict}.`));
      }
    }
    if (!list.children.length) return [];
    return [make("h2", "Differences of overall scores, with 95% intervals"), list];
  };

  const mark = (at, x, y, colour, title) => {
    const shapes = [
      () => draw("circle", { cx: x, cy: y, r: 5 }),
      () => draw("rect", { x: x - 4.5, y: y - 4.5, width: 9, height: 9 }),
      () => draw("path", { d: `M ${x} ${y - 6} l 6 10 h -12 z` }),
      () => draw("path", { d: `M ${x} ${y - 6} l 6 6 l -6 6 l -6 -6 z` }),
    ];
    const shape = shapes[at % shapes.length]();
    shape.setAttribute("fill", at < shapes.length ? colour : "none");
    shape.setAttribute("stroke", colour);
    shape.setAttribute("stroke-width", "2");
    shape.append(draw("title", {}, title));
    return shape;
  };

  const drawing = () => {
    const [width, left, step] = [680, 270, 12 * chosen.length + 10];
    const blocks = data.blocks.filter((block) => chosen.some((name) => block.rows[name]));
    const height = 30 + step * blocks.length + 24;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "strip", role: "img" });
    svg.setAttribute("aria-label", `Scores by block of ${chosen.join(", ")}; the numbers are in the table below`);
    const x = (value) => left + (width - left - 20) * Math.min(Math.max(value, 0), 1);
    for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
      svg.append(draw("line", { class: "tick", x1: x(tick), x2: x(tick), y1: 14, y2: height - 22 }));
      svg.append(draw("text", { class: "small", x: x(tick), y: height - 6, "text-anchor": "middle" }, String(tick)));
    }
    blocks.forEach((block, at) => {
      const top = 22 + at * step;
      svg.append(draw("text", { x: left - 14, y: top + step / 2, "text-anchor": "end" }, block.name));
      chosen.forEach((name, own) => {
        const cells = block.rows[name];
        const found = cells && figure(cells[0]);
        if (!found) return;
        const y = top + 8 + own * 12;
        const colour = COLOURS[own % COLOURS.length];
        if (found.half !== null) {
          const ends = { x1: x(found.value - found.half), x2: x(found.value + found.half), y1: y, y2: y };
          svg.append(draw("line", { ...ends, stroke: colour, "stroke-width": 2 }));
        }
        svg.append(mark(own, x(found.value), y, colour, `${name}, ${block.name}: ${cells[0]}`));
      });
    });
    const box = make("div", undefined, { class: "scroll", role: "region", tabindex: "0", "aria-label": "Drawing of the scores" });
    box.append(svg);
    return [make("h2", "Score block by block"), legend(), box];
  };

  const legend = () => {
    const list = make("ul", undefined, { class: "legend" });
    chosen.forEach((name, own) => {
      const item = make("li");
      const svg = draw("svg", { width: 16, height: 16, "aria-hidden": "true" });
      svg.append(mark(own, 8, 8, COLOURS[own % COLOURS.length], name));
      item.append(svg, make("span", name));
      list.append(item);
    });
    return list;
  };

  const line = (body, label, texts) => {
    if (byId("differ").checked && new Set(texts).size < 2) return;
    const row = body.insertRow();
    row.append(make("th", label, { scope: "row", class: "w" }));
    for (const text of texts) row.append(make("td", text, { class: "w" }));
  };
  const heading = (table, text) => {
    const body = table.createTBody();
    const row = body.insertRow();
    row.append(make("th", text, { scope: "rowgroup", colspan: String(chosen.length + 1), class: "w divider" }));
    return body;
  };

  const side = () => {
    const table = make("table");
    table.append(make("caption", "Entries side by side", { class: "unseen" }));
    const head = table.createTHead().insertRow();
    head.append(make("th", "", { scope: "col", class: "w" }));
    for (const name of chosen) {
      const cell = make("th", undefined, { scope: "col", class: "w" });
      cell.append(link(name));
      head.append(cell);
    }
    let body = heading(table, "What they are");
    for (const fact of Object.keys(data.facts[chosen[0]])) line(body, fact, chosen.map((name) => data.facts[name][fact]));
    body = heading(table, "Overall");
    line(body, "Rank", chosen.map((name) => String(data.ranks[name] ?? "–")));
    data.columns.forEach((column, at) => line(body, column, chosen.map((name) => data.overall[name][at])));
    for (const block of data.blocks) {
      body = heading(table, block.name);
      block.columns.forEach((column, at) => line(body, column, chosen.map((name) => block.rows[name]?.[at] ?? "–")));
    }
    return table;
  };

  const chip = (name) => {
    const item = make("li");
    const button = make("button", "×", { type: "button", "aria-label": `Remove ${name}` });
    button.addEventListener("click", () => choose(chosen.filter((one) => one !== name)));
    item.append(link(name), button);
    return item;
  };

  const show = () => {
    byId("chosen").replaceChildren(...chosen.map(chip));
    const enough = chosen.length > 0;
    byId("pairs").replaceChildren(...(enough ? pairs() : []));
    byId("drawing").replaceChildren(...(enough ? drawing() : []));
    byId("side").replaceChildren(...(enough ? [side()] : []));
    byId("side").hidden = !enough;
    const count = enough ? `${chosen.length} ${chosen.length === 1 ? "entry; add another" : "entries"}.` : "Add two or more entries.";
    byId("said").textContent = refused || count;
    refused = "";
  };

  const choose = (names) => {
    chosen = names;
    const hash = `#with=${names.map(encodeURIComponent).join(",")}`;
    if (location.hash !== hash) location.replace(hash);
    show();
  };
  const restore = () => {
    const wanted = (new URLSearchParams(location.hash.slice(1)).get("with") ?? "").split(",");
    const names = [...new Set(wanted)].filter((name) => known.has(name)).slice(0, MOST);
    if (names.join() !== chosen.join() || !names.length) { chosen = names; show(); }
  };

  byId("names").append(...data.names.map((name) => make("option", undefined, { value: name })));
  byId("choose").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = byId("add").value.trim();
    if (!known.has(name)) refused = name ? `No entry is called ${name}.` : "Type the name of an entry.";
    else if (chosen.includes(name)) refused = `${name} is there already.`;
    else if (chosen.length >= MOST) refused = `${MOST} entries at most: remove one first.`;
    if (refused) show();
    else { byId("add").value = ""; choose([...chosen, name]); }
  });
  byId("clear").addEventListener("click", () => choose([]));
  byId("differ").addEventListener("change", show);
  window.addEventListener("hashchange", restore);
  restore();
});
