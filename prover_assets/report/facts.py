"""Numbers, tables and drawings from the files of a search. polars is imported inside: loading the assets needs none."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prover.environments.isolation.refusal import REFUSED
from prover.json_types import JsonObject
from prover_assets.report.plots import TreeNode
from prover_assets.store.files import DamagedFile, digest_of, maker
from prover_assets.store.layout import SearchFiles

if TYPE_CHECKING:
    import polars as pl


def read(path: Path) -> "pl.DataFrame":
    """A Parquet file. Raises FileNotFoundError and DamagedFile that say which asset makes it."""
    import polars as pl

    from prover.parquet import ParquetDamaged, read_table

    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; materialize {maker(path)} first")
    try:
        frame = pl.from_arrow(read_table(path))
    except (ParquetDamaged, OSError) as error:
        raise DamagedFile(path, f"it should be a Parquet file as it was written: {error}") from error
    assert isinstance(frame, pl.DataFrame)
    return frame


def search_counts(summary: "pl.DataFrame") -> dict[str, float]:
    """Totals of a search from its summary rows: counts, and milliseconds by who used them."""
    import polars as pl

    theorems = summary.height
    proved = int(summary["proved"].sum())
    return {
        "theorems": theorems,
        "proved": proved,
        "solve_rate": proved / theorems if theorems else 0.0,
        "claimed": int(summary["claimed"].sum()),
        "uncertified": summary.filter(pl.col("claimed") & ~pl.col("certified")).height,
        "proved_uncertified": summary.filter(pl.col("proved") & ~pl.col("certified")).height,
        "invalid": len(invalid_theorems(summary, theorems)),
        "refused": len(refused_theorems(summary, theorems)),
        "crashed": summary.filter(pl.col("ended") == "crashed").height,
        "timed_out": summary.filter(pl.col("ended") == "timeout").height,
        "frontier_exhausted": summary.filter(pl.col("ended") == "frontier_exhausted").height,
        "expansions": int(summary["expansions"].sum()),
        "tactics": int(summary["tactics"].sum()),
        "nodes": int(summary["nodes"].sum()),
        "model_ms": float(summary["model_ms"].sum()),
        "lean_ms": float(summary["lean_ms"].sum()),
        "own_ms": float(summary["own_ms"].sum()),
    }


def expansions_to_proof(summary: "pl.DataFrame") -> dict[str, int | None]:
    """Theorem -> the expansion at which its certified proof was found, None where there is none."""
    return dict(zip(summary["theorem_name"].to_list(), summary["expansions_to_proof"].to_list(), strict=True))


def results_digest(summary: "pl.DataFrame") -> str:
    """Digest of what a search found, whatever it cost and in whatever order: a part of the data version."""
    rows = summary.sort("theorem_name").select("theorem_name", "statement", "ended", "expansions_to_proof", "nodes")
    return digest_of(rows.rows())


def label_counts(nodes: "pl.DataFrame") -> dict[str, int]:
    """Rows by label; all three labels are present."""
    found = dict(nodes["label"].value_counts().iter_rows())
    return {label: int(found.get(label, 0)) for label in ("positive", "negative", "unknown")}


def state_lengths(nodes: "pl.DataFrame") -> dict[str, float]:
    """Mean, and 10th, 50th and 90th percentile, of the length of unfinished states (characters)."""
    import polars as pl

    lengths = nodes.filter(~pl.col("is_proof_complete"))["state_pp"].str.len_chars()
    if lengths.is_empty():
        return {}
    return {
        "mean": float(lengths.cast(pl.Float64).mean()),  # type: ignore[arg-type]
        **{f"p{q}": float(lengths.quantile(q / 100) or 0) for q in (10, 50, 90)},
    }


def invalid_theorems(summary: "pl.DataFrame", most: int = 20) -> list[tuple[str, str]]:
    """(name, Lean's message) of theorems that Lean does not accept."""
    return [(name, reason) for name, reason in _not_searched(summary) if not reason.startswith(REFUSED)][:most]


def refused_theorems(summary: "pl.DataFrame", most: int = 20) -> list[tuple[str, str]]:
    """(name, why, with the way out) of theorems that we refused: Lean was not asked about them."""
    return [(name, reason) for name, reason in _not_searched(summary) if reason.startswith(REFUSED)][:most]


def _not_searched(summary: "pl.DataFrame") -> list[tuple[str, str]]:
    import polars as pl

    rows = summary.filter(pl.col("ended") == "invalid").select("theorem_name", pl.col("reason").fill_null(""))
    return [(name, reason) for name, reason in rows.iter_rows()]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; pipes and line breaks in cells are made harmless, floats get three digits."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = "" if value is None else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>")


def clip(value: object, most: int = 160) -> object:
    """A text that fits into a table's cell; other values as they are."""
    return value if not isinstance(value, str) or len(value) <= most else value[: most - 1] + "…"


def a_proof(files: SearchFiles, name: str | None = None) -> tuple[str, str] | None:
    """(theorem, Markdown) of a proof this search found, with the states between its tactics; None if there is none.

    name: which theorem; the one with the longest proof where it is left out.
    """
    import polars as pl

    summary = read(files.summary).filter(pl.col("proved"))
    if name is not None:
        summary = summary.filter(pl.col("theorem_name") == name)
    if summary.is_empty():
        return None
    row = summary.sort(pl.col("proof").list.len(), "theorem_name", descending=[True, False]).row(0, named=True)
    nodes = read(files.nodes).filter(pl.col("theorem_name") == row["theorem_name"])
    by_id = {node["state_id"]: node for node in nodes.iter_rows(named=True)}
    final = next((node for node in by_id.values() if node["is_proof_complete"]), None)
    path = _path(by_id, final)
    lines = [f"theorem {row['theorem_name']} {row['statement']} := by", *(f"  {tactic}" for tactic in row["proof"])]
    text = ["```lean", *lines, "```", ""]
    for node in path:
        if node["tactic_applied"]:
            text.append(f"`{_one_line(node['tactic_applied'])}`")
        text += ["```", node["state_pp"] or "no goals", "```"]
    return row["theorem_name"], "\n".join(text)


def _one_line(tactic: str) -> str:
    return " ".join(tactic.replace("`", "'").split())


def _path(by_id: Mapping[int, JsonObject], node: JsonObject | None) -> list[JsonObject]:
    path: list[JsonObject] = []
    while node is not None:
        path.append(node)
        parent = node["parent_state_id"]
        node = None if parent is None else by_id.get(parent)
    return path[::-1]


def tree_of(files: SearchFiles, name: str) -> list[TreeNode]:
    """The search of one theorem as nodes to draw."""
    import polars as pl

    nodes = read(files.nodes).filter(pl.col("theorem_name") == name)
    by_id = {node["state_id"]: node for node in nodes.iter_rows(named=True)}
    final = next((node for node in by_id.values() if node["is_proof_complete"]), None)
    proved = {node["state_id"] for node in _path(by_id, final)}
    number = {state_id: index for index, state_id in enumerate(by_id)}
    return [
        TreeNode(
            id=number[node["state_id"]],
            parent=number.get(node["parent_state_id"]),
            tactic=node["tactic_applied"],
            proved=node["state_id"] in proved,
            complete=node["is_proof_complete"],
            expanded=node["expanded"],
            energy=None if node["ebm_score"] is None else -node["ebm_score"],
        )
        for node in by_id.values()
    ]
