// Score against cost, drawn with Observable Plot. The table below the figure has the same numbers.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const chart = document.getElementById("chart");
  const form = document.getElementById("families");
  const families = [...new Set(data.points.map((point) => point.family))].sort();
  const SYMBOLS = { defaults: "circle", tuned: "star", "other configuration": "plus", exact: "square",
    "retrain cut short": "diamond", reference: "wye", sentinel: "times" };
  const hidden = new Set();

  const paid = data.points.filter((point) => point.cost >= data.free).map((point) => point.cost);
  const edge = 0.5 * Math.min(1, ...paid, ...data.budgets);
  const ticks = [edge, ...[0.001, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1].filter((x) => x > 1.5 * edge)];
  const points = data.points.map((point) => ({ ...point, x: point.cost < data.free ? edge : point.cost }));

  const tip = (point) => [
    point.name + (point.rank ? `, rank ${point.rank}` : ""),
    `score ${point.score.toPrecision(3)} (${point.low.toPrecision(3)} to ${point.high.toPrecision(3)})`,
    `cost ${point.cost.toPrecision(3)} of a retrain`,
    `${point.family}; ${point.track}`,
  ].join("\n");

  const show = () => {
    const own = points.filter((point) => !hidden.has(point.family));
    const front = own.filter((point) => point.front).sort((a, b) => a.x - b.x);
    const curve = own.filter((point) => point.curve).sort((a, b) => a.x - b.x);
    const width = Math.max(Math.min(chart.clientWidth, 1000), 320);
    const svg = Plot.plot({
      className: "plot", width, height: Math.min(560, Math.max(360, width * 0.6)), marginLeft: 48, marginBottom: 44,
      x: { type: "log", axis: null, domain: [edge / 1.15, Math.max(1, ...paid) * 1.1] },
      y: { label: "↑ overall score", domain: [0, 1], grid: true, ticks: 5 },
      symbol: { domain: Object.keys(SYMBOLS), range: Object.values(SYMBOLS) },
      marks: [
        Plot.axisX(ticks, { label: "gradient passes, as a share of a retrain's →", text: ticks.map((x) => (x <= edge ? "free" : `${x}`)) }),
        Plot.ruleX(data.budgets, { stroke: "currentColor", strokeOpacity: 0.25 }),
        Plot.line(curve, { x: "x", y: "score", stroke: "currentColor", strokeOpacity: 0.6, strokeDasharray: "2,4" }),
        Plot.line(front, { x: "x", y: "score", curve: "step-after", stroke: "currentColor", strokeWidth: 1.2 }),
        Plot.ruleX(own, { x: "x", y1: "low", y2: "high", stroke: (d) => d.colour, strokeOpacity: 0.6 }),
        Plot.dot(own, { x: "x", y: "score", symbol: "track", stroke: (d) => d.colour, fill: (d) => d.colour, fillOpacity: 0.55, r: 5 }),
        Plot.text(own.filter((d) => d.front || d.curve), { x: "x", y: "score", text: "name", dy: -11, fontSize: 11, textAnchor: "end", dx: -2 }),
        Plot.tip(own, Plot.pointer({ x: "x", y: "score", title: tip })),
      ],
    });
    chart.replaceChildren(svg);
  };

  for (const family of families) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    const patch = document.createElement("span");
    box.type = "checkbox";
    box.checked = true;
    patch.className = "patch";
    patch.style.background = points.find((point) => point.family === family).colour;
    label.className = "box";
    label.append(box, patch, document.createTextNode(family));
    box.addEventListener("change", () => { if (box.checked) hidden.delete(family); else hidden.add(family); show(); });
    form.append(label);
  }
  let waiting = 0;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(show, 120); });
  show();
});
