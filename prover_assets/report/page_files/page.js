"use strict";
// Draws the charts, the table of theorems, and, when one is opened, its proof and search trees. Nothing is fetched.
const DATA = JSON.parse(document.getElementById("data").textContent);
const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick" || name === "ontoggle" || name === "oninput") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
};
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
// The nodes of the proof from the root to its end. A parent may come after its child: a better path was found later.
function proofOf(nodes) {
  const path = [];
  let at = nodes.find((node) => node.proved && !node.children.some((child) => child.proved));
  for (; at !== undefined && !path.includes(at); at = nodes[at.parent ?? -1]) path.unshift(at);
  return path;
}
function searchView(search) {
  const nodes = search.nodes.map(([parent, tactic, energy, flags, state], id) => ({
    id, parent, tactic, energy, state, proved: Boolean(flags & 1), open: !(flags & 2), children: [] }));
  for (const node of nodes) if (node.parent !== null) nodes[node.parent].children.push(node);
  const energies = nodes.map((node) => node.energy).filter((energy) => energy !== null);
  const [low, high] = [Math.min(...energies), Math.max(...energies)];
  const colour = (energy) => {
    const share = high > low ? (energy - low) / (high - low) : 0;
    return `hsl(${Math.round(210 - 180 * share)} 75% 50%)`;
  };
  const branch = (node) => {
    const label = el("summary", {},
      node.energy === null ? null : el("span", { class: "swatch", style: `background:${colour(node.energy)}`, "aria-hidden": "true" }),
      node.tactic || "start",
      el("span", { class: "energy" }, (node.energy === null ? "" : `  E ${node.energy.toFixed(2)}`)
        + (node.children.length ? `  (${node.children.length})` : node.state && node.open ? "  open" : "")));
    const details = el("details", { class: node.proved ? "proved" : "" }, label);
    let filled = false;
    // The proof stands above with its states, so here they are folded; whoever opens a branch sees its state at once.
    const unfold = (folded) => {
      if (filled) return;
      filled = true;
      const state = el("pre", {}, node.state || "no goals");
      details.append(folded ? el("details", { class: "state" }, el("summary", {}, "state"), state) : state,
        ...node.children.map(branch));
    };
    details.ontoggle = () => unfold(false);
    if (node.proved || node.parent === null) { unfold(node.proved); details.open = true; }
    return details;
  };
  const path = proofOf(nodes);
  const proof = path.length < 2 ? null : el("details", { open: "" }, el("summary", {}, `Proof, ${path.length - 1} tactics`),
    el("ol", { class: "proof" }, ...path.slice(1).map((node) =>
      el("li", {}, el("code", {}, node.tactic), el("pre", {}, node.state || "no goals")))));
  return el("section", {}, el("h3", {}, search.title), proof,
    energies.length ? el("p", { class: "note" }, `Energy from ${low.toFixed(2)} (blue, better) to ${high.toFixed(2)} (red, worse).`
      + (search.borrowed ? " This search did not ask for them: they are those that the other one asked for." : "")) : null,
    search.cut ? el("p", { class: "note" }, nodes.length ? "Only the proof is here: the whole tree would make the file too large." : "The tree is left out to keep the file small; `prover show` prints it.") : null,
    nodes.length ? el("details", { open: "" }, el("summary", {}, `Search tree, ${nodes.length} states`),
      el("div", { class: "tree" }, branch(nodes[0]))) : "");
}
makeTable();
drawCharts();
dark.addEventListener("change", drawCharts);
