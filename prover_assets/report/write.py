"""The figures and the page of an iteration's report."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from prover_assets.report import plots
from prover_assets.report.facts import tree_of
from prover_assets.report.interactive import (
    TheoremRow,
    history_chart,
    history_rows,
    solve_curve_chart,
    theorem_rows,
    theorems_table,
    time_chart,
    widgets,
)
from prover_assets.report.page import Section, render
from prover_assets.report.record import Report
from prover_assets.report.story import changes, reports_so_far, reproduce, summary_sentences, warnings
from prover_assets.report.tables import (
    REUSED,
    cost_line,
    ending_table,
    heads_table,
    noise_table,
    paired_lines,
    rank1_table,
    rate_table,
    solved_table,
    trials_table,
    worlds_table,
)
from prover_assets.steps.compare import GUIDED, POLICY, RANDOM, Compared
from prover_assets.store.layout import IterationFolder


def pictures_of(iteration: IterationFolder, compared: Compared, beta: float) -> dict[str, plots.Picture]:
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
        pictures["calibration"] = plots.calibration(
            compared.energies,
            [(trial["beta"], trial["area"]) for trial in compared.trials if "beta" in trial],
            chosen=beta,
            title="what an energy says, on held-out states; and what its weight does, on validation theorems",
        )
    name = _telling_theorem(compared)
    if name is not None:
        for label, files in ((POLICY, compared.baseline_files), (GUIDED, iteration.guided)):
            pictures[f"tree_{label}"] = plots.search_tree(tree_of(files, name), title=f"{name}, {label}")
    return pictures


def _charts(
    iteration: IterationFolder, report: Report, compared: Compared, theorems: list[TheoremRow]
) -> dict[str, dict[str, object]]:
    """The charts that the page draws, by the `id` of their place."""
    curves = {mode.name: list(mode.expansions.values()) for mode in (compared.main.first, compared.main.second)}
    if compared.control is not None:
        curves[RANDOM] = list(compared.control.second.expansions.values())
    views = {
        title: [row.searches[place][1] for row in theorems if len(row.searches) > place]
        for place, title in enumerate((POLICY, GUIDED))
    }
    return {
        "solve-curve": solve_curve_chart(curves, max(compared.main.budgets)),
        "history": history_chart(history_rows(reports_so_far(iteration, report))),
        "time": time_chart(views),
    }


def _telling_theorem(compared: Compared) -> str | None:
    """A theorem that one of the searches alone proved, the guided one if there is such; else the one with the largest
    difference in expansions. Of several, the one proved in the fewest expansions: its tree is the easiest to read."""
    first, second = compared.main.first.expansions, compared.main.second.expansions
    proved = {name: (first[name], second[name]) for name in first if first[name] or second[name]}
    if not proved:
        return None

    def telling(name: str) -> tuple[int, int, str]:
        a, b = proved[name]
        if a is None or b is None:
            return (2 if a is None else 1, -(a or b or 0), name)
        return (0, abs(a - b), name)

    return max(proved, key=telling)


def _who_proved(compared: Compared, name: str) -> str:
    """In words: which of the two searches proved the theorem that is shown."""
    first, second = compared.main.first.expansions[name], compared.main.second.expansions[name]
    if first is None:
        return f"Only the guided search proved {name}, in {second} expansions."
    if second is None:
        return f"Only the search with the policy alone proved {name}, in {first} expansions."
    return f"No theorem was proved by one search alone. {name}: policy alone in {first} expansions, guided in {second}."


def write_page(
    iteration: IterationFolder, report: Report, pictures: dict[str, plots.Picture], compared: Compared
) -> Path:
    """Write `report/index.html`, whole, and its pictures as PNG files beside it."""
    theorems = theorem_rows(compared.baseline_files, iteration.guided)
    charts = _charts(iteration, report, compared, theorems)
    shown = {name: (name.replace("_", " "), picture) for name, picture in pictures.items()}
    sections = [
        *_search_sections(report, compared),
        *_model_sections(report, shown),
        *_run_sections(iteration, report, compared),
    ]
    iteration.report.mkdir(parents=True, exist_ok=True)
    for name, (_, picture) in shown.items():
        (iteration.report / f"{name}.png").write_bytes(picture.png)
    page = iteration.report / "index.html"
    text = render(
        f"Report of {iteration.key}",
        summary_sentences(report),
        report["promotion"]["promoted"],
        sections,
        _facts(report, compared),
        scripts=widgets(charts, theorems),
    )
    temporary = page.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(page)
    return page


def _search_sections(report: Report, compared: Compared) -> Iterator[Section]:
    """How the searches of the held-out theorems went."""
    searches = (report["comparison"], report["control"])
    yield Section(
        "Held-out theorems proved",
        "Each theorem has the same budget in every search. A proof counts once a fresh Lean process certified it.",
        tables=[solved_table(*searches), rate_table(*searches), ending_table(*searches)],
        chart="solve-curve",
    )
    if report.get("worlds"):
        yield Section(
            "World by world",
            "The held-out theorems are from several sets. Each search, on the theorems of each set alone.",
            tables=[worlds_table(report["worlds"])],
        )
    yield Section(
        "Over the iterations",
        "Area under the solve curve of each search, in every iteration so far that has a report.",
        chart="history",
    )
    name = _telling_theorem(compared)
    yield Section(
        "Theorem by theorem",
        f"{_who_proved(compared, name) if name is not None else 'No search proved a theorem.'} A column's name "
        "sorts; a theorem's name opens its proof and both of its search trees.",
        markup=theorems_table(),
    )
    lines = [*paired_lines(report["comparison"]), cost_line(report["comparison"], report["candidates_from_memo"])]
    yield Section("The same theorems, pair by pair", " ".join(f"{line[0].upper()}{line[1:]}." for line in lines))


def _model_sections(report: Report, shown: Mapping[str, tuple[str, plots.Picture]]) -> Iterator[Section]:
    """What the energy model, its weight and its labels are worth. shown: pictures with their titles, by name."""
    if len(report["heads"]) > 1:
        yield Section(
            "The luck of the seed",
            "Energy models trained on the same data, alike but for the seed, and the same held-out theorems "
            f"searched with each. {REUSED} The random row above is the formula with an energy drawn by chance.",
            tables=[heads_table(report["heads"])],
        )
    if report["ranking"] is not None:
        yield Section(
            "How well the states are ranked",
            "Of the new states that one expansion leads to, is the best-scored one on the way to a proof? "
            "Energy: lower is better.",
            tables=[rank1_table(report["ranking"])],
            pictures=[shown[name] for name in ("rank1", "energies", "calibration") if name in shown],
        )
    if report["validation"]:
        yield Section(
            "The order of guided search, and the weight of the energy",
            "Chosen on validation theorems, which are neither trained on nor reported on; 0 is the policy alone.",
            tables=[trials_table(report["validation"], report["beta"], report["order"])],
        )
    if any(entry["decided"] for entry in report["label_noise"]):
        yield Section(
            "What the labels are worth",
            "A negative state is one that no search finished, not one that cannot be proved. A decision procedure "
            "for propositional logic (G4ip) says how many of the held-out states of each label are provable.",
            tables=[noise_table(report["label_noise"])],
        )


def _run_sections(iteration: IterationFolder, report: Report, compared: Compared) -> Iterator[Section]:
    """What the run cost, what is new in it, and how to make it again."""
    yield Section("Where the time went", "Seconds of the held-out searches, as each was run.", chart="time")
    changed = changes(iteration)
    if changed is not None:
        yield Section("What changed since the last iteration", changed[0], tables=[changed[1]])
    found = warnings(iteration, report, compared.guided)
    yield Section("Warnings", "" if found else "None.", bullets=found)
    yield Section("How to reproduce", code=reproduce(iteration, compared.guided))


def _facts(report: Report, compared: Compared) -> dict[str, object]:
    """The lines at the top of the page: name -> value."""
    return {
        "energy model": report["ebm_id"],
        "order of guided search": report["order"],
        "weight beta": report["beta"],
        "champion of the next iteration": report["promotion"]["champion"] or "none: the policy alone",
        "policy": compared.guided.policy_id,
        **({"training search": report["left_out"]} if report["left_out"] else {}),
        "environment": compared.guided.environment,
        "candidates per state": compared.guided.settings["n_candidates"],
        "held-out theorems digest": compared.guided.theorems,
        **({"held-out theorems lint": report["theorem_lint"]["test"]["digest"]} if "theorem_lint" in report else {}),
        "MLflow run": report["mlflow_run"],
    }
