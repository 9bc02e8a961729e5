"""The report of an iteration, and the promotion."""

import math
import statistics
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from prover_assets.defs.automation import next_when_open
from prover_assets.defs.checks import ABOVE_NOISE, HOLDS, NOT_WORSE, champion_check, comparison_checks, iteration_check
from prover_assets.defs.configs import ReportConfig
from prover_assets.defs.launchpad import settings_from
from prover_assets.defs.metadata import figure
from prover_assets.defs.opening import open_iteration
from prover_assets.defs.partitions import iteration_partitions
from prover_assets.defs.resources import DataResource, LeanResource, PolicyResource
from prover_assets.defs.step import GROUP, OWNERS, Step, step
from prover_assets.defs.tracking import MlflowResource, report_link
from prover_assets.operate.versions import step_version
from prover_assets.report import plots
from prover_assets.report.facts import markdown_table
from prover_assets.report.over_iterations import progress_points
from prover_assets.report.record import PromotionRecord, Report
from prover_assets.report.sketch import solve_sketch
from prover_assets.report.tables import (
    REUSED,
    cost_line,
    heads_table,
    noise_table,
    paired_lines,
    rank1_table,
    same_memory,
    solved_table,
    transposed,
    worlds_table,
)
from prover_assets.report.write import pictures_of, write_page
from prover_assets.steps.compare import GUIDED, POLICY, Compared, ComparisonSettings, compare
from prover_assets.steps.promote import Decision, PromotionSettings, crown, decide, earlier_gains
from prover_assets.steps.theorem_sets import SPLITS, lint_of, load_written
from prover_assets.store.champion import Evidence, evidence_of, starting_champion
from prover_assets.store.files import digest_of, write_json
from prover_assets.store.layout import DataFolder
from prover_assets.store.manifest import read_manifest
from prover_assets.tracking.notes import iteration_note
from prover_assets.tracking.registry import describe_version, promote_version

if TYPE_CHECKING:
    from dagster._core.definitions.metadata import RawMetadataValue

MAIN_FIGURES = ("solve_curve", "rank1", "energies", "calibration", "tree_guided", "tree_policy")
"""The first four of these that there are, as pictures of the iteration's own run in MLflow."""


@dg.asset(
    deps=["guided_trajectories", "baseline_trajectories", "ebm_checkpoint"],
    partitions_def=iteration_partitions,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"matplotlib", "html"},
    tags={"cost": "seconds"},
    code_version=step_version("iteration_report"),
    automation_condition=next_when_open(),
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(days=3), warn_window=timedelta(days=2)),
    check_specs=[
        iteration_check(
            NOT_WORSE,
            asset="iteration_report",
            description="Guided search proves no fewer held-out theorems than the policy alone, beyond chance.",
        ),
        iteration_check(
            ABOVE_NOISE,
            asset="iteration_report",
            description="The area gained is more than a random energy in the same formula gains.",
        ),
        iteration_check(
            HOLDS,
            asset="iteration_report",
            description="The solve rate is not below the champion's by more than its 95% interval.",
        ),
    ],
)
def iteration_report(
    context: dg.AssetExecutionContext,
    config: ReportConfig,
    data: DataResource,
    lean: LeanResource,
    policy: PolicyResource,
    mlflow: MlflowResource,
) -> dg.MaterializeResult:
    """Guided search against the policy alone on held-out theorems, and whether this model becomes the champion.

    Seconds. Look at the solve rate at each budget, the paired test and the reason of the decision; the page in `report`
    has everything. Opens the next iteration and records its champion.
    """
    with (
        step(context, data, mlflow, config, policy=policy) as work,
        work.reporter.stage("compare and report") as update,
    ):
        update(0, 3, "comparing the searches")
        budgets = settings_from(config, ComparisonSettings).budgets
        compared = compare(work.data, work.iteration, lean, work.policy_of(policy), budgets)
        update(1, 3, "drawing")
        old = starting_champion(work.iteration)
        evidence = evidence_of(work.iteration)
        past = earlier_gains(work.data, work.iteration)
        decision = decide(evidence, old, settings_from(config, PromotionSettings), past)
        champion = crown(work.data, work.iteration, decision, evidence, old)
        if decision.promoted and work.run.client is not None:
            promote_version(work.run.client, mlflow.registered_model, evidence.ebm_id)
        open_iteration(context, work.data, work.iteration.following.key)
        report = _content(work, compared, evidence, _promotion(decision, champion.ebm_id))
        pictures = pictures_of(work.iteration, compared, evidence.beta)
        page = write_page(work.iteration, report, pictures, compared)
        update(2, 3, "writing to MLflow")
        _log_pictures(work, pictures, page)
        numbers = _numbers(compared)
        numbers["chance_of_wrong_promotion"] = decision.chance_wrong
        work.run.summary({**numbers, "promoted": float(decision.promoted)})
        work.run.tags({"prover.promoted": str(decision.promoted), "prover.reason": decision.reason}, on_parent=True)
        work.run.note(iteration_note(report, _links(work)), on_parent=True)
        work.run.progress(progress_points(work.data, work.iteration, report))
        if work.run.client is not None:
            describe_version(work.run.client, mlflow.registered_model, evidence, work.iteration.key, decision)
        update(3, 3, "")
        write_json(work.iteration.report_file, report)  # last: with it the iteration is finished
        return work.result(
            data_version=digest_of([report["comparison"]["modes"][m]["solved"] for m in (POLICY, GUIDED)]),
            metadata=_metadata(report, _curve(compared), pictures, numbers, decision.reason, page, work.data),
            checks=[*comparison_checks(compared), champion_check(work.data, compared, old)],
        )


def _promotion(decision: Decision, champion: str | None) -> PromotionRecord:
    """The part of report.json that says what was decided. champion: `ebm_id` of the one that the next iteration has."""
    return {
        "promoted": decision.promoted,
        "reason": decision.reason,
        "champion": champion,
        "chance_wrong": decision.chance_wrong,
        "gate": decision.gate,
    }


def _log_pictures(work: Step, pictures: Mapping[str, plots.Picture], page: Path) -> None:
    """All pictures to the step's own run in MLflow; the first of the main ones, and the page, to the iteration's."""
    for name, picture in pictures.items():
        work.run.picture(picture, name)
    for name in [name for name in MAIN_FIGURES if name in pictures][:4]:
        work.run.picture(pictures[name], name, on_parent=True)
    work.run.artifact(page, on_parent=True)


def _links(work: Step) -> dict[str, str]:
    """Where to read more, for the iteration's page in MLflow: address by name."""
    return {
        "Report": report_link(work.iteration.key),
        "the same, kept here": work.run.page_link("index.html"),
        "Run in Dagster": work.dagster_link,
    }


def _content(work: Step, compared: Compared, evidence: Evidence, promotion: PromotionRecord) -> Report:
    """The content of report.json."""
    search = read_manifest(work.iteration.trajectories)
    return {
        "iteration": work.iteration.key,
        "theorems": compared.baseline.theorems,
        **compared.to_dict(),
        "promotion": promotion,
        "ebm_id": evidence.ebm_id,
        "beta": evidence.beta,
        "order": evidence.order,
        "policy": compared.guided.policy_id,
        "left_out": "" if search is None else search.note,
        "mlflow_run": work.run.parent_id,
        "mlflow_view": work.run.view,
        "theorem_lint": {split: lint_of(load_written(work.data, split)) for split in SPLITS},
    }


def _numbers(compared: Compared) -> dict[str, float | None]:
    """Every key number of the comparison, flat."""
    main, paired = compared.main, compared.main.paired
    found: dict[str, float | None] = {}
    for mode in (main.first, main.second):
        for budget, solved in mode.solved.items():
            found[f"{mode.name}_solved_at_{budget}"] = solved
            found[f"{mode.name}_rate_at_{budget}"] = solved / max(mode.theorems, 1)
        found[f"{mode.name}_area"] = mode.area
        found[f"{mode.name}_seconds"] = mode.seconds
    found |= {
        "area_gain": main.second.area - main.first.area,
        "faster": paired.faster,
        "slower": paired.slower,
        "tied": paired.tied,
        "sign_test_p": paired.p_value,
        "expansions_ratio": paired.ratio,
        "only_guided": paired.only_second,
        "only_policy": paired.only_first,
    }
    if main.first.seconds and same_memory(compared.to_dict()["candidates_from_memo"]):
        found["wall_time_ratio"] = main.second.seconds / main.first.seconds
    gains = [other.second.area - other.first.area for other in (main, *compared.heads)]
    if len(gains) > 1:
        found |= {"area_gain_mean_over_heads": statistics.mean(gains), "area_gain_deviation": statistics.stdev(gains)}
    for mode in (main.first, main.second):
        found[f"{mode.name}_frontier_exhausted"] = mode.ended.get("frontier_exhausted", 0)
    if compared.control is not None:
        found["random_area_gain"] = compared.control.second.area - compared.control.first.area
    if compared.ranking is not None:
        overall = compared.ranking.rank1.get("all", {})
        found |= {f"rank1_{name}": value.mean for name, value in overall.items()}
        found |= {f"auc_{name}": value for name, value in compared.ranking.auc.items()}
    return found


def _curve(compared: Compared) -> str:
    """The solve curves, small."""
    control = () if compared.control is None else (compared.control.second,)
    modes = (compared.main.first, compared.main.second, *control)
    return solve_sketch({mode.name: list(mode.expansions.values()) for mode in modes}, max(compared.main.budgets))


def _metadata(
    report: Report,
    curve: str,
    pictures: dict[str, plots.Picture],
    numbers: dict[str, float | None],
    reason: str,
    page: Path,
    data: DataFolder,
) -> "dict[str, RawMetadataValue]":
    # Where the page is is said in words: Dagster breaks no line within a path, and a long one cuts off the whole table.
    file = page.relative_to(data.root)
    solved = markdown_table(*transposed(solved_table(report["comparison"], report["control"])))
    said = [*paired_lines(report["comparison"]), cost_line(report["comparison"], report["candidates_from_memo"])]
    lines = "\n".join(f"- {line}" for line in said)
    seeds = markdown_table(*transposed(heads_table(report["heads"])))
    if len(report["heads"]) > 1:
        seeds = f"{seeds}\n\n{REUSED}"
    return {
        "promotion": ("promoted: " if report["promotion"]["promoted"] else "not promoted: ") + reason,
        "report": dg.MetadataValue.url(report_link(report["iteration"])),
        "curve": dg.MetadataValue.md(curve),
        "solved": dg.MetadataValue.md(f"{solved}\n\n{lines}"),
        **{name: figure(picture, name.replace("_", " ")) for name, picture in pictures.items()},
        **(
            {"rank1_by_depth": dg.MetadataValue.md(markdown_table(*transposed(rank1_table(report["ranking"]))))}
            if report["ranking"] is not None
            else {}
        ),
        **(
            {"worlds": dg.MetadataValue.md(markdown_table(*transposed(worlds_table(report["worlds"]))))}
            if report["worlds"]
            else {}
        ),
        "head_seeds": dg.MetadataValue.md(seeds),
        "label_noise": dg.MetadataValue.md(markdown_table(*noise_table(report["label_noise"]))),
        "report_file": f"{file.name} in {file.parent.as_posix()} of the data folder",
        **{name: value for name, value in numbers.items() if value is not None and not math.isnan(value)},
    }
