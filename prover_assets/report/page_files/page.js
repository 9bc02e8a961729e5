"use strict";
// Draws the charts, the table of theorems, and, when one is opened, its proof and search trees. Nothing is fetched.
const DATA = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");

async function drawCharts() {
  const drawn = [];
  const ink = dark.matches ? "#e6eaec" : "#1d2529";
  const config = {
    background: "transparent", font: "system-ui, sans-serif", view: { stroke: null },
    axis: { labelColor: ink, titleColor: ink, gridColor: dark.matches ? "#3a444b" : "#dfe4e7", labelFontSize: 12 },
    legend: { labelColor: ink, titleColor: ink, labelFontSize: 12, orient: "bottom", columns: 3 }, title: { color: ink },
  };
  for (const [id, spec] of Object.entries(DATA.charts)) {
    drawn.push(vegaEmbed(document.getElementById(id), { ...spec, config }, { actions: false, renderer: "svg" }));
  }
  await Promise.all(drawn);
  performance.mark("drawn");
}

// -- the table of theorems ------------------------------------------------------------------------------------------
const rows = DATA.theorems;
let order = { column: -1, down: false };
function fill(table, words) {
  const body = table.tBodies[0];
  const shown = rows.map((row, place) => [row, place]).filter(([row]) => row[0].toLowerCase().includes(words));
  if (order.column >= 0) {
    const value = (row) => row[order.column];
    shown.sort(([a], [b]) => {
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return (x === null) - (y === null);  // what is missing comes last, both ways
      const less = typeof x === "number" ? x - y : String(x).localeCompare(String(y));
      return order.down ? -less : less;
    });
  }
  body.replaceChildren(...shown.map(([row, place]) => el("tr", {},
    el("td", {}, el("button", { class: "name", type: "button", onclick: () => openTheorem(place) }, row[0])),
    ...row.slice(1).map((cell) => el("td", {}, cell === null ? "–" : typeof cell === "number" && cell % 1 ? cell.toFixed(2) : String(cell))))));
  document.getElementById("count").textContent = `${shown.length} of ${rows.length} theorems`;
}
function makeTable() {
  const table = document.getElementById("theorems");
  const filter = document.getElementById("filter");
  const again = () => fill(table, filter.value.toLowerCase());
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    cell.querySelector("button").onclick = () => {
      order = { column, down: order.column === column ? !order.down : false };
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      again();
    };
  });
  filter.oninput = again;
  again();
}

// -- one theorem ----------------------------------------------------------------------------------------------------
async function unpack(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}
async function openTheorem(place) {
  const panel = document.getElementById("theorem");
  const found = await unpack(`tree-${place}`);
  panel.replaceChildren(
    el("h3", { tabindex: "-1" }, rows[place][0]), el("pre", {}, found.declaration),
    el("div", { class: "side" }, ...found.searches.map(searchView)));
  panel.querySelector("h3").focus();
  panel.scrollIntoView({ block: "start" });
}
makeTable();
drawCharts();
dark.addEventListener("change", drawCharts);
