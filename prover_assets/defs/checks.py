"""Checks of assets: the result of each, with its numbers, from what a step found."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TypeVar

import dagster as dg

from prover_assets.defs.partitions import iteration_partitions
from prover_assets.steps.compare import GUIDED, POLICY, Compared
from prover_assets.steps.embed import Embedded
from prover_assets.steps.labels import Noise
from prover_assets.steps.train import Trained
from prover_assets.steps.tune_policy import Tuned
from prover_assets.store.champion import ChampionRecord
from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder

T = TypeVar("T")


def check(
    name: str,
    passed: bool,
    description: str,
    numbers: Mapping[str, float | None] | None = None,
    *,
    blocking: bool = False,
) -> dg.AssetCheckResult:
    """A check's result with its numbers, those that were measured; one that does not block warns."""
    severity = dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN
    measured = {
        key: shown(value) for key, value in (numbers or {}).items() if value is not None and math.isfinite(value)
    }
    return dg.AssetCheckResult(
        check_name=name, passed=passed, description=description, severity=severity, metadata=measured
    )


def iteration_check(name: str, asset: str, description: str, *, blocking: bool = False) -> dg.AssetCheckSpec:
    """A check of an asset with iterations: each iteration keeps its own verdict."""
    with warnings.catch_warnings():
        # Partitions of checks are new in Dagster, which says so of each of them at every start.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            name, asset=asset, description=description, blocking=blocking, partitions_def=iteration_partitions
        )


def shown(value: T) -> T | float:
    """A number as a page should show it: six significant digits are enough to read, and to draw."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


CERTIFIED = "proofs_certified"
CLAIMS = "claims_hold"
PARSED = "theorems_parse"
STEADY = "lean_steady"
SEARCH_BLOCKING = frozenset({CERTIFIED})


def search_check_specs(asset: str, *, partitioned: bool) -> list[dg.AssetCheckSpec]:
    """The checks of an asset that searches. partitioned: it has iterations."""
    said = {
        CERTIFIED: "Every theorem counted as proved has a proof that a fresh Lean process certified.",
        CLAIMS: "No script that stepping called complete was turned down by certification.",
        PARSED: "Lean accepts every statement, and none was refused.",
        STEADY: "Lean crashed or timed out on no more than 5% of the theorems.",
    }
    make = iteration_check if partitioned else _unpartitioned_check
    return [make(name, asset, text, blocking=name in SEARCH_BLOCKING) for name, text in said.items()]


def _unpartitioned_check(name: str, asset: str, description: str, *, blocking: bool = False) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=blocking)


def search_checks(
    counts: Mapping[str, float], invalid: list[tuple[str, str]], refused: list[tuple[str, str]]
) -> list[dg.AssetCheckResult]:
    """Their results. invalid, refused: (theorem, why) of those that Lean did not accept, and that Lean never saw."""
    theorems = int(counts["theorems"])
    lost = int(counts["crashed"] + counts["timed_out"])
    return [
        check(
            CERTIFIED,
            counts["proved_uncertified"] == 0 and theorems > 0,
            f"{int(counts['proved'])} of {theorems} theorems proved, {int(counts['proved_uncertified'])} not certified",
            {"proved": int(counts["proved"]), "not_certified": int(counts["proved_uncertified"])},
            blocking=True,
        ),
        check(
            CLAIMS,
            counts["uncertified"] == 0,
            f"{int(counts['claimed'])} theorems have claims, {int(counts['uncertified'])} of them no certified proof",
            {
                "claimed": int(counts["claimed"]),
                "uncertified": int(counts["uncertified"]),
                "certified_share": 1 - counts["uncertified"] / counts["claimed"] if counts["claimed"] else None,
            },
        ),
        check(
            PARSED,
            counts["invalid"] + counts["refused"] == 0,
            f"Lean does not accept {int(counts['invalid'])} of {theorems} statements{_named(invalid, 200)}. We refused "
            f"{int(counts['refused'])}, before Lean was asked{_named(refused, 500)}",
            {"theorems": theorems, "invalid": int(counts["invalid"]), "refused": int(counts["refused"])},
        ),
        check(
            STEADY,
            lost <= 0.05 * theorems,
            f"{lost} of {theorems} theorems were lost to crashes and time limits",
            {
                "crashed": int(counts["crashed"]),
                "timed_out": int(counts["timed_out"]),
                "lost_share": lost / theorems if theorems else None,
            },
        ),
    ]


def baseline_bounds() -> Sequence[dg.AssetChecksDefinition]:
    """Dagster's own check of a bound: the policy alone proves some of the held-out theorems, and not all of them.

    Outside of it, guidance could show nothing. Such a check reads the latest materialization, of whatever iteration: so
    what has iterations is checked by the asset itself, and keeps a verdict for each.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.build_metadata_bounds_checks(
            assets=["baseline_trajectories"],
            metadata_key="solve_rate",
            min_value=0,
            max_value=1,
            exclusive_min=True,
            exclusive_max=True,
        )


def _named(theorems: list[tuple[str, str]], longest: int) -> str:
    """`: NAME: why; NAME: why` of the first five; "" where there are none."""
    named = "; ".join(f"{name}: {' '.join(why.split())[:longest]}" for name, why in theorems[:5])
    return f": {named}" if named else ""


LABELS, NOISE, DRIFT = "both_labels", "label_noise", "states_as_before"
MOST_NOISE, MOST_DRIFT = 0.9, 0.5


def label_checks(
    labels: Mapping[str, int], noise: Noise, drift: tuple[float, float] | None
) -> list[dg.AssetCheckResult]:
    """Whether there is something to learn from, and whether labels and states are as they should be.

    labels: states by label. drift: mean length of states before and now (characters), None where there is no before.
    """
    enough = labels["positive"] > 0 and labels["negative"] > 0
    return [
        check(
            LABELS,
            enough,
            f"{labels['positive']} positive and {labels['negative']} negative states"
            + ("" if enough else "; nothing can be learnt: prove more theorems (larger budget, easier set)"),
            labels,
            blocking=True,
        ),
        check(
            NOISE,
            noise.share is None or noise.share <= MOST_NOISE,
            f"{noise.provable} of {noise.decided} sampled negatives are provable: they are no dead ends, only off the "
            "proofs that were found",
            {"provable": noise.provable, "decided": noise.decided},
        ),
        check(
            DRIFT,
            drift is None or abs(drift[1] / drift[0] - 1) <= MOST_DRIFT,
            "nothing to compare with"
            if drift is None
            else f"{drift[1]:.0f} characters on average, {drift[0]:.0f} in the iteration before",
            {} if drift is None else {"before": drift[0], "now": drift[1]},
        ),
    ]


SOUND = "vectors_sound"


def vector_checks(done: Embedded) -> list[dg.AssetCheckResult]:
    """Whether the hidden vectors that training will read are fit to be read."""
    return [
        check(
            SOUND,
            done.zero == 0 and done.non_finite == 0,
            f"{done.zero} zero and {done.non_finite} non-finite vectors among {done.requested}",
            {"zero": done.zero, "non_finite": done.non_finite},
            blocking=True,
        )
    ]


FINITE, GAP, HEALTH = "loss_finite", "energy_gap", "healthy"
TRAINING_BLOCKING = frozenset({FINITE, GAP})


def training_checks(trained: Trained) -> list[dg.AssetCheckResult]:
    """Whether a trained head is sound."""
    loss, gap = trained.metrics.get("loss"), trained.metrics.get("energy_gap")
    return [
        check(
            FINITE,
            loss is not None and math.isfinite(loss),
            f"the last loss is {loss}",
            {"loss": loss if loss is not None and math.isfinite(loss) else None, "steps": trained.steps},
            blocking=True,
        ),
        check(
            GAP,
            gap is not None and gap > 0,
            f"the energy gap is {gap}: mean ENERGY of negatives less that of positives, which must be above 0",
            {name: trained.metrics.get(name) for name in ("energy_gap", "rank_accuracy", "energy_std")},
            blocking=True,
        ),
        check(
            HEALTH,
            not trained.warnings,
            "; ".join(trained.warnings) or "no warnings",
            {"warnings": len(trained.warnings)},
        ),
    ]


NOT_WORSE, ABOVE_NOISE, HOLDS = "not_below_policy", "above_random_energy", "not_below_champion"


def comparison_checks(compared: Compared) -> list[dg.AssetCheckResult]:
    """Whether guided search is worse than the policy alone, or than chance."""
    main, paired = compared.main, compared.main.paired
    gain = main.second.area - main.first.area
    lost = paired.only_first > paired.only_second and paired.mcnemar_p < 0.05
    noise = None if compared.control is None else compared.control.second.area - compared.control.first.area
    return [
        check(
            NOT_WORSE,
            not lost,
            f"{GUIDED} alone proves {paired.only_second} theorems, {POLICY} alone {paired.only_first} "
            f"(McNemar p = {paired.mcnemar_p:.3g})",
            {"only_guided": paired.only_second, "only_policy": paired.only_first, "p_value": paired.mcnemar_p},
        ),
        check(
            ABOVE_NOISE,
            noise is None or gain > noise,
            f"area gained: {gain:+.3f} by the energy, "
            + (f"{noise:+.3f} by chance" if noise is not None else "no control"),
            {"area_gain": gain} | ({} if noise is None else {"random_area_gain": noise}),
        ),
    ]


def champion_check(data: DataFolder, compared: Compared, champion: ChampionRecord) -> dg.AssetCheckResult:
    """This model against the champion that the iteration began with, on the held-out theorems of both reports."""
    highest = str(max(compared.main.budgets))
    report = None if champion.decided_by is None else read_json(data.iteration(champion.decided_by).report_file)
    if report is None or report.get("theorems") != compared.baseline.theorems:
        report = {"comparison": {"modes": {}}}
    before = report["comparison"]["modes"].get(GUIDED)
    if before is None or highest not in before["rate"]:
        return check(HOLDS, True, "there is no champion to compare with on these theorems and this budget")
    rate = compared.main.second.solved[int(highest)] / max(compared.main.second.theorems, 1)
    low, high = before["interval"][highest]
    return check(
        HOLDS,
        rate >= low,
        f"solve rate {rate:.3f} at {highest} expansions; the champion of {champion.decided_by} had "
        f"{before['rate'][highest]:.3f} ({low:.3f} to {high:.3f})",
        {"rate": rate, "champion_rate": before["rate"][highest], "champion_low": low},
    )


SEPARATION, UNSEEN = "vectors_keep_apart", "unseen_proofs_likelier"


def tuning_checks(tuned: Tuned, numbers: Mapping[str, float]) -> list[dg.AssetCheckResult]:
    """Whether tuning kept the vectors apart, and taught more than the proofs it saw. numbers: `tuning_numbers`."""
    result = tuned.result
    return [
        check(
            SEPARATION,
            not result.warnings,
            "; ".join(result.warnings)
            or ("too few labelled states to measure" if result.separation_after is None else "kept"),
            {name: value for name, value in numbers.items() if name.startswith(("centroid", "probe"))},
        ),
        check(
            UNSEEN,
            not result.held_out_after > result.held_out_before,
            f"{result.held_out_before:.3f} nats a token before, {result.held_out_after:.3f} after, on "
            f"{result.n_held_out} steps of theorems kept back",
            {name: value for name, value in numbers.items() if name.startswith("held_out")},
        ),
    ]
