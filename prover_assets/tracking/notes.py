"""Descriptions in Markdown: of an iteration's run, and of a version of the energy model."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prover.json_types import JsonObject

if TYPE_CHECKING:
    from prover_assets.report.record import Report


def iteration_note(report: "Report", links: Mapping[str, str]) -> str:
    """What an iteration was, how it ended, its solve curve as a table, and where to read more.

    links: address of each, by what it is called.
    """
    comparison, promotion = report["comparison"], report["promotion"]
    budgets = [str(budget) for budget in comparison["budgets"]]
    modes = dict(comparison["modes"])
    control = report.get("control")
    if control is not None:
        modes |= {name: mode for name, mode in control["modes"].items() if name not in modes}
    paired = comparison["paired"]
    verdict = "promoted" if promotion["promoted"] else "not promoted"
    lines = [
        f"**{report['iteration']}** of expert iteration: the training theorems searched, the energy model trained and "
        f"calibrated (beta {_number(report['beta'])}), {comparison['theorems']} held-out theorems searched with it.",
        "",
        f"Verdict: **{verdict}**. {promotion['reason']}.",
        "",
        "Held-out theorems proved, by budget (expansions):",
        "",
        *_table(
            ["search", *(f"@{budget}" for budget in budgets), "area"],
            [
                [name, *(str(mode["solved"][budget]) for budget in budgets), _number(mode["area"])]
                for name, mode in modes.items()
            ],
        ),
        "",
        f"Theorem by theorem: guided alone proves {paired['only_second']}, the policy alone {paired['only_first']}.",
        "",
        " · ".join(f"[{name}]({address})" for name, address in links.items()),
    ]
    return "\n".join(lines)


def version_note(facts: JsonObject) -> str:
    """What a version of the energy model is, and why it was promoted or not. facts: name -> value, in order."""
    return "\n".join(_table(["", ""], [[name, _number(value)] for name, value in facts.items()]))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(header) + " |",
        "|" + " --- |" * len(header),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
