"""The report of an iteration as a page of its own: one HTML file with its figures inside, readable without a server."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prover_assets.report.plots import Picture

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2529; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .6rem 0; }
td, th { padding: .25rem .7rem; border-bottom: 1px solid #dfe4e7; white-space: nowrap; }
td, th { text-align: right; font-variant-numeric: tabular-nums; }
td:first-child, th:first-child { text-align: left; }
img { max-width: 100%; height: auto; } .wide { overflow-x: auto; }
.side { display: flex; flex-wrap: wrap; gap: .8rem; align-items: flex-start; }
figure { margin: 0; max-width: 100%; }
figcaption { color: #5b6770; font-size: .92rem; }
pre { background: #f4f6f7; padding: .6rem .8rem; overflow-x: auto; }
.verdict { padding: .6rem .9rem; border-left: 4px solid #9aa5ad; background: #f4f6f7; }
.promoted { border-color: #2e7d32; } .note { color: #5b6770; font-size: .92rem; }
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: a title, then whatever of text, tables, pictures and code there is, in this order."""

    title: str
    text: str = ""
    tables: Sequence[tuple[Sequence[str], Sequence[Sequence[Any]]]] = ()
    pictures: Sequence[tuple[str, Picture]] = ()
    code: str = ""
    side_by_side: bool = False
    """Whether pictures stand beside each other where both fit the page; each under its name, large enough to read."""


def render(title: str, verdict: str, promoted: bool, sections: Sequence[Section], facts: Mapping[str, Any]) -> str:
    """The whole page. Everything that comes from data is escaped."""
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>',
        f"<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>",
        f'<p class="verdict{" promoted" if promoted else ""}">{html.escape(verdict)}</p>',
    ]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        if section.text:
            parts.append(f"<p>{html.escape(section.text)}</p>")
        parts += [f'<div class="wide">{_table(header, rows)}</div>' for header, rows in section.tables]
        images = [
            (html.escape(name), f'<img alt="{html.escape(name)}" src="{picture.data_uri}">')
            for name, picture in section.pictures
        ]
        if section.side_by_side:
            columns = "".join(f"<figure><figcaption>{name}</figcaption>{image}</figure>" for name, image in images)
            parts.append(f'<div class="side">{columns}</div>')
        else:
            parts += [image for _, image in images]
        if section.code:
            parts.append(f"<pre>{html.escape(section.code)}</pre>")
    parts.append("<h2>Made from</h2>" + _table(["what", "value"], list(facts.items())) + "</body></html>\n")
    return "\n".join(parts)


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return html.escape("" if value is None else str(value))
