// Tables that the page already holds, made sortable. Cells are text: nothing is ever put in as mark-up.
"use strict";
const regunlearn = (() => {
  const shape = document.createElement("template");
  const plain = (html) => {
    const source = String(html);
    if (!source.includes("<") && !source.includes("&")) return source.trim();
    shape.innerHTML = source; // inert: nothing in a template runs or loads; only its text is read
    return shape.content.textContent.trim();
  };
  // The number that a cell begins with; null for "–" and for words.
  const leading = (html) => {
    const found = /^−?\d+(?:\.\d+)?(?:e−?\d+)?/.exec(plain(html));
    return found ? Number(found[0].replaceAll("−", "-")) : null;
  };
  const last = (order) => (a, b) => {
    if (a === b) return 0;
    if (a === null) return 1;
    if (b === null) return -1;
    return order * (a < b ? -1 : 1);
  };
  DataTable.type("cell", { order: { pre: leading, asc: last(1), desc: last(-1) } });
  const word = (html) => plain(html).toLowerCase() || null;
  DataTable.type("word", { order: { pre: word, asc: last(1), desc: last(-1) } });

  const sortable = (table, options) => {
    const heads = [...table.tHead.rows[0].cells];
    return new DataTable(table, {
      paging: false,
      info: false,
      autoWidth: false,
      layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
      order: [],
      columns: heads.map((head) => ({
        type: head.classList.contains("n") ? "cell" : "word",
        orderSequence: head.classList.contains("n") ? ["desc", "asc"] : ["asc", "desc"],
      })),
      language: { emptyTable: "No row.", zeroRecords: "No entry fits." },
      ...options,
    });
  };
  return { sortable, leading, plain };
})();

document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.sortable")) regunlearn.sortable(table);
});
