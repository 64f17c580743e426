// What deletions cost a day by retraining and by unlearning. The formulas stand on the page in words.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const { entries } = JSON.parse(document.getElementById("data").textContent);
  const byId = (name) => document.getElementById(name);
  const fields = ["deletions", "together", "seconds", "price", "upkeep", "life", "target", "tier", "by"];
  const make = (tag, text, style) => {
    const element = document.createElement(tag);
    element.textContent = text;
    if (style) element.className = style;
    return element;
  };
  const short = (value) => {
    if (!Number.isFinite(value)) return "–";
    if (value !== 0 && (Math.abs(value) >= 1e7 || Math.abs(value) < 1e-4)) return value.toExponential(2).replace("-", "−");
    return Number(value.toPrecision(3)).toLocaleString("en-GB", { maximumSignificantDigits: 3 });
  };
  const given = () => {
    const found = {};
    for (const key of ["deletions", "together", "seconds", "price", "upkeep", "life", "target"]) {
      const value = byId(key).valueAsNumber;
      const least = Number(byId(key).min);
      if (!Number.isFinite(value) || value < least) return { wrong: byId(key).labels[0].textContent.trim(), least };
      found[key] = value;
    }
    return found;
  };
  const sums = (share, before, g) => {
    const retrain = (g.seconds / 3600) * g.price;
    const runs = g.deletions / g.together;
    const fixed = g.upkeep + (before * retrain) / g.life;
    const saved = ((1 - share) * retrain) / g.together;
    return {
      retrain, runs, fixed, share,
      byRetraining: runs * retrain,
      byUnlearning: runs * share * retrain + fixed,
      breakEven: saved > 0 ? fixed / saved : null,
      most: share > 0 ? (86400 / (share * g.seconds)) * g.together : null,
    };
  };
  const arithmetic = (name, g, own) => [
    `One retrain: ${short(g.seconds)} s / 3600 × ${short(g.price)} = ${short(own.retrain)}.`,
    `Runs a day: ${short(g.deletions)} / ${short(g.together)} = ${short(own.runs)}.`,
    `A day, retraining: ${short(own.runs)} × ${short(own.retrain)} = ${short(own.byRetraining)}.`,
    `A day, ${name}: ${short(own.runs)} × ${short(own.share)} × ${short(own.retrain)} + ${short(own.fixed)} = ${short(own.byUnlearning)}.`,
    own.breakEven === null
      ? `Break-even: never, as ${name} costs as much as a retrain.`
      : `Break-even: ${short(own.fixed)} / ((1 − ${short(own.share)}) × ${short(own.retrain)} / ${short(g.together)}) = ${short(own.breakEven)} requests a day.`,
    `Retraining on one machine: at most 86,400 / ${short(g.seconds)} × ${short(g.together)} = ${short((86400 / g.seconds) * g.together)} requests a day.`,
  ];
  const row = (entry, g, own) => {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    const link = make("a", entry.name);
    link.href = `methods/${encodeURIComponent(entry.name)}.html`;
    head.scope = "row";
    head.className = "w";
    head.append(link);
    line.append(head);
    const texts = [
      `${short(entry.score)} (${short(entry.low)} to ${short(entry.high)})`, short(own.share),
      short(own.byUnlearning), short(own.byRetraining),
      own.breakEven === null ? "never" : short(own.breakEven), own.most === null ? "any" : short(own.most),
    ];
    for (const text of texts) line.append(make("td", text, "n"));
    if (own.byUnlearning < own.byRetraining) line.classList.add("cheaper");
    return line;
  };
  const show = () => {
    const g = given();
    const body = byId("sums").tBodies[0];
    if (g.wrong) {
      byId("said").textContent = `${g.wrong}: expected a number, at least ${g.least}.`;
      body.replaceChildren();
      byId("shown").replaceChildren();
      return;
    }
    const budget = byId("tier").value ? Number(byId("tier").value) * (1 + 1e-6) : Infinity;
    const by = byId("by").value;
    const will = entries
      .filter((entry) => entry[by] !== null && entry.score >= g.target && entry.share !== null && entry.share <= budget)
      .map((entry) => ({ entry, own: sums(entry[by], entry.before, g) }))
      .sort((a, b) => a.own.byUnlearning - b.own.byUnlearning || b.entry.score - a.entry.score);
    body.replaceChildren(...will.map(({ entry, own }) => row(entry, g, own)));
    const cheaper = will.filter(({ own }) => own.byUnlearning < own.byRetraining).length;
    byId("said").textContent = will.length
      ? `Score at least ${short(g.target)}: ${will.length} of ${entries.length} entries. Cheaper than retraining at ${short(g.deletions)} requests a day: ${cheaper}.`
      : `No entry scores ${short(g.target)} or more at this cost: retrain, or accept a lower score.`;
    const lines = will.length ? arithmetic(will[0].entry.name, g, will[0].own) : [];
    byId("shown").replaceChildren(...lines.map((text) => make("p", text, "sum")));
  };
  for (const key of fields) byId(key).addEventListener("input", show);
  byId("given").addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll("button.take")) {
    button.addEventListener("click", () => { byId("seconds").value = button.dataset.seconds; show(); byId("seconds").focus(); });
  }
  show();
});
