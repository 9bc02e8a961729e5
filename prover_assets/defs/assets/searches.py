"""What the three assets that search have in common: their metadata and their numbers in MLflow."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from prover_assets.defs.metadata import column_schema, figure, preview
from prover_assets.defs.step import Step
from prover_assets.report import plots
from prover_assets.report.facts import (
    a_proof,
    expansions_to_proof,
    invalid_theorems,
    markdown_table,
    read,
    refused_theorems,
    results_digest,
    search_counts,
    tree_of,
)
from prover_assets.report.sketch import solve_sketch
from prover_assets.store.files import digest_of
from prover_assets.store.layout import SearchFiles
from prover_assets.store.manifest import Manifest

if TYPE_CHECKING:
    import polars as pl
    from dagster._core.definitions.metadata import RawMetadataValue

NODE_COLUMNS = ("theorem_name", "tactic_applied", "state_pp", "label", "ebm_score")
COLUMN_NOTES = {
    "theorem_name": "distinct within a search",
    "state_id": "distinct within a file",
    "state_pp": "the proof state as Lean prints it; empty where no goals are left",
    "tactic_applied": "the tactic that led here; empty at the root",
    "parent_state_id": "the state before it; null at the root",
    "label": "positive (on a proof), negative (not finished) or unknown",
    "depth_from_root": "tactics from the root",
    "remaining_depth": "fewest tactics known to finish; -1 unknown",
    "llm_log_prob": "cumulative log-probability of the path, nats; higher is better",
    "ebm_score": "SCORE = -energy, higher is better; null where no model scored",
    "is_proof_complete": "no goals are left, and a fresh Lean certified the whole proof",
    "timestamp_ms": "when the state was made, Unix time in milliseconds",
    "iteration": "of expert iteration, from 0",
    "search_id": "what searched: settings, policy, energy model and Lean, as one digest",
    "state_key": "content address of the state's normalised text",
    "n_goals": "goals that are left",
    "expanded": "whether tactics were tried here",
    "environment": "the Lean that checked",
    "policy_id": "the policy that proposed",
    "ebm_id": "the energy model that scored; null for the policy alone",
    "seed": "of the search",
}


def time_parts(counts: Mapping[str, float]) -> dict[str, float]:
    """Seconds by who used them, summed over theorems."""
    return {name: counts[f"{name}_ms"] / 1000 for name in ("model", "lean", "own")}


def describe_search(work: Step, files: SearchFiles, manifest: Manifest, *, title: str) -> "dict[str, RawMetadataValue]":
    """Metadata of a search for its asset page; the same numbers and figures go to MLflow."""
    summary, nodes = read(files.summary), read(files.nodes)
    counts = search_counts(summary)
    expansions = expansions_to_proof(summary)
    highest = int(summary["max_expansions"].max() or 1)  # type: ignore[arg-type]
    curve = plots.solve_curves({title: list(expansions.values())}, highest=highest, title=f"{title}: theorems proved")
    spent = plots.stacked_bar(time_parts(counts), xlabel="seconds, summed over theorems", title="where the time went")
    asset = work.context.asset_key.to_user_string()
    work.run.picture(curve, "solve_curve")
    work.run.picture(spent, "time")
    work.run.traces(asset, manifest.figures.get("calls", {}))
    losses = {f"policy_{name}": count for name, count in manifest.figures.get("policy_counts", {}).items()}
    work.run.metrics({**counts, **losses, "seconds": manifest.seconds})
    work.run.params(
        {
            "inputs": {
                "theorems": manifest.theorems,
                "policy": manifest.policy_fingerprint,
                "environment": manifest.environment_fingerprint,
                "ebm": manifest.ebm_id,
                "left_out": manifest.note,
            }
        },
        parent_prefix=asset,
    )
    kept = f"{asset}-{work.context.partition_key}" if work.context.assets_def.partitions_def is not None else asset
    work.run.dataset(kept, search_data_version(files, manifest), files.nodes, "output")
    metadata: dict[str, RawMetadataValue] = {
        **{key: counts[key] for key in ("theorems", "proved", "solve_rate", "expansions")},
        "seconds": round(manifest.seconds, 2),
        "curve": dg.MetadataValue.md(solve_sketch({title: list(expansions.values())}, highest)),
        "solve_curve": figure(curve, "theorems proved against budget"),
        "time": figure(spent, "where the time went"),
        "preview": preview(nodes, NODE_COLUMNS),
        **_one_proof(work, files),
        **{
            key: counts[key]
            for key in ("claimed", "uncertified", "invalid", "refused", "frontier_exhausted", "tactics", "nodes")
        },
        **losses,
        **_warnings(manifest.figures.get("policy_warnings", ())),
        "dagster/row_count": nodes.height,
        "expansions_per_second": round(counts["expansions"] / manifest.seconds, 1) if manifest.seconds else 0.0,
        "policy": manifest.policy_id,
        "environment": manifest.environment,
        "energy_model": manifest.ebm_id or "none: the policy alone",
        **({"left_out": manifest.note} if manifest.note else {}),
        "candidates_from_memo": manifest.candidates_known,
        "dagster/column_schema": column_schema(nodes, COLUMN_NOTES),
        "path": dg.MetadataValue.path(str(files.nodes)),
    }
    metadata |= _not_searched(summary)
    if manifest.lost:
        metadata["incomplete"] = manifest.lost
    return metadata


def _not_searched(summary: "pl.DataFrame") -> dict[str, dg.MetadataValue]:
    """Tables of the theorems that Lean does not accept, and of those that we refused; nothing for none."""
    tables = {
        "invalid_theorems": (["theorem", "Lean says"], invalid_theorems(summary)),
        "refused_theorems": (["theorem", "refused by us: why, and what to do"], refused_theorems(summary)),
    }
    return {name: dg.MetadataValue.md(markdown_table(header, rows)) for name, (header, rows) in tables.items() if rows}


def _warnings(sentences: Sequence[str]) -> dict[str, dg.MetadataValue]:
    """What the policy lost of its inputs and outputs in more than 1% of the cases; nothing where there was no such."""
    return {"policy_warnings": dg.MetadataValue.md("\n".join(f"- {text}" for text in sentences))} if sentences else {}


def _one_proof(work: Step, files: SearchFiles) -> dict[str, dg.MetadataValue]:
    """A proof that this search found, with the states between its tactics, and the tree it was found in."""
    found = a_proof(files)
    if found is None:
        return {}
    name, proof = found
    tree = plots.search_tree(tree_of(files, name), title=f"search of {name}")
    work.run.picture(tree, "search_tree")
    return {"a_proof": dg.MetadataValue.md(proof), "a_search_tree": figure(tree, f"search of {name}")}


def search_data_version(files: SearchFiles, manifest: Manifest) -> str:
    """What was asked and what was found: the same search again has the same version."""
    return digest_of([manifest.fingerprint, results_digest(read(files.summary))])
