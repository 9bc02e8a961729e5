"""The tables that report, terminal and Markdown share: header and rows, made from report.json's numbers."""

import math
from collections.abc import Mapping
from typing import Any

Table = tuple[list[str], list[list[str]]]


def solved_table(comparison: Mapping[str, Any], control: Mapping[str, Any] | None = None) -> Table:
    """Theorems proved at each budget, area and wall time, a row a search."""
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


def paired_lines(comparison: Mapping[str, Any]) -> list[str]:
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


def memo_line(report: Mapping[str, Any]) -> str:
    """Why the wall times of the searches are not of the same work."""
    shares = []
    for name, counts in report["candidates_from_memo"].items():
        total = counts["known"] + counts["asked"]
        shares.append(f"{name} {counts['known'] / total:.0%}" if total else f"{name} none")
    return f"wall times are as run; states whose candidates an earlier search had asked for: {', '.join(shares)}"


def rank1_table(ranking: Mapping[str, Any]) -> Table:
    """Sibling rank-1 by depth of the parent, a row a bucket."""
    buckets = ranking["rank1"]
    names = list(dict.fromkeys(name for bucket in buckets.values() for name in bucket))
    rows = []
    for bucket, signals in buckets.items():
        row = [bucket]
        for name in names:
            row.append(f"{signals[name]['mean']:.3f}" if name in signals else "")
        rows.append(row)
    return ["depth", *names], rows


def tuning_table(tuning: Mapping[str, Any]) -> Table:
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
