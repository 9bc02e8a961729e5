"""The report of an iteration as a page of its own: one HTML file with its figures inside, readable without a server."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prover_assets.report.interactive import security_policy, style
from prover_assets.report.plots import Picture
from prover_assets.report.story import DEFINITIONS


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: a title, then whatever of text, chart, tables, pictures and code it has, in this order."""

    title: str
    text: str = ""
    tables: Sequence[tuple[Sequence[str], Sequence[Sequence[object]]]] = ()
    pictures: Sequence[tuple[str, Picture]] = ()
    code: str = ""
    chart: str = ""
    """`id` of the chart that a script draws here, with `title` as its name."""
    bullets: Sequence[str] = ()
    markup: str = ""
    """HTML that this package made, from no data."""


def render(
    title: str,
    verdict: str,
    promoted: bool,
    sections: Sequence[Section],
    facts: Mapping[str, object],
    *,
    scripts: str = "",
) -> str:
    """The whole page. Everything that comes from data is escaped. scripts: `interactive.widgets`."""
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{security_policy()}',
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">',
        f"<title>{html.escape(title)}</title><style>{style()}</style></head>",
        f"<body><main><h1>{html.escape(title)}</h1>",
        f'<p class="verdict{" promoted" if promoted else ""}">{html.escape(verdict)}</p>',
        _terms(),
    ]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        if section.text:
            parts.append(f"<p>{html.escape(section.text)}</p>")
        if section.chart:
            name = html.escape(section.title)
            parts.append(f'<div class="chart" id="{section.chart}" role="img" aria-label="{name}"></div>')
        parts += [_wide(section.title, _table(header, rows)) for header, rows in section.tables]
        if section.bullets:
            parts.append("<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in section.bullets) + "</ul>")
        parts += [
            f'<figure><figcaption>{html.escape(name)}</figcaption><img class="picture" alt="{html.escape(name)}" '
            f'src="{picture.data_uri}"></figure>'
            for name, picture in section.pictures
        ]
        parts.append(section.markup)
        if section.code:
            parts.append(f"<pre>{html.escape(section.code)}</pre>")
    made_from = _table(["what", "value"], list(facts.items()), kind="words")
    parts.append(f"<h2>Made from</h2>{_wide('Made from', made_from)}</main>{scripts}</body></html>\n")
    return "\n".join(parts)


def _terms() -> str:
    """The terms of the page, each with its meaning on hover and on focus."""
    terms = (
        f'<dfn tabindex="0">{html.escape(term)}<span role="tooltip">{html.escape(meaning)}</span></dfn>'
        for term, meaning in DEFINITIONS.items()
    )
    return f'<p class="note">Terms: {", ".join(terms)}.</p>'


def _wide(name: str, table: str) -> str:
    """A table that scrolls by itself where it is wider than the page, also by keyboard."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{html.escape(name)}">{table}</div>'


def _table(header: Sequence[str], rows: Sequence[Sequence[object]], kind: str = "numbers") -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in header)
    body = "".join("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f'<table class="{kind}"><tr>{head}</tr>{body}</table>'


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return html.escape("" if value is None else str(value))
