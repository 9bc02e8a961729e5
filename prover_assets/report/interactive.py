"""The part of the report that moves: charts, the sortable theorems, and each theorem's proof and search trees.

All of it is in the page: Vega-Lite (package data), the numbers as JSON, and one compressed block per theorem, which the
browser unpacks when the theorem is opened. Nothing is fetched, and the page's own policy forbids it.
"""

import base64
import gzip
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from prover.json_types import JsonObject
from prover_assets.report.record import Report
from prover_assets.store.iterations import iteration_number
from prover_assets.store.layout import SearchFiles

if TYPE_CHECKING:
    from prover.show.view import NodeView, SearchView

TREES_MOST_BYTES = 3_000_000
"""Of all compressed blocks together. Past it a block holds the proof alone, so that the page stays below 5 MB."""
_MOST_MISSES = 20
"""Trees that did not fit any more, after which no further ones are packed to see whether they would."""
_WHOLE, _PROOF, _NOTHING = "whole", "proof", "nothing"
_VEGA = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")
_COLOURS = {"policy": "#7a8892", "guided": "#2f8fdd", "random": "#b8962e"}
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True, slots=True)
class TheoremRow:
    """A row of the table. Expansions are None where the search found no proof."""

    name: str
    declaration: str
    policy: int | None
    guided: int | None
    seconds: float
    """Model, Lean and own time of both searches."""
    searches: "tuple[tuple[str, SearchView], ...]"
    """(title, search) of each search to show."""

    @property
    def proved_by(self) -> str:
        """In a word: who found a proof."""
        words = {(True, True): "both", (True, False): "policy alone", (False, True): "guided alone"}
        return words.get((self.policy is not None, self.guided is not None), "no search")


def theorem_rows(policy: SearchFiles, guided: SearchFiles) -> list[TheoremRow]:
    """The held-out theorems with both of their searches, in the order of the files."""
    from prover.show.view import read_views

    first = {view.name: view for view in read_views(policy.nodes)}
    second = {view.name: view for view in read_views(guided.nodes)}
    rows = []
    for name, view in first.items():
        other = second.get(name)
        searches = (("policy alone", view), *((("guided by the energy", other),) if other is not None else ()))
        rows.append(
            TheoremRow(
                name,
                view.declaration,
                view.expansions_to_proof,
                None if other is None else other.expansions_to_proof,
                sum(shown.model_s + shown.lean_s for _, shown in searches),
                searches,
            )
        )
    return rows


def solve_curve_chart(curves: Mapping[str, Sequence[int | None]], highest: int) -> dict[str, object]:
    """Vega-Lite: share proved within a budget, with 95% Wilson bands. curves: as `plots.solve_curves` takes them."""
    from prover.evaluation.statistics import wilson_interval

    values = []
    for name, expansions in curves.items():
        n = len(expansions)
        for budget in range(1, highest + 1):
            solved = sum(1 for found in expansions if found is not None and found <= budget)
            low, high = wilson_interval(solved, n) if n else (0.0, 0.0)
            values.append({"search": name, "budget": budget, "rate": solved / max(n, 1), "low": low, "high": high})
    x = {
        "field": "budget",
        "type": "quantitative",
        "scale": {"type": "log", "base": 2},
        "title": "budget (expansions per theorem)",
    }
    colour = {
        "field": "search",
        "type": "nominal",
        "scale": {"domain": list(curves), "range": [_COLOURS.get(name, "#7b4fa3") for name in curves]},
        "title": None,
        "legend": {"symbolOpacity": 1, "symbolType": "circle"},  # not as faint as the bands
    }
    share = {"type": "quantitative", "scale": {"domain": [0, 1]}, "title": "theorems proved (share)"}
    return {
        **_chart(values),
        "layer": [
            {
                "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.15, "clip": True},
                "encoding": {
                    "x": x,
                    "y": {"field": "low", **share},
                    "y2": {"field": "high"},
                    "color": colour,
                },
            },
            {
                "params": [{"name": "zoom", "select": "interval", "bind": "scales"}],
                "mark": {"type": "line", "interpolate": "step-after", "tooltip": True, "clip": True},
                "encoding": {
                    "x": x,
                    "y": {"field": "rate", **share},
                    "color": colour,
                    "tooltip": [
                        {"field": "search"},
                        {"field": "budget"},
                        *({"field": name, "format": ".3f"} for name in ("rate", "low", "high")),
                    ],
                },
            },
        ],
    }


def history_chart(history: Iterable[JsonObject]) -> dict[str, object]:
    """Vega-Lite: area under the solve curve by iteration, a line per search. history: `history_rows`."""
    rows = list(history)
    names = [name for name in _COLOURS if any(row["search"] == name for row in rows)]
    numbered = [{**row, "number": iteration_number(row["iteration"])} for row in rows]
    return {
        **_chart(numbered),
        "params": [{"name": "zoom", "select": "interval", "bind": "scales"}],
        "mark": {"type": "line", "point": {"size": 60}, "tooltip": True, "clip": True},
        "encoding": {
            "x": {
                "field": "number",
                "type": "quantitative",
                "title": "iteration",
                "scale": {"domain": _around([row["number"] for row in numbered], 0.5), "nice": False},
                "axis": {"tickMinStep": 1, "format": "03d", "labelExpr": "'iter_' + datum.label", "grid": False},
            },
            "y": {
                "field": "area",
                "type": "quantitative",
                "title": "area under the solve curve",
                "scale": {"domain": _around([row["area"] for row in rows], 0.02), "nice": False},
            },
            "color": {
                "field": "search",
                "type": "nominal",
                "title": None,
                "scale": {"domain": names, "range": [_COLOURS[name] for name in names]},
            },
            "tooltip": [{"field": "iteration"}, {"field": "search"}, {"field": "area", "format": ".3f"}],
        },
    }


def _around(values: Sequence[float], least: float) -> list[float]:
    """A domain with some room around the values, `least` on each side: one value alone has no extent of its own."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = max(least, 0.08 * (high - low))
    return [low - room, high + room]


def time_chart(views: Mapping[str, "Iterable[SearchView]"]) -> dict[str, object]:
    """Vega-Lite: seconds of each search in the model and in Lean."""
    values = []
    for name, searches in views.items():
        found = list(searches)
        values.append({"search": name, "where": "model", "seconds": sum(view.model_s for view in found)})
        values.append({"search": name, "where": "Lean", "seconds": sum(view.lean_s for view in found)})
    return {
        **_chart(values),
        "height": 170,
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "y": {"field": "search", "type": "nominal", "title": None},
            "x": {"field": "seconds", "type": "quantitative", "title": "seconds, summed over theorems"},
            "color": {
                "field": "where",
                "type": "nominal",
                "title": None,
                "scale": {"domain": ["model", "Lean"], "range": ["#2f8fdd", "#c0742e"]},
            },
        },
    }


def _chart(values: Sequence[object]) -> dict[str, object]:
    return {
        "width": "container",
        "height": 260,
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": values},
    }


def history_rows(reports: Iterable[Report]) -> list[dict[str, object]]:
    """Area under the solve curve of every search in the reports of the iterations, in their order."""
    rows = []
    for report in reports:
        modes = dict(report["comparison"]["modes"])
        control = report.get("control")
        if control is not None:
            modes |= {name: mode for name, mode in control["modes"].items() if name not in modes}
        rows += [
            {"iteration": report["iteration"], "search": name, "area": mode["area"]} for name, mode in modes.items()
        ]
    return rows


def widgets(charts: Mapping[str, JsonObject], theorems: Sequence[TheoremRow]) -> str:
    """The data, the trees, and the scripts, to stand at the end of the page's body."""
    table = [[row.name, row.proved_by, row.policy, row.guided, round(row.seconds, 2)] for row in theorems]
    parts = [_data("data", _json({"charts": dict(charts), "theorems": table}))]
    parts += [_data(f"tree-{place}", block, "application/gzip") for place, block in enumerate(_blocks(theorems))]
    parts += [f'<script type="text/javascript">{_asset(name)}</script>' for name in (*_VEGA, "tree.js", "page.js")]
    return "\n".join(parts)


def theorems_table() -> str:
    """The empty table that the script fills, with its filter and the place of an opened theorem."""
    columns = ("theorem", "proved by", "policy alone, at expansion", "guided, at expansion", "seconds")
    head = "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in columns)
    return (
        '<p><label>Find <input type="search" id="filter"></label> <span class="note" id="count"></span></p>'
        '<div class="wide tall" tabindex="0" role="region" aria-label="theorems"><table id="theorems">'
        f"<thead><tr>{head}</tr></thead><tbody></tbody></table></div>"
        '<div id="theorem" aria-live="polite"></div><noscript>Scripts are off, so theorems cannot be listed.</noscript>'
    )


def style() -> str:
    """The page's style sheet."""
    return _asset("page.css")


def security_policy() -> str:
    """The meta element that forbids the page to fetch anything."""
    return f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">'


@cache
def _asset(name: str) -> str:
    return (resources.files("prover_assets.report") / "page_files" / name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    """JSON that can stand inside a script element."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _data(name: str, text: str, kind: str = "application/json") -> str:
    return f'<script type="{kind}" id="{name}">{text}</script>'


def _blocks(theorems: Sequence[TheoremRow]) -> list[str]:
    """A block per theorem, at most `TREES_MOST_BYTES` together: proofs before trees, earlier theorems before later."""
    blocks = []
    for row in theorems:
        blocks.append(_packed(row, _PROOF))
    left = TREES_MOST_BYTES - sum(map(len, blocks))
    for place in reversed(range(len(blocks))):
        if left >= 0:
            break
        bare = _packed(theorems[place], _NOTHING)
        left += len(blocks[place]) - len(bare)
        blocks[place] = bare
    misses = 0
    for place, row in enumerate(theorems):
        if left <= 0 or misses == _MOST_MISSES:
            break
        whole = _packed(row, _WHOLE)
        if len(whole) - len(blocks[place]) <= left:
            left -= len(whole) - len(blocks[place])
            blocks[place] = whole
        else:
            misses += 1
    return blocks


def _packed(row: TheoremRow, what: str) -> str:
    """A theorem and its searches: JSON, gzip, base64. what: all nodes, those of the proof, or none."""
    # An energy is the state's own, so a search that asked for none is coloured by what the other one asked for.
    energies = {node.state: node.energy for _, view in row.searches for node in view.nodes if node.energy is not None}
    searches = []
    for title, view in row.searches:
        nodes = {_WHOLE: view.nodes, _PROOF: tuple(view.proof_path()), _NOTHING: ()}[what]
        searches.append(search_data(title, view, nodes, energies))
    text = json.dumps({"declaration": row.declaration, "searches": searches}, ensure_ascii=False)
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


def search_data(
    title: str, view: "SearchView", nodes: "Sequence[NodeView]", energies: Mapping[str, float | None]
) -> dict[str, object]:
    """One theorem's search as `searchView` in `page_files/tree.js` draws it, plain values.

    nodes: those of `view` that are shown. energies: ENERGY by state, for nodes that have none of their own.
    """
    return {
        "title": f"{title}: {_fate(view)}",
        "cut": len(nodes) < len(view.nodes),
        "borrowed": all(node.energy is None for node in view.nodes),
        "nodes": _nodes(nodes, {node.id for node in view.proof_path()}, energies),
    }


def _fate(view: "SearchView") -> str:
    if view.proved:
        return f"proved at expansion {view.expansions_to_proof}"
    return f"not proved ({view.ended.replace('_', ' ')}, {view.expansions} expansions)"


def _nodes(nodes: "Sequence[NodeView]", proved: set[int], energies: Mapping[str, float | None]) -> list[list[object]]:
    """[parent, tactic, ENERGY, flags, state] of each node; flags: 1 on the proof, 2 expanded or finished.

    energies: by state, for nodes that have none of their own.
    """
    place = {node.id: index for index, node in enumerate(nodes)}
    energy_of = [node.energy if node.energy is not None else energies.get(node.state) for node in nodes]
    return [
        [
            None if node.parent is None else place.get(node.parent),
            node.tactic,
            None if energy is None else round(energy, 3),
            (1 if node.id in proved else 0) | (2 if node.expanded or node.complete else 0),
            node.state,
        ]
        for node, energy in zip(nodes, energy_of, strict=True)
    ]
