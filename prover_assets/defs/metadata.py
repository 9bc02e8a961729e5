"""Metadata for asset pages: tables, previews and column schemas in Dagster's own types."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from prover.json_types import JsonObject
from prover.theorem_files.layouts import FROM_STATES
from prover_assets.report import plots
from prover_assets.report.facts import clip, markdown_table
from prover_assets.report.plots import Picture
from prover_assets.report.tables import paired_lines, solved_table, transposed, tuning_table
from prover_assets.store.champion import Evidence

if TYPE_CHECKING:
    import polars as pl
    from dagster._core.definitions.metadata import RawMetadataValue

    from prover.theorems import Theorem, TheoremSet
    from prover_assets.steps.embed import Embedded
    from prover_assets.steps.judge_policy import Judged
    from prover_assets.steps.train import Trained
    from prover_assets.steps.tune_policy import Tuned

DAGSTER_TYPES = {"String": "string", "Boolean": "bool", "Float64": "float", "Float32": "float"}

INLINE = 1000
"""From this many characters on, Dagster hides Markdown behind a link."""


def inline_table(header: Sequence[str], rows: Sequence[Sequence[object]], widest: int = 44) -> dg.MetadataValue:
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


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> dg.MetadataValue:
    """A table on an asset page."""
    return dg.MetadataValue.md(markdown_table(header, rows))


def theorem_previews(sets: Mapping[str, Iterable["Theorem"]]) -> dict[str, dg.MetadataValue]:
    """The first theorems of each set."""
    return {
        f"{split}_preview": inline_table(
            ["name", "statement", "difficulty"],
            [(theorem.name, theorem.statement, theorem.difficulty) for theorem in list(theorems)[:6]],
            widest=100,
        )
        for split, theorems in sets.items()
    }


def how_read(sets: Mapping[str, "TheoremSet"]) -> dict[str, dg.MetadataValue]:
    """Of each set: that its statements are made from printed states, and what `skip_invalid` left out; else nothing."""
    from prover.theorem_files.problems import describe

    from_states: dict[str, dg.MetadataValue] = {
        f"{split}_from_states": dg.MetadataValue.text(FROM_STATES)
        for split, theorems in sets.items()
        if theorems.from_states
    }
    return from_states | {
        f"{split}_left_out": dg.MetadataValue.text(f"{len(theorems.skipped)} left out:\n{describe(theorems.skipped)}")
        for split, theorems in sets.items()
        if theorems.skipped
    }


def embedding_numbers(done: "Embedded") -> dict[str, float]:
    """Every key number of an embedding of states, by name."""
    return {
        "states": done.requested,
        "cached": done.cached,
        "encoded": done.encoded,
        "zero": done.zero,
        "non_finite": done.non_finite,
        "truncated": done.truncated,
        "norm_mean": done.norm_mean,
    }


def embedding_metadata(done: "Embedded") -> "dict[str, RawMetadataValue]":
    """What an asset page says of an embedding of states, besides its numbers."""
    unchanged = "nothing to encode: every state was in the cache" if done.encoded == 0 else ""
    return {
        **{f"{label}_states": count for label, count in done.labels.items()},
        "width": done.width,
        "pooling": done.pooling,
        "cache_dtype": done.cache_dtype,
        "encoder": done.encoder_fingerprint,
        "done": unchanged or f"{done.encoded} states encoded, {done.cached} were in the cache",
        "preview": inline_table(["theorem", "state", "label", "norm"], done.preview),
        "dagster/row_count": done.requested,
        "path": dg.MetadataValue.path(done.folder),
    }


def tuning_numbers(tuned: "Tuned", judged: "Judged") -> dict[str, float]:
    """Every key number of a fine-tuning and its judgement, by name; what was not measured is left out."""
    result, paired, accepted = tuned.result, judged.comparison.paired, judged.accepted
    before, after = judged.comparison.first.area, judged.comparison.second.area
    numbers: dict[str, float | None] = {
        "adopted": float(judged.decision.adopted),
        "area_before": before,
        "area_after": after,
        "area_gain": after - before,
        "faster": paired.faster,
        "slower": paired.slower,
        "tied": paired.tied,
        "sign_test_p": paired.p_value,
        "chance_of_wrong_adoption": judged.decision.chance_wrong,
        "gave_up_earlier_adoption": float(judged.gave_up is not None),
        "expansions_ratio": paired.ratio,
        "accepted_share_before": accepted["before"],
        "accepted_share_after": accepted["after"],
        "loss_before": result.loss_before,
        "loss_after": result.loss_after,
        "held_out_loss_before": result.held_out_before,
        "held_out_loss_after": result.held_out_after,
        "learnt_steps": result.n_examples,
        "needless_steps_removed": tuned.removed,
        "easy_steps_left_out": tuned.spared,
        "learnt_theorems": result.n_theorems,
        "gradient_steps": result.n_steps,
        "seconds": result.seconds,
    }
    for when, separation in (("before", result.separation_before), ("after", result.separation_after)):
        if separation is not None:
            numbers[f"centroid_distance_{when}"] = separation.centroid_distance
            numbers[f"probe_auc_{when}"] = separation.probe_auc
    return {name: value for name, value in numbers.items() if value is not None and not math.isnan(value)}


def tuning_pictures(tuned: "Tuned", judged: "Judged") -> tuple[Picture, Picture]:
    """The curves of a fine-tuning, and the solve curves of validation before and after it."""
    curves = plots.lines(
        {
            name: (
                [number for number, metrics in tuned.curve if name in metrics],
                [metrics[name] for _, metrics in tuned.curve if name in metrics],
            )
            for name in ("loss", "held_out_loss", "divergence")
            if any(name in metrics for _, metrics in tuned.curve)
        },
        xlabel="gradient step",
        title="fine-tuning, nats per token",
    )
    comparison = judged.comparison
    solved = plots.solve_curves(
        {mode.name: list(mode.expansions.values()) for mode in (comparison.first, comparison.second)},
        highest=max(comparison.budgets),
        title=f"{comparison.first.theorems} validation theorems, the policy alone",
    )
    return curves, solved


def tuning_tables(found: JsonObject, tuned: "Tuned") -> dict[str, dg.MetadataValue]:
    """Tables of a fine-tuning. found: the content of `policy_tuning.json`."""
    validation = markdown_table(*transposed(solved_table(found["validation"])))
    lines = "\n".join(f"- {line}" for line in paired_lines(found["validation"]))
    return {
        "validation": dg.MetadataValue.md(f"{validation}\n\n{lines}"),
        "before_and_after": table(*tuning_table(found)),
        "learnt_from": table(["iteration", "theorems proved", "steps of their proofs"], tuned.learnt_from),
        "tactics": table(["tactic", "steps"], tuned.tactics),
    }


TRAINING_CURVES = ("contrastive_loss", "energy_gap", "rank_accuracy", "energy_std")


def training_points(trained: "Trained") -> list[tuple[int, dict[str, float | None]]]:
    """(step, metrics by split and name) of a training."""
    return [
        (row["step"], {f"{row['split']}_{k}": v for k, v in row.items() if k not in ("step", "split")})
        for row in trained.history.iter_rows(named=True)
    ]


def training_picture(trained: "Trained") -> Picture:
    """The curves of a training."""
    rows = trained.history.filter(split="train")
    steps = rows["step"].to_list()
    return plots.lines({n: (steps, rows[n].to_list()) for n in TRAINING_CURVES}, xlabel="step", title="training")


def training_metadata(trained: "Trained", curves: Picture, checkpoint: Path) -> "dict[str, RawMetadataValue]":
    """What an asset page says of a trained head."""
    return {
        "ebm_id": trained.ebm_id,
        "start": trained.start,
        "steps": trained.steps,
        "seconds": round(trained.seconds, 2),
        **{name: value for name, value in trained.metrics.items() if value is not None and math.isfinite(value)},
        **{f"trained_on_{name}": value for name, value in trained.data.items() if isinstance(value, int)},
        "warnings": dg.MetadataValue.md("\n".join(f"- {text}" for text in trained.warnings) or "none"),
        "curves": figure(curves, "training curves"),
        "path": dg.MetadataValue.path(str(checkpoint)),
    }


def validation_metadata(evidence: Evidence, facts: JsonObject) -> "dict[str, RawMetadataValue]":
    """What an asset page says of the order and weight that validation chose. facts: what the choice rests on."""
    return {
        "order": evidence.order,
        "beta": evidence.beta,
        "validation_area": evidence.area,
        "validation_area_policy": evidence.policy_area,
        "validation": table(
            ["beta, or order", "area under the solve curve", "solved"],
            [
                (trial.get("beta", trial.get("order")), trial["area"], trial["solved"])
                for trial in (*facts["trials"], *facts.get("orders", ()))
            ],
        ),
    }
