// The board of the first page: switches, search, and entries picked for the comparison. The address keeps the state.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (name) => document.getElementById(name);
  const switches = ["tier", "task", "split", "track", "family", "without", "verified", "search"];
  const body = byId("board").tBodies[0];
  const rows = new Map([...body.rows].map((row) => [row.dataset.name, row]));
  const boxes = new Map([...rows].map(([name, row]) => [name, row.querySelector("input")]));
  const first = [...byId("tier").options].map((option) => option.textContent);
  let shown = { part: null, tier: null };
  let members = new Set();

  const table = regunlearn.sortable(byId("board"), { order: [[0, "asc"]] });
  DataTable.ext.search.push((settings, _, index) => {
    if (settings.nTable.id !== "board") return true;
    const name = settings.aoData[index].nTr.dataset.name;
    const entry = data.entries[name];
    const value = (key) => byId(key).value;
    if (!members.has(name)) return false;
    if (entry.anchor) return true; // the null and doing nothing stay in sight
    if (value("track") && entry.track !== value("track")) return false;
    if (value("family") && entry.family !== value("family")) return false;
    if (value("without") && entry.needs.includes(value("without"))) return false;
    return !value("verified") || entry.verified === (value("verified") === "verified");
  });

  const view = () => data.views[data.parts[`${byId("task").value}|${byId("split").value}`]];

  // Put the numbers of the chosen part and tier into the cells.
  const fill = (own, level) => {
    for (const [name, row] of rows) {
      const texts = own.cells[name];
      if (!texts || !members.has(name)) continue;
      const cells = row.cells;
      const set = (cell, text) => { if (cell.textContent !== text) cell.textContent = text; };
      set(cells[0], String(level.ranks[name] ?? "–"));
      set(cells[2], texts[0]);
      set(cells[3], String(level.fronts[name] ?? "–"));
      for (let at = 1; at < data.columns; at += 1) set(cells[3 + at], texts[at]);
      set(cells[3 + data.columns], texts[data.columns]);
    }
    table.rows().invalidate("dom");
  };

  const say = (own) => {
    const count = table.rows({ search: "applied" }).count();
    const blocks = own ? `${own.blocks[0]} ${own.blocks[0] === 1 ? "block" : "blocks"}, ${own.blocks[1]} scored` : "no block";
    byId("said").textContent = `${count} of ${rows.size} entries; ${blocks}. `;
  };

  const picked = () => [...boxes].filter(([, box]) => box.checked).map(([name]) => name);
  const tell = () => {
    const names = picked();
    byId("picked").textContent = names.length ? `${names.length} picked: ${names.join(", ")}` : "No entry is picked.";
    byId("compare").href = `compare.html#with=${names.map(encodeURIComponent).join(",")}`;
  };

  const keep = () => {
    const state = new URLSearchParams();
    for (const key of switches) {
      const element = byId(key);
      const usual = key === "tier" ? String(element.options.length - 1) : "";
      if (element.value !== usual) state.set(key, element.value);
    }
    if (picked().length) state.set("with", picked().join(","));
    const hash = state.toString();
    if (location.hash.slice(1) !== hash) location.replace(`#${hash}`);
  };

  const show = () => {
    const own = view();
    const tier = Number(byId("tier").value);
    const part = data.parts[`${byId("task").value}|${byId("split").value}`];
    members = new Set(own ? own.levels[Math.min(tier, own.levels.length - 1)].members : []);
    if (own && (shown.part !== part || shown.tier !== tier)) {
      const level = own.levels[Math.min(tier, own.levels.length - 1)];
      fill(own, level);
      byId("note").textContent = level.note;
      shown = { part, tier };
    }
    table.search(byId("search").value).draw();
    say(own);
    tell();
    keep();
  };

  const restore = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    for (const key of switches) {
      const element = byId(key);
      const usual = key === "tier" ? String(first.length - 1) : "";
      const wanted = state.get(key) ?? usual;
      const known = element.tagName !== "SELECT" || [...element.options].some((option) => option.value === wanted);
      if (element.value !== (known ? wanted : usual)) element.value = known ? wanted : usual; // keeps the caret
    }
    const names = new Set((state.get("with") ?? "").split(","));
    for (const [name, box] of boxes) box.checked = names.has(name);
    show();
  };

  byId("switches").addEventListener("change", show);
  byId("search").addEventListener("input", show);
  byId("switches").addEventListener("submit", (event) => event.preventDefault());
  byId("switches").addEventListener("reset", (event) => {
    event.preventDefault();
    for (const key of switches) byId(key).value = key === "tier" ? String(first.length - 1) : "";
    for (const box of boxes.values()) box.checked = false;
    show();
  });
  for (const box of boxes.values()) box.addEventListener("change", () => { tell(); keep(); });
  window.addEventListener("hashchange", restore);
  restore();
});
