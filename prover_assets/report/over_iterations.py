"""What matters of each iteration, in a few numbers, and what all of them have cost so far: for one line per number."""

from collections.abc import Iterator

from prover.json_types import JsonObject
from prover_assets.report.facts import label_counts, read
from prover_assets.report.record import Report, read_report
from prover_assets.steps.compare import GUIDED, POLICY, RANDOM
from prover_assets.steps.head_seeds import further_heads
from prover_assets.store.files import digest_of, read_json, write_json
from prover_assets.store.layout import DataFolder, IterationFolder, SearchFiles
from prover_assets.store.manifest import read_manifest

COSTS = ("lean_calls", "seconds", "policy_calls")


def progress_points(data: DataFolder, newest: IterationFolder, report: Report) -> dict[int, dict[str, float]]:
    """Iteration -> name -> value, for all iterations that are reported. Names are grouped by slashes.

    newest, report: the iteration whose report is being made, and what it will say.
    `cost/...` are sums over all iterations so far, the baseline counted once: tactics tried (those that the memo knew
    included), wall seconds of the searches, states for which the policy was asked.
    """
    proved: set[str] = set()
    costs = _costs([data.baseline])
    found: dict[int, dict[str, float]] = {}
    for folder in data.iterations():
        said = report if folder == newest else read_report(folder)
        if said is None:
            continue
        own = _own(folder, said)
        proved |= set(own["proved"])
        costs = {name: costs[name] + own["costs"][name] for name in COSTS}
        found[folder.number] = {
            **own["numbers"],
            "training/proofs": float(len(proved)),
            **{f"cost/{name}": float(value) for name, value in costs.items()},
        }
    return found


def _own(folder: IterationFolder, report: Report) -> JsonObject:
    """What one iteration adds: kept beside its report, so that the tables of old iterations are read once."""
    kept, version = folder.report / "progress.json", digest_of(report)
    known = read_json(kept)
    if known is not None and known.get("report") == version:
        return known
    searches = [folder.trajectories, folder.guided, folder.control, *(head.search for head in further_heads(folder))]
    own = {
        "report": version,
        "numbers": {**_held_out(report), **_training(folder)},
        "proved": _proved(folder),
        "costs": _costs(searches),
    }
    write_json(kept, own)
    return own


def _held_out(report: Report) -> dict[str, float]:
    comparison, control = report["comparison"], report["control"]
    modes = {**comparison["modes"], **({} if control is None else {RANDOM: control["modes"][RANDOM]})}
    highest = str(max(comparison["budgets"]))
    found: dict[str, float] = {}
    for name in (POLICY, GUIDED, RANDOM):
        if name in modes:
            found[f"held_out/{name}/solve_rate"] = float(modes[name]["rate"][highest])
            found[f"held_out/{name}/area"] = float(modes[name]["area"])
    for world, split in report.get("worlds", {}).items():
        for name, area in split["area"].items():
            found[f"held_out/{world}/{name}/area"] = float(area)
            found[f"held_out/{world}/{name}/solve_rate"] = split["solved"][name][highest] / max(split["theorems"], 1)
    ratio = comparison["paired"]["ratio"]
    if ratio is not None:
        found["held_out/expansions_ratio"] = float(ratio)
    ranking = (report["ranking"] or {}).get("rank1", {}).get("all", {})
    found |= {f"held_out/rank1/{name}": float(value["mean"]) for name, value in ranking.items()}
    found["held_out/promoted"] = float(report["promotion"]["promoted"])
    return {name: value for name, value in found.items() if value == value}  # NaN: nothing was measured


def _training(folder: IterationFolder) -> dict[str, float]:
    files = folder.trajectories
    if not files.summary.exists():
        return {}
    summary = read(files.summary)
    found = {"training/solve_rate": float(summary["proved"].sum()) / max(summary.height, 1)}
    if files.nodes.exists():
        found |= {f"training/labels/{label}": float(count) for label, count in label_counts(read(files.nodes)).items()}
    return found


def _proved(folder: IterationFolder) -> list[str]:
    """Names of the training theorems that this iteration proved."""
    import polars as pl

    path = folder.trajectories.summary
    return [] if not path.exists() else sorted(read(path).filter(pl.col("proved"))["theorem_name"].to_list())


def _costs(searches: list[SearchFiles]) -> dict[str, float]:
    total = dict.fromkeys(COSTS, 0.0)
    for files in _finished(searches):
        manifest = read_manifest(files)
        assert manifest is not None, "it is finished"
        total["lean_calls"] += int(read(files.summary)["tactics"].sum())
        total["seconds"] += manifest.seconds
        total["policy_calls"] += manifest.candidates_asked
    return total


def _finished(searches: list[SearchFiles]) -> Iterator[SearchFiles]:
    for files in searches:
        manifest = read_manifest(files)
        if manifest is not None and manifest.complete and files.summary.exists():
            yield files
