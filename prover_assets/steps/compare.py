"""The comparison of guided search with the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NotRequired, TypedDict

from prover.evaluation.budgets import BUDGETS
from prover.evaluation.records import ComparisonRecord, GroupRecord
from prover.json_types import JsonObject
from prover.settings import setting
from prover_assets.protocols import LeanSource
from prover_assets.steps.head_seeds import further_heads
from prover_assets.steps.labels import MOST_STATES, STEP_LIMIT
from prover_assets.steps.search import require_baseline
from prover_assets.steps.theorem_sets import worlds_of
from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder, IterationFolder, SearchFiles
from prover_assets.store.manifest import Manifest, read_manifest, require_complete
from prover_assets.store.policy import PolicyInUse, baseline_files

if TYPE_CHECKING:
    import polars as pl

    from ebm.evaluation import Ranking
    from ebm.inference import EBMScorer
    from prover.evaluation.comparison import Comparison, GroupComparison

POLICY, GUIDED, RANDOM = "policy", "guided", "random"


@dataclass(frozen=True, slots=True)
class ComparisonSettings:
    """What the report compares."""

    budgets: tuple[int, ...] = setting(BUDGETS, unit="expansions")
    """Budgets at which solved theorems are counted; those above the searches' own are left out."""

    def __post_init__(self) -> None:
        if not self.budgets or min(self.budgets) < 1:
            raise ValueError("budgets: give at least one; a budget is 1 expansion or more")


class HeadRecord(TypedDict):
    """One head's guided search against the policy alone."""

    name: str
    beta: NotRequired[float | None]
    """The weight that validation chose for the first head; missing in reports of release 0.1.0."""
    area: float
    area_gain: float
    solved: dict[str, int]
    """Budget -> theorems proved within it."""
    faster: int
    slower: int
    p_value: float
    ratio: float | None


class MemoRecord(TypedDict):
    """States whose candidates a search found in the memo, and those that it had to ask for."""

    known: int
    asked: int


class ComparedRecord(TypedDict):
    """The comparison as it stands in report.json."""

    comparison: ComparisonRecord
    control: ComparisonRecord | None
    ranking: JsonObject | None
    """As `ebm.evaluation.Ranking.to_dict` gives it."""
    heads: list[HeadRecord]
    worlds: dict[str, GroupRecord]
    label_noise: list[dict[str, int | str]]
    validation: list[JsonObject]
    candidates_from_memo: dict[str, MemoRecord]


@dataclass(frozen=True, slots=True)
class Compared:
    """Guided against policy alone; the random-energy control against policy alone, where it was run; the rankings."""

    main: "Comparison"
    control: "Comparison | None"
    ranking: "Ranking | None"
    energies: dict[str, list[float]]
    """ENERGY (lower is better) of held-out states, by label."""
    baseline: Manifest
    guided: Manifest
    baseline_files: SearchFiles
    heads: "list[Comparison]"
    """Of further heads, trained alike but for the seed, against the policy alone."""
    noise: list[dict[str, int | str]]
    """Of each label of the held-out states: how many of a sample a decision procedure calls provable."""
    trials: list[JsonObject]
    """What validation said of each weight and order: beta or order, area, solved."""
    beta: float | None
    """The weight that validation chose for the first head; further heads are searched with it too."""
    worlds: "dict[str, GroupComparison]"
    """Guided against policy alone for each set of a mix; empty where the held-out theorems are one set."""

    def to_dict(self) -> ComparedRecord:
        """Plain values, for report.json."""
        return {
            "comparison": self.main.to_dict(),
            "control": None if self.control is None else self.control.to_dict(),
            "ranking": None if self.ranking is None else self.ranking.to_dict(),
            "heads": [
                {
                    "name": found.second.name,
                    "beta": self.beta,
                    "area": found.second.area,
                    "area_gain": found.second.area - found.first.area,
                    "solved": {str(budget): count for budget, count in found.second.solved.items()},
                    "faster": found.paired.faster,
                    "slower": found.paired.slower,
                    "p_value": found.paired.p_value,
                    "ratio": found.paired.ratio,
                }
                for found in (self.main, *self.heads)
            ],
            "worlds": {name: found.to_dict() for name, found in self.worlds.items()},
            "label_noise": self.noise,
            "validation": self.trials,
            "candidates_from_memo": {
                name: {"known": manifest.candidates_known, "asked": manifest.candidates_asked}
                for name, manifest in ((POLICY, self.baseline), (GUIDED, self.guided))
            },
        }


def compare(
    data: DataFolder, iteration: IterationFolder, lean: LeanSource, policy: PolicyInUse, budgets: Sequence[int]
) -> Compared:
    """Read the held-out searches and compare them at budgets up to theirs. policy: the iteration's.

    Raises ValueError where the two are not comparable, with the name of the one to make again.
    """
    from ebm.inference import load_scorer
    from prover.evaluation.comparison import by_group, compare_runs
    from prover.trajectory import read_trajectories
    from prover.trajectory.labels import merge_labels

    files = baseline_files(data, policy)
    baseline = require_complete(files, "baseline_trajectories")
    guided = require_complete(iteration.guided, f"guided_trajectories of {iteration.key}")
    if not _comparable(guided, baseline):
        require_baseline(data, lean, policy)  # raises, where that is the older one of the two
        raise ValueError(
            "the baseline and the guided search are not of the same theorems, policy, Lean and budget any more; "
            f"materialize guided_trajectories of {iteration.key} again"
        )
    highest = int(baseline.settings["max_expansions"])
    asked = sorted({budget for budget in budgets if 0 < budget < highest} | {highest})
    main = compare_runs(
        files.nodes,
        iteration.guided.nodes,
        asked,
        names=(POLICY, GUIDED),
        seconds=(baseline.seconds, guided.seconds),
    )
    of_control = read_manifest(iteration.control)
    control = None
    if of_control is not None and of_control.complete and of_control.ebm_id == guided.ebm_id:
        seconds = (baseline.seconds, of_control.seconds)
        control = compare_runs(files.nodes, iteration.control.nodes, asked, names=(POLICY, RANDOM), seconds=seconds)
    rows = merge_labels(read_trajectories([files.nodes, iteration.guided.nodes]))
    scorer = load_scorer(iteration.checkpoint, policy.resource.load(), data.root)
    ranking, energies = _ranked(rows, scorer)
    heads = [
        compare_runs(
            files.nodes,
            head.search.nodes,
            asked,
            names=(POLICY, f"seed +{head.offset}"),
            seconds=(baseline.seconds, None),
        )
        for head in further_heads(iteration)
    ]
    calibration = (read_json(iteration.checkpoint / "config.json") or {}).get("calibration") or {}
    evidence = calibration.get("evidence", {})
    return Compared(
        main=main,
        control=control,
        ranking=ranking,
        energies=energies,
        baseline=baseline,
        guided=guided,
        baseline_files=files,
        heads=heads,
        noise=_label_noise(rows),
        trials=[*evidence.get("trials", []), *evidence.get("orders", [])],
        beta=None if scorer.calibration is None else scorer.calibration.beta,
        worlds=by_group(main, worlds_of(data.theorems("test"))),
    )


def _comparable(guided: Manifest, baseline: Manifest) -> bool:
    """Whether two searches are of the same theorems, policy, Lean and budget."""
    same = ("theorems", "policy_fingerprint", "environment_fingerprint")
    return all(getattr(guided, name) == getattr(baseline, name) for name in same) and (
        guided.settings["max_expansions"] == baseline.settings["max_expansions"]
    )


def _ranked(rows: "pl.DataFrame", scorer: "EBMScorer") -> "tuple[Ranking | None, dict[str, list[float]]]":
    """How well the states of the searches are ranked, and the ENERGY of the labelled ones, by label.

    (None, {}) where no state has a label, or the head was not calibrated.
    """
    import polars as pl

    from ebm.evaluation import rank_states

    labelled = rows.filter((pl.col("label") != "unknown") & ~pl.col("is_proof_complete"))
    if labelled.is_empty() or scorer.calibration is None:
        return None, {}
    distinct = labelled.unique("state_key", maintain_order=True)
    energies = [-float(score) for score in scorer.score_states(distinct["state_pp"].to_list())]
    by_label = {
        label: [e for e, found in zip(energies, distinct["label"].to_list(), strict=True) if found == label]
        for label in ("positive", "negative")
    }
    return rank_states(rows, scorer, scorer.calibration), by_label


def _label_noise(rows: "pl.DataFrame") -> list[dict[str, int | str]]:
    """Of a sample of the states of each label (labels merged), how many are in fact provable."""
    import polars as pl

    from prover.logic.g4ip import provable
    from prover.trajectory import label_noise

    distinct = rows.filter(pl.col("state_pp") != "").unique(["theorem_name", "state_key"], maintain_order=True)
    parts = [part.sample(min(MOST_STATES, part.height), seed=0) for _, part in distinct.group_by("label")]
    if not parts:
        return []
    return [entry.to_dict() for entry in label_noise(pl.concat(parts), lambda text: provable(text, STEP_LIMIT))]
