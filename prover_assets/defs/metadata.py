"""Metadata for asset pages: tables, previews and column schemas in Dagster's own types."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from prover_assets.report.facts import clip, markdown_table
from prover_assets.report.plots import Picture

if TYPE_CHECKING:
    import polars as pl

DAGSTER_TYPES = {"String": "string", "Boolean": "bool", "Float64": "float", "Float32": "float"}

INLINE = 1000
"""From this many characters on, Dagster hides Markdown behind a link."""


def inline_table(header: Sequence[str], rows: Sequence[Sequence[Any]], widest: int = 44) -> dg.MetadataValue:
    """As many of the rows, from the first on, as a page shows at once; long texts are cut to `widest` characters."""
    flat = [[" ⏎ ".join(value.split("\n")) if isinstance(value, str) else value for value in row] for row in rows]
    cut = [[clip(value, widest) for value in row] for row in flat]
    while cut and len(markdown_table(header, cut)) >= INLINE:
        cut.pop()
    return dg.MetadataValue.md(markdown_table(header, cut))


def preview(frame: "pl.DataFrame", columns: Sequence[str], most: int = 8) -> dg.MetadataValue:
    """The first rows of some columns, as a Markdown table. A column with nothing in these rows is left out: a page is
    narrow, and the text of states needs its room."""
    shown = frame.select(columns).head(most)
    filled = [name for name in columns if shown[name].null_count() < shown.height]
    return inline_table(filled, list(shown.select(filled).iter_rows()))


def column_schema(frame: "pl.DataFrame", descriptions: Mapping[str, str] | None = None) -> dg.TableSchema:
    """The columns for Dagster's own schema view."""
    described = descriptions or {}
    return dg.TableSchema(
        [
            dg.TableColumn(name, DAGSTER_TYPES.get(str(kind), str(kind).lower()), description=described.get(name))
            for name, kind in frame.schema.items()
        ]
    )


def figure(picture: Picture, title: str) -> dg.MetadataValue:
    """A picture on an asset page: Dagster shows it behind "Show Markdown"."""
    return dg.MetadataValue.md(picture.markdown(title))


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> dg.MetadataValue:
    """A table on an asset page."""
    return dg.MetadataValue.md(markdown_table(header, rows))
