"""A budget of its own for each theorem: the theorems of one budget are searched together, one budget after another."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Unpack

from prover.environments.base import ProofEnvironment
from prover.policy.base import TacticGenerator
from prover.search.best_first import TheoremResult
from prover.search.config import SearchConfig
from prover.search.run import RowsMaker
from prover.search.searcher import Searcher, SearchOptions, SearchProgress, SearchReport
from prover.theorems import Theorem


@dataclass(frozen=True, slots=True, order=True)
class Budget:
    """What one theorem may use."""

    max_expansions: int
    n_candidates: int
    """Candidates asked of the policy at each node (k)."""


@dataclass(frozen=True, slots=True)
class BudgetedSearch:
    """A searcher that gives each theorem its budget. A theorem's result is that of a search with that budget alone."""

    searcher: Searcher
    budgets: Mapping[str, Budget]
    """By theorem name; theorems without one get that of the search's config."""

    def __call__(
        self,
        theorems: Iterable[Theorem],
        environment: ProofEnvironment,
        policy: TacticGenerator,
        config: SearchConfig,
        **options: Unpack[SearchOptions],
    ) -> SearchReport:
        """As `prover.search.search`."""
        given = list(theorems)
        groups: dict[Budget, list[Theorem]] = {}
        usual = Budget(config.max_expansions, config.n_candidates)
        for theorem in given:
            groups.setdefault(self.budgets.get(theorem.name, usual), []).append(theorem)
        reports: list[SearchReport] = []
        for budget, members in sorted(groups.items(), key=lambda item: item[0]):
            own = replace(config, max_expansions=budget.max_expansions, n_candidates=budget.n_candidates)
            reports.append(self.searcher(members, environment, policy, own, **_for_group(options, own, reports, given)))
            if reports[-1].interrupted:
                break
        if not reports:
            return self.searcher([], environment, policy, config, **options)
        return _joined(reports, given)


def _for_group(
    options: SearchOptions, own: SearchConfig, before: list[SearchReport], theorems: list[Theorem]
) -> SearchOptions:
    """The options of one group: rows say the group's own budget, and progress counts all groups."""
    found = options.copy()
    reduce, tell = options.get("reduce"), options.get("on_progress")
    if isinstance(reduce, RowsMaker):
        found["reduce"] = replace(reduce, config=own)
    if tell is not None:
        earlier = [report.progress for report in before]
        found["on_progress"] = lambda now: tell(_sum([*earlier, now], len(theorems)))
    return found


def _sum(parts: list[SearchProgress], theorems: int) -> SearchProgress:
    def total(name: str) -> float:
        return sum(getattr(part, name) for part in parts)

    return SearchProgress(
        theorems=theorems,
        done=int(total("done")),
        proved=int(total("proved")),
        active=parts[-1].active,
        expansions=int(total("expansions")),
        expansions_left=int(total("expansions_left")),
        tactics=int(total("tactics")),
        elapsed_s=total("elapsed_s"),
        model_s=total("model_s"),
        lean_s=total("lean_s"),
    )


def _joined(reports: list[SearchReport], theorems: list[Theorem]) -> SearchReport:
    found: dict[str, TheoremResult] = {result.theorem.name: result for report in reports for result in report.results}
    return SearchReport(
        results=[found[theorem.name] for theorem in theorems if theorem.name in found],
        guidance=reports[0].guidance,
        interrupted=reports[-1].interrupted,
        progress=_sum([report.progress for report in reports], len(theorems)),
        waited_s=sum(report.waited_s for report in reports),
    )
