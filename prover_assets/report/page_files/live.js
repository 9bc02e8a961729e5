"use strict";
// A search while it runs, or after it has ended: asked for again and again while the page is visible.
const LOOK_MS = { running: 1000, unfinished: 3000, finished: 10000 };
const AGAIN_MS = 5000;
const MOST_ROWS = 400, MOST_LOOKS = 180, MOST_FRONTIER = 8;
const at = (id) => document.getElementById(id);
let landed = [], generation = null, looks = [], shown = null;
const folded = new Map();  // node's path -> whether a person has opened or closed it

const words = (seconds) => seconds < 60 ? `${Math.round(seconds)} s` : seconds < 3600
  ? `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
  : `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
const said = { running: "running", finished: "finished", unfinished: "not finished: nobody is writing it on this machine" };

// Change an element only where what it shows is something else: what has the focus, or is selected, stays.
function renew(id, value, draw) {
  const key = JSON.stringify(value);
  if (at(id).dataset.key === key) return;
  at(id).dataset.key = key;
  const focus = at(id).contains(document.activeElement) ? document.activeElement.dataset.path : undefined;
  at(id).replaceChildren(...draw());
  if (focus !== undefined) [...at(id).querySelectorAll("[data-path]")].find((e) => e.dataset.path === focus)?.focus();
}
function table(names, rows) {
  return el("table", {}, el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...rows));
}
function figures(now) {
  const pairs = [
    ["theorems", now.theorems === null ? String(now.done) : `${now.done} of ${now.theorems}`], ["proved", String(now.proved)],
    ["expansions", String(now.expansions)],
    ["expansions/s", now.expansions_rate === null ? null : now.expansions_rate.toFixed(1)],
    ["theorems/s", now.done_rate === null ? null : now.done_rate.toFixed(2)],
    ["left", now.seconds_left === null ? null : words(now.seconds_left)],
    ["so far", now.elapsed_s === null ? null : words(now.elapsed_s)],
    ["in the model", words(now.model_s)], ["in Lean", words(now.lean_s)],
  ].filter(([, value]) => value !== null);
  at("figures").replaceChildren(...pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  at("bar").max = Math.max(now.theorems ?? now.done, 1);
  at("bar").value = now.done;
  renew("state", now.state, () => [said[now.state]]);
  at("state").className = `verdict ${now.state === "finished" ? "promoted" : ""}`;
  document.title = `${now.done}${now.theorems === null ? "" : `/${now.theorems}`} ${now.state} · ${now.name}`;
}
// Theorems that are done and proved since the page was opened, against time.
function curve(now) {
  if (now.state !== "running") { looks = []; at("curve").hidden = true; return; }
  looks = [...looks, [Date.now(), now.done, now.proved]].slice(-MOST_LOOKS);
  at("curve").hidden = looks.length < 3 || looks[looks.length - 1][1] === looks[0][2];
  if (at("curve").hidden) return;
  const [width, height] = [600, 90];
  const [from, to] = [looks[0][0], looks[looks.length - 1][0]];
  const [low, high] = [Math.min(...looks.map((look) => look[2])), Math.max(...looks.map((look) => look[1]), 1)];
  const place = (look, column) => `${((look[0] - from) / (to - from) * width).toFixed(1)},${(height - (look[column] - low) / Math.max(high - low, 1) * height).toFixed(1)}`;
  for (const [id, column] of [["line-done", 1], ["line-proved", 2]]) {
    at(id).setAttribute("points", looks.map((look) => place(look, column)).join(" "));
  }
  const text = `${low} to ${high} theorems in the last ${words((to - from) / 1000)}: done (grey) and proved (green)`;
  at("curve-says").textContent = text;
  at("curve").firstElementChild.setAttribute("aria-label", text);
}
function latest() {
  const wanted = at("filter").value.toLowerCase();
  const rows = landed.filter((row) => row[0].toLowerCase().includes(wanted) && (row[1] || !at("only").checked));
  at("count").textContent = `${rows.length} of ${landed.length}` + (rows.length > MOST_ROWS ? `, the latest ${MOST_ROWS} shown` : "");
  renew("landed", [rows.length, wanted, at("only").checked, generation, landed.length], () => [table(
    ["theorem", "how it ended", "tactics", "expansions", "seconds", "proof"],
    rows.slice(-MOST_ROWS).reverse().map(([name, proved, ended, steps, expansions, seconds, proof]) => el("tr", {},
      el("td", {}, el("button", { class: "name", type: "button", "data-path": name, onclick: () => openTheorem(name) }, name)),
      el("td", { class: proved ? "good" : "" }, proved ? "proved" : ended), el("td", {}, steps ? String(steps) : "–"),
      el("td", {}, String(expansions)), el("td", {}, seconds.toFixed(2)), el("td", { class: "long" }, el("code", {}, proof)))))]);
}
// -- open theorems --------------------------------------------------------------------------------------------------
const pathOf = (node, nodes) => (node.parent === null ? "" : pathOf(nodes[node.parent], nodes)) + "\u0000" + node.tactic;
function openSearches(now) {
  const names = now.searches.map((search) => search.name);
  if (!names.includes(shown)) shown = names[0] ?? null;
  at("open-title").hidden = at("open").hidden = !names.length;
  renew("tabs", [names, shown], () => names.map((name) => el("button", { type: "button", "data-path": name,
    "aria-pressed": String(name === shown), onclick: () => { shown = name; openSearches(now); } }, name)));
  const search = now.searches.find((one) => one.name === shown);
  if (search === undefined) return;
  const nodes = nodesOf(search.nodes);
  const range = energiesOf(nodes);
  const frontier = search.frontier.slice(0, MOST_FRONTIER).map((place) => nodes[place]);
  const next = new Map(frontier.map((node, rank) => [node, rank + 1]));
  const leading = new Set();
  for (const node of frontier) for (let n = node.parent; n !== null; n = nodes[n].parent) leading.add(nodes[n]);
  renew("open", search, () => [
    el("p", {}, `${search.expansions} expansions, ${search.size} states`
      + (search.size > nodes.length ? `, of which the newest ${nodes.length} are shown` : "") + "."),
    el("pre", {}, search.statement),
    el("div", { class: "side" },
      el("section", {}, el("h3", {}, "Frontier: what is tried next"),
        el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "frontier", "data-path": "frontier" },
          table(["next", ...(range ? ["energy"] : []), "tactic", "goal"], frontier.map((node) => el("tr", {},
            el("td", {}, String(next.get(node))),
            ...(range ? [el("td", {}, swatch(node.energy, range), node.energy === null ? "" : node.energy.toFixed(2))] : []),
            el("td", { class: "long" }, el("code", {}, node.tactic || "start")),
            el("td", { class: "long" }, el("code", {}, node.state.split("\n").find((line) => line.startsWith("⊢")) ?? node.state))))))),
      el("section", {}, el("h3", {}, "The tree so far"),
        range ? el("p", { class: "note" }, `Energy from ${range[0].toFixed(2)} (blue, better) to ${range[1].toFixed(2)} (red, worse).`) : null,
        el("div", { class: "tree" }, nodes.length ? branch(nodes[0], range, {
          opens: (node) => folded.get(pathOf(node, nodes)) ?? leading.has(node), folds: () => true,
          marks: (node) => pathOf(node, nodes),
          says: (node) => next.has(node) ? `  next ${next.get(node)}` : "",
          toggled: (node, open) => folded.set(pathOf(node, nodes), open) }) : "The statement is being read.")))]);
}
async function openTheorem(name) {
  const reply = await fetch(`theorem.json?name=${encodeURIComponent(name)}`);
  const found = await reply.json();
  at("theorem").replaceChildren(el("h3", { tabindex: "-1" }, name),
    ...(found.problem ? [el("p", {}, found.problem)] : [el("pre", {}, found.declaration), searchView(found.search)]));
  at("theorem").querySelector("h3").focus();
  at("theorem").scrollIntoView({ block: "start" });
}
// -------------------------------------------------------------------------------------------------------------------
async function look() {
  let wait = AGAIN_MS;
  try {
    const known = generation === null ? "" : `?since=${landed.length}&generation=${generation}`;
    const reply = await fetch(`state.json${known}`);
    const now = await reply.json();
    renew("problem", now.problem ?? "", () => [now.problem ?? ""]);
    if (!now.problem) {
      generation = now.generation;
      landed = [...landed.slice(0, now.since), ...now.landed];
      figures(now); curve(now); latest(); openSearches(now);
      wait = LOOK_MS[now.state];
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;  // what fetch raises where nobody answers
    const gone = "The server does not answer: `make ui` has ended.";
    renew("problem", gone, () => [gone]);
  }
  setTimeout(() => document.hidden ? document.addEventListener("visibilitychange", look, { once: true }) : look(), wait);
}
at("filter").oninput = at("only").oninput = latest;
look();
