"""The tables that report, terminal and Markdown share: header and rows, made from report.json's numbers."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prover.json_types import JsonObject

if TYPE_CHECKING:
    import rich.table

    from prover.evaluation.records import ComparisonRecord, GroupRecord
    from prover_assets.report.record import Report
    from prover_assets.steps.compare import HeadRecord, MemoRecord

Table = tuple[list[str], list[list[str]]]


def solved_table(comparison: "ComparisonRecord", control: "ComparisonRecord | None" = None) -> Table:
    """Theorems proved at each budget, area and wall time, one row per search."""
    budgets = comparison["budgets"]
    modes = dict(comparison["modes"])
    if control is not None:
        modes |= {name: mode for name, mode in control["modes"].items() if name not in modes}
    header = ["search", *(f"@{budget}" for budget in budgets), "area", "wall time"]
    rows = [
        [
            name,
            *(f"{mode['solved'][str(budget)]}/{comparison['theorems']}" for budget in budgets),
            f"{mode['area']:.3f}",
            f"{mode['seconds']:.1f} s",
        ]
        for name, mode in modes.items()
    ]
    return header, rows


def terminal_table(key: str, report: "Report") -> "rich.table.Table":
    """`solved_table` of an iteration's report, for a terminal."""
    from rich.table import Table as TerminalTable

    header, rows = solved_table(report["comparison"], report["control"])
    table = TerminalTable(title=f"{key}: held-out theorems proved within a budget of expansions")
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*row)
    return table


def paired_lines(comparison: "ComparisonRecord") -> list[str]:
    """The paired comparison in sentences."""
    paired = comparison["paired"]
    first, second = comparison["modes"]
    ratio = paired["ratio"]
    lines = [
        f"{second} against {first}, theorem by theorem: {paired['faster']} in fewer expansions, {paired['slower']} in "
        f"more, {paired['tied']} tied (sign test p = {paired['p_value']:.3g})",
        f"proved by {second} alone: {paired['only_second']}, by {first} alone: {paired['only_first']} "
        f"(McNemar p = {paired['mcnemar_p']:.3g})",
    ]
    if ratio is not None and not math.isnan(ratio):
        lines.insert(
            1,
            f"expansions to proof, where both prove: {ratio:.2f} times as many "
            f"(geometric mean, 95% interval {paired['ratio_low']:.2f} to {paired['ratio_high']:.2f})",
        )
    return lines


def memo_line(report: "Report") -> str:
    """Why the wall times of the searches are not of the same work."""
    shares = []
    for name, counts in report["candidates_from_memo"].items():
        total = counts["known"] + counts["asked"]
        shares.append(f"{name} {counts['known'] / total:.0%}" if total else f"{name} none")
    return f"wall times are as run; states whose candidates an earlier search had asked for: {', '.join(shares)}"


def rate_table(comparison: "ComparisonRecord", control: "ComparisonRecord | None" = None) -> Table:
    """Solve rate at each budget with its 95% Wilson interval, one row per search."""
    modes = dict(comparison["modes"])
    if control is not None:
        modes |= {name: mode for name, mode in control["modes"].items() if name not in modes}
    rows = [
        [
            name,
            *(
                f"{mode['rate'][str(budget)]:.2f} ({mode['interval'][str(budget)][0]:.2f} to "
                f"{mode['interval'][str(budget)][1]:.2f})"
                for budget in comparison["budgets"]
            ),
        ]
        for name, mode in modes.items()
    ]
    return ["solve rate (95% Wilson)", *(f"@{budget}" for budget in comparison["budgets"])], rows


ENDINGS = ("proved", "budget", "frontier_exhausted", "timeout", "crashed")


def ending_table(comparison: "ComparisonRecord", control: "ComparisonRecord | None" = None) -> Table:
    """Why the searches of theorems ended (theorems), one row per search. An exhausted frontier has nothing left."""
    modes = dict(comparison["modes"])
    if control is not None:
        modes |= {name: mode for name, mode in control["modes"].items() if name not in modes}
    endings = [name for name in ENDINGS if any(mode["ended"].get(name) for mode in modes.values())]
    rows = [[name, *(str(mode["ended"].get(ending, 0)) for ending in endings)] for name, mode in modes.items()]
    return ["searches ended by", *(ending.replace("_", " ") for ending in endings)], rows


def worlds_table(worlds: "Mapping[str, GroupRecord]") -> Table:
    """Each set of a mix apart: theorems proved within the largest budget, and areas, by search."""
    searches = list(next(iter(worlds.values()))["area"])
    highest = max(next(iter(worlds.values()))["solved"][searches[0]], key=int)
    header = ["theorem set", *(f"{name} @{highest}" for name in searches), *(f"{name} area" for name in searches)]
    rows = [
        [
            world,
            *(f"{found['solved'][name][highest]}/{found['theorems']}" for name in searches),
            *(f"{found['area'][name]:.3f}" for name in searches),
            f"{found['paired']['faster']} / {found['paired']['slower']}",
            f"{found['paired']['p_value']:.3g}",
        ]
        for world, found in worlds.items()
    ]
    return [*header, "faster / slower", "sign test p"], rows


SAME_MEMORY = 0.05
"""Searches whose shares of remembered candidates differ by no more than this did the same work: their wall times can be
compared."""


def same_memory(counts: "Mapping[str, MemoRecord]") -> bool:
    """Whether the searches found equally much in the memo. counts: states whose candidates were `known`, and `asked`
    for, by the name of the search."""
    shares = [_known_share(some) for some in counts.values()]
    return max(shares, default=0.0) - min(shares, default=0.0) <= SAME_MEMORY


def cost_line(comparison: "ComparisonRecord", counts: "Mapping[str, MemoRecord]") -> str:
    """What the second search cost beside the first: wall times where both had the same memory, else calls.

    counts: as for `same_memory`, of the two searches that `comparison` names.
    """
    first, second = comparison["modes"]
    if same_memory(counts):
        seconds = [comparison["modes"][name]["seconds"] for name in (first, second)]
        if not seconds[0]:
            return f"{second} took {seconds[1]:.1f} s of wall time, {first} none that was measured"
        return f"{second} took {seconds[1] / seconds[0]:.2f} times the wall time of {first}"
    calls = {name: some["known"] + some["asked"] for name, some in counts.items()}
    ratio = f" ({calls[second] / calls[first]:.2f} times as many)" if calls[first] else ""
    remembered = " and ".join(f"{_known_share(counts[name]):.0%} of {name}'s" for name in (first, second))
    return (
        f"{second} needed the candidates of {calls[second]} states, {first} of {calls[first]}{ratio}; their wall times "
        f"are not compared, since earlier searches had asked for {remembered}"
    )


def _known_share(counts: "MemoRecord") -> float:
    total = counts["known"] + counts["asked"]
    return counts["known"] / total if total else 0.0


def heads_table(heads: "Sequence[HeadRecord]") -> Table:
    """The same guided search with heads that differ in their seed alone, and their spread.

    Validation chose the weight beta for the first head alone; the others are searched with the same one.
    """
    budgets = list(heads[0]["solved"])
    rows = [
        [
            head["name"],
            *_weight(head.get("beta"), chosen=head is heads[0]),
            *(str(head["solved"][budget]) for budget in budgets),
            f"{head['area']:.3f}",
            f"{head['area_gain']:+.3f}",
            f"{head['faster']} / {head['slower']}",
            f"{head['p_value']:.3g}",
        ]
        for head in heads
    ]
    if len(heads) > 1:
        gains = [head["area_gain"] for head in heads]
        blank = [""] * len(budgets)
        area = statistics.mean(head["area"] for head in heads)
        gain = f"{statistics.mean(gains):+.3f} ± {statistics.stdev(gains):.3f}"
        rows.append(["mean ± SD", "", *blank, f"{area:.3f}", gain, "", ""])
    return [
        "head",
        "weight beta",
        *(f"@{budget}" for budget in budgets),
        "area",
        "area gained",
        "faster / slower",
        "sign test p",
    ], rows


REUSED = (
    "Every model has scales of its own, but validation chose the weight beta for the first one only: the others are "
    "searched with it too, and might do better with a weight of their own."
)
"""What has to stand beside the figures of further heads."""


def _weight(beta: float | None, *, chosen: bool) -> list[str]:
    """One cell; empty for reports that were written before the weight was among the numbers of a head."""
    return ["" if beta is None else f"{beta:g}" if chosen else f"{beta:g} (reused)"]


def transposed(table: Table) -> Table:
    """Rows as columns: few searches at many budgets fit the narrow tables of an asset page."""
    header, rows = table
    turned = [list(row) for row in zip(header, *rows, strict=True)]
    return turned[0], turned[1:]


def noise_table(noise: Sequence[JsonObject]) -> Table:
    """Of a sample of the states of each label, how many a decision procedure (G4ip) calls provable."""
    rows = [
        [
            entry["label"],
            str(entry["states"]),
            str(entry["decided"]),
            f"{entry['provable']} ({entry['provable'] / entry['decided']:.0%})" if entry["decided"] else "",
        ]
        for entry in noise
    ]
    return ["label", "states sampled", "decided", "provable"], rows


def trials_table(trials: Sequence[JsonObject], chosen: float, order: str = "mix") -> Table:
    """What validation said of each weight of the mix, and of the orders that have none.

    chosen: the best weight of a mix. order: the one chosen; "policy-mean" is the mix of weight 0.
    """
    weight = {"mix": chosen, "policy-mean": 0.0}.get(order)
    rows = []
    for trial in trials:
        beta = trial.get("beta")
        won = beta == weight if beta is not None else trial["order"] == order
        name = trial["order"] if beta is None else f"{beta:g}"
        rows.append([name, f"{trial['area']:.3f}", str(trial["solved"]), "chosen" if won else ""])
    return ["weight beta, or order", "area on validation", "solved", ""], rows


def rank1_table(ranking: JsonObject) -> Table:
    """Sibling rank-1 by depth of the parent with 95% intervals, one row per bucket.

    In whole percents: five buckets side by side have to fit the narrow tables of an asset page.
    """
    buckets = ranking["rank1"]
    names = list(dict.fromkeys(name for bucket in buckets.values() for name in bucket))
    rows = []
    for bucket, signals in buckets.items():
        row = [bucket, str(next(iter(signals.values()))["n"])]
        for name in names:
            found = signals.get(name)
            row.append(f"{found['mean']:.0%} ({100 * found['low']:.0f} to {100 * found['high']:.0f})" if found else "")
        rows.append(row)
    return ["depth", "sibling sets", *names], rows


def tuning_table(tuning: JsonObject) -> Table:
    """What tuning the policy changed: before and after, from policy_tuning.json."""
    result, accepted = tuning["tuning"], tuning["accepted"]
    before, after = result["separation_before"] or {}, result["separation_after"] or {}
    rows = [
        ["tactics that Lean accepts, of those tried (share)", accepted["before"], accepted["after"]],
        ["loss on the steps learnt (nats a token)", result["loss_before"], result["loss_after"]],
        ["loss on theorems kept back (nats a token)", result["held_out_before"], result["held_out_after"]],
        ["distance of positive from negative states (spreads)", *(d.get("centroid_distance") for d in (before, after))],
        ["linear probe, positive from negative (AUC)", *(d.get("probe_auc") for d in (before, after))],
    ]
    known = [row for row in rows if None not in row and all(value == value for value in row)]
    return ["", "before", "after"], [[name, f"{first:.3f}", f"{second:.3f}"] for name, first, second in known]
