"use strict";
// What the report and the live page share: a search as a list of tactics and as a tree that unfolds.
const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick" || name === "ontoggle" || name === "oninput") node[name] = value;
    else if (name === "style") node.style.cssText = value;  // also where the page's policy allows no style attributes
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
};

// Rows [parent, tactic, energy, flags, state] as linked nodes. flags: 1 on the proof, 2 expanded or finished.
function nodesOf(rows) {
  const nodes = rows.map(([parent, tactic, energy, flags, state], id) => ({
    id, parent, tactic, energy, state, proved: Boolean(flags & 1), open: !(flags & 2), children: [] }));
  for (const node of nodes) if (node.parent !== null) nodes[node.parent].children.push(node);
  return nodes;
}
// The nodes of the proof from the root to its end. A parent may come after its child: a better path was found later.
function proofOf(nodes) {
  const path = [];
  let at = nodes.find((node) => node.proved && !node.children.some((child) => child.proved));
  for (; at !== undefined && !path.includes(at); at = nodes[at.parent ?? -1]) path.unshift(at);
  return path;
}
function energiesOf(nodes) {
  const energies = nodes.map((node) => node.energy).filter((energy) => energy !== null);
  return energies.length ? [Math.min(...energies), Math.max(...energies)] : null;
}
function swatch(energy, range) {
  if (energy === null || range === null) return null;
  const share = range[1] > range[0] ? (energy - range[0]) / (range[1] - range[0]) : 0;
  return el("span", { class: "swatch", style: `background:hsl(${Math.round(210 - 180 * share)} 75% 50%)`, "aria-hidden": "true" });
}
// A node and what is below it, made as it is unfolded. opens: whether a node is open from the start. folds: whether its
// state is then folded. says: a few words after its tactic. marks: a name of it, by which a page finds it again.
// toggled: told when a person folds or unfolds it.
function branch(node, range, options) {
  const { opens, folds, says = () => "", marks = () => "", toggled = () => {} } = options;
  const label = el("summary", {}, swatch(node.energy, range), node.tactic || "start",
    el("span", { class: "energy" }, (node.energy === null ? "" : `  E ${node.energy.toFixed(2)}`)
      + (node.children.length ? `  (${node.children.length})` : node.state && node.open ? "  open" : "") + says(node)));
  if (marks(node)) label.dataset.path = marks(node);
  const details = el("details", { class: node.proved ? "proved" : "" }, label);
  let [filled, open] = [false, opens(node)];
  const unfold = (folded) => {
    if (filled) return;
    filled = true;
    const state = el("pre", {}, node.state || "no goals");
    details.append(folded ? el("details", { class: "state" }, el("summary", {}, "state"), state) : state,
      ...node.children.map((child) => branch(child, range, options)));
  };
  if (open) { unfold(folds(node)); details.open = true; }
  details.ontoggle = () => {
    unfold(false);
    if (details.open === open) return;  // it was opened here, by no person
    open = details.open;
    toggled(node, open);
  };
  return details;
}
function searchView(search) {
  const nodes = nodesOf(search.nodes);
  const range = energiesOf(nodes);
  const path = proofOf(nodes);
  const proof = path.length < 2 ? null : el("details", { open: "" }, el("summary", {}, `Proof, ${path.length - 1} tactics`),
    el("ol", { class: "proof" }, ...path.slice(1).map((node) =>
      el("li", {}, el("code", {}, node.tactic), el("pre", {}, node.state || "no goals")))));
  // The proof stands above with its states, so here they are folded; whoever opens a branch sees its state at once.
  const tree = { opens: (node) => node.proved || node.parent === null, folds: (node) => node.proved };
  return el("section", {}, el("h3", {}, search.title), proof,
    range ? el("p", { class: "note" }, `Energy from ${range[0].toFixed(2)} (blue, better) to ${range[1].toFixed(2)} (red, worse).`
      + (search.borrowed ? " This search did not ask for them: they are those that the other one asked for." : "")) : null,
    search.cut ? el("p", { class: "note" }, nodes.length ? "Only the proof is here: the whole tree would make the file too large." : "The tree is left out to keep the file small; `prover show` prints it.") : null,
    nodes.length ? el("details", { open: "" }, el("summary", {}, `Search tree, ${nodes.length} states`),
      el("div", { class: "tree" }, branch(nodes[0], range, tree))) : "");
}
