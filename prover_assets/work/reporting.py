"""The figures and the page of an iteration's report."""

from pathlib import Path
from typing import Any

from prover_assets import plots
from prover_assets.findings import a_proof, tree_of
from prover_assets.layout import IterationFolder
from prover_assets.report import Section, render
from prover_assets.report_tables import memo_line, paired_lines, rank1_table, solved_table
from prover_assets.work.comparing import GUIDED, POLICY, RANDOM, Compared


def pictures_of(iteration: IterationFolder, compared: Compared) -> dict[str, plots.Picture]:
    """The pictures of the report, by name: those for which there is something to draw."""
    main = compared.main
    curves = {mode.name: list(mode.expansions.values()) for mode in (main.first, main.second)}
    if compared.control is not None:
        curves[RANDOM] = list(compared.control.second.expansions.values())
    pictures = {
        "solve_curve": plots.solve_curves(
            curves, highest=max(main.budgets), title=f"{iteration.key}: {main.first.theorems} held-out theorems"
        )
    }
    if compared.energies:
        pictures["energies"] = plots.histograms(
            compared.energies, xlabel="energy (lower is better)", title="energies of held-out states"
        )
    if compared.ranking is not None:
        pictures["rank1"] = plots.grouped_bars(
            {
                bucket: {name: (value.mean, value.low, value.high) for name, value in signals.items()}
                for bucket, signals in compared.ranking.rank1.items()
            },
            ylabel="best sibling is on a proof (share)",
            title="sibling rank-1 by depth",
        )
    name = _telling_theorem(compared)
    if name is not None:
        for label, files in ((POLICY, compared.baseline_files), (GUIDED, iteration.guided)):
            pictures[f"tree_{label}"] = plots.search_tree(tree_of(files, name), title=f"{name}, {label}")
    return pictures


def _telling_theorem(compared: Compared) -> str | None:
    """A theorem that only the guided search proved; else the one that it proved with the most expansions saved."""
    first, second = compared.main.first.expansions, compared.main.second.expansions
    proved = {name: e for name, e in second.items() if e is not None}
    if not proved:
        return None
    return max(proved, key=lambda name: ((first[name] or 10**9) - proved[name], name))


def write_page(
    iteration: IterationFolder, report: dict[str, Any], pictures: dict[str, plots.Picture], compared: Compared
) -> Path:
    """Write `report/index.html`, whole, and its pictures as PNG files beside it."""
    promotion = report["promotion"]
    verdict = ("Promoted: " if promotion["promoted"] else "Not promoted: ") + promotion["reason"] + "."
    found = a_proof(iteration.guided, _telling_theorem(compared))
    shown = {name: (name.replace("_", " "), picture) for name, picture in pictures.items()}
    sections = [
        Section(
            "Held-out theorems proved",
            "Each theorem has the same budget in every search. A proof counts once a fresh Lean process certified it.",
            tables=[solved_table(report["comparison"], report["control"])],
            pictures=[shown["solve_curve"]],
        ),
        Section(
            "The same theorems, pair by pair",
            " ".join(
                f"{line[0].upper()}{line[1:]}." for line in [*paired_lines(report["comparison"]), memo_line(report)]
            ),
        ),
    ]
    if report["ranking"] is not None:
        sections.append(
            Section(
                "How well the states are ranked",
                "Of the new states that one expansion leads to, is the best-scored one on the way to a proof? "
                "Energy: lower is better.",
                tables=[rank1_table(report["ranking"])],
                pictures=[shown[name] for name in ("rank1", "energies") if name in shown],
            )
        )
    trees = [shown[name] for name in (f"tree_{POLICY}", f"tree_{GUIDED}") if name in shown]
    if trees:
        sections.append(
            Section(
                "One theorem, searched both ways",
                "The proved path in green with its tactics; numbers are energies where the search used them.",
                pictures=trees,
                code=found[1].strip("`").removeprefix("lean\n").split("```")[0] if found is not None else "",
            )
        )
    facts = {
        "energy model": report["ebm_id"],
        "weight beta": report["beta"],
        "champion of the next iteration": promotion["champion"] or "none: the policy alone",
        "policy": compared.guided.policy_id,
        "environment": compared.guided.environment,
        "candidates per state": compared.guided.settings["n_candidates"],
        "held-out theorems digest": compared.guided.theorems,
        "MLflow run": report["mlflow_run"],
    }
    iteration.report.mkdir(parents=True, exist_ok=True)
    for name, (_, picture) in shown.items():
        (iteration.report / f"{name}.png").write_bytes(picture.png)
    page = iteration.report / "index.html"
    text = render(f"Report of {iteration.key}", verdict, promotion["promoted"], sections, facts)
    temporary = page.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(page)
    return page
