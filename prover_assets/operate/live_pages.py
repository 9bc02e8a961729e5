"""The searches of a data folder as pages that move, under `/live/` of the reports' server: what `prover live` shows.

What is asked for is looked up among the searches that there are. The only file that is touched is the mark by which a
running search knows that somebody looks (`prover.search.glimpse`).
"""

import html
import json
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from urllib.parse import parse_qs, quote

from prover.show.live import LiveSearch, LiveView, searches_in
from prover.show.view import visible

PREFIX = "/live/"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'"
"""The pages' own policy: nothing from elsewhere, no script but those of this package."""
_FILES = {"tree.js": "text/javascript", "live.js": "text/javascript", "page.css": "text/css", "live.css": "text/css"}
_HTML, _JSON = "text/html; charset=utf-8", "application/json"
_FORGET_AFTER_S = 60.0
_MOST_LISTED = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back for a path."""

    status: HTTPStatus
    content: bytes
    kind: str = "text/plain; charset=utf-8"


@dataclass(slots=True)
class _Watched:
    search: LiveSearch
    asked: float = 0.0
    """`time.monotonic()` of the last question."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class LivePages:
    """The pages of one data folder. Its methods may be called by several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._watched: dict[str, _Watched] = {}
        self._lock = threading.Lock()

    def answer(self, path: str, query: str) -> Answer:
        """The answer to `PREFIX` + `path`. query: what stands after the `?`."""
        if path in _FILES:
            return Answer(HTTPStatus.OK, _file(path), f"{_FILES[path]}; charset=utf-8")
        searches = searches_in(self._folder) if path not in self._asked() else {}
        if path == "":
            return Answer(HTTPStatus.OK, _list(self._folder, searches), _HTML)
        name, _, leaf = path.rpartition("/")
        output = searches.get(name) or self._known(name)
        if output is None or leaf not in ("", "state.json", "theorem.json"):
            return Answer(HTTPStatus.NOT_FOUND, b"there is no such search; /live/ lists them\n")
        asked = parse_qs(query)
        if leaf == "state.json":
            return self._state(name, output, asked)
        if leaf == "theorem.json":
            return _theorem(output, asked.get("name", [""])[0])
        return Answer(HTTPStatus.OK, _file("live.html").replace(b"NAME-OF-THE-SEARCH", _escaped(name)), _HTML)

    def _asked(self) -> set[str]:
        """Paths that are asked for every second, for which the data folder is not looked through."""
        return {f"{name}/state.json" for name in list(self._watched)}

    def _known(self, name: str) -> Path | None:
        watched = self._watched.get(name)
        return None if watched is None else watched.search.output

    def _state(self, name: str, output: Path, asked: dict[str, list[str]]) -> Answer:
        from prover.trajectory.reader import TrajectoryError

        watched = self._watch(name, output)
        with watched.lock:
            try:
                view = watched.search.look()
            except (TrajectoryError, OSError) as error:
                return _json({"problem": str(error)})
        same = asked.get("generation", [""])[0] == str(view.generation)
        known = asked.get("since", ["0"])[0]
        since = int(known) if same and known.isdecimal() and int(known) <= len(view.landed) else 0
        return _json(_described(name, view, since))

    def _watch(self, name: str, output: Path) -> _Watched:
        now = time.monotonic()
        with self._lock:
            for other, watched in list(self._watched.items()):
                if now - watched.asked > _FORGET_AFTER_S:
                    self._watched.pop(other).search.close()
            found = self._watched.setdefault(name, _Watched(LiveSearch(output)))
            found.asked = now
            return found


def _described(name: str, view: LiveView, since: int) -> dict[str, object]:
    """A search at one moment. `landed`: the theorems that are done, from the place `since` on."""
    told = ("state", "theorems", "done", "proved", "expansions", "expansions_rate", "done_rate", "elapsed_s")
    return {
        "name": name,
        **{key: getattr(view, key) for key in (*told, "model_s", "lean_s", "seconds_left", "generation")},
        "since": since,
        "landed": [
            [
                visible(one.name),
                one.proved,
                one.ended.replace("_", " "),
                one.steps,
                one.expansions,
                round(one.seconds, 3),
                visible("; ".join(" ".join(step.split()) for step in one.proof)),
            ]
            for one in view.landed[since:]
        ],
        "searches": [
            {
                "name": visible(search["name"]),
                "statement": visible(search["statement"]),
                "expansions": search["expansions"],
                "size": search["size"],
                "frontier": search["frontier"],
                "nodes": [
                    [parent, visible(tactic), energy, 0 if expansion is None else 2, visible(state)]
                    for parent, tactic, energy, expansion, state in search["nodes"]
                ],
            }
            for search in view.searches
        ],
    }


def _theorem(output: Path, name: str) -> Answer:
    """One theorem that is done: its statement, its proof, and its tree."""
    from prover.show.view import read_views
    from prover.trajectory.reader import TrajectoryError
    from prover_assets.report.interactive import search_data

    try:
        found = read_views(output, [name])
    except (TrajectoryError, OSError) as error:
        return _json({"problem": str(error)})
    if not found:
        return _json({"problem": f"{name} is not among the theorems that are done; it may still be searched"})
    (view, *_) = found
    return _json({"declaration": visible(view.declaration), "search": search_data(view.mode, view, view.nodes, {})})


def _list(folder: Path, searches: dict[str, Path]) -> bytes:
    """The page that names the searches: those that have not ended first."""
    shown = list(searches)[:_MOST_LISTED]
    links = "".join(
        f'<li><a href="{PREFIX}{quote(name)}/">{_escaped(name).decode()}</a>'
        f"{' (running, or cut off)' if searches[name].with_suffix('.parts').is_dir() else ''}</li>"
        for name in shown
    )
    more = f"<p>{len(searches) - len(shown)} older ones are left out.</p>" if len(shown) < len(searches) else ""
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Searches</title>'
        f'<link rel="stylesheet" href="{PREFIX}page.css"></head><body><main><p><a href="/">Reports</a></p>'
        f"<h1>Searches</h1><p>In {html.escape(str(folder))}, the latest first.</p>"
        + (f"<ul>{links}</ul>{more}" if links else "<p>There is none yet: <code>make run</code> makes some.</p>")
        + "</main></body></html>\n"
    )
    return text.encode()


def _escaped(name: str) -> bytes:
    return html.escape(visible(name)).encode()


@cache
def _file(name: str) -> bytes:
    return (resources.files("prover_assets.report") / "page_files" / name).read_bytes()


def _json(value: dict[str, object]) -> Answer:
    return Answer(HTTPStatus.OK, json.dumps(value, ensure_ascii=False).encode(), _JSON)
