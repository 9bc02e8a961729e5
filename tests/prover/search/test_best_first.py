"""The algorithm itself, over worlds small enough to follow by hand."""

import pytest
from search_fakes import HashPolicy, HashScorer, HashWorld, ScriptedPolicy, ScriptedWorld, theorems

from prover.environments.base import Crashed, TimedOut
from prover.search import Ended, MixingCalibration, ScoreError, SearchConfig, SearchReport, search
from prover.search.best_first import TheoremResult
from prover.theorems import Theorem

THEOREM = Theorem("thm", ": p")


def run(
    table: dict, proposals: dict, *, theorem: Theorem = THEOREM, scorer=None, uncertified: float = 0.0, **settings
) -> TheoremResult:
    world = ScriptedWorld(table, uncertified=uncertified)
    config = SearchConfig(**{"mode": "policy-mean", **settings})
    report = search([theorem], world, ScriptedPolicy(proposals), config, scorer=scorer)
    return report.results[0]


def order(result: TheoremResult) -> list[str]:
    """State texts in the order of their expansion."""
    expanded = [node for node in result.tree.nodes if node.expansion is not None]
    return [node.state.text.removeprefix("⊢ ") for node in sorted(expanded, key=lambda node: node.expansion or 0)]


def test_finds_a_proof_and_says_at_which_expansion():
    result = run(
        {("root", "intro"): "a", ("a", "exact"): "", ("root", "bad"): "dead end"},
        {"root": {"bad": -0.1, "intro": -1.0}, "a": {"exact": -0.1}},
    )
    assert result.ended is Ended.PROVED
    assert result.proof == ("intro", "exact")
    assert order(result) == ["root", "dead end", "a"]
    assert result.expansions_to_proof == result.expansions == 3
    assert result.tactics == 3


def test_mean_does_not_punish_length_and_cumulative_does():
    table = {("root", "x"): "a", ("a", "x"): "b", ("b", "x"): "c", ("root", "y"): "d"}
    proposals = {"root": {"x": -1.0, "y": -1.5}, "a": {"x": -1.0}, "b": {"x": -1.0}, "c": {}, "d": {}}
    assert order(run(table, proposals, mode="policy-mean")) == ["root", "a", "b", "c", "d"]
    assert order(run(table, proposals, mode="policy-cumulative")) == ["root", "a", "d", "b", "c"]


def test_breadth_first_goes_level_by_level_in_order_of_creation():
    table = {("root", "x"): "a", ("root", "y"): "b", ("a", "x"): "c", ("b", "x"): "d"}
    proposals = {"root": {"x": -1.0, "y": -5.0}, "a": {"x": -0.1}, "b": {"x": -0.1}}
    assert order(run(table, proposals, mode="breadth-first")) == ["root", "a", "b", "c", "d"]


def test_energy_decides_where_it_is_asked_to():
    table = {("root", "x"): "a", ("root", "y"): "b", ("a", "x"): "a2", ("b", "x"): "b2"}
    proposals = {"root": {"x": -0.1, "y": -1.5}, "a": {"x": -0.1}, "b": {"x": -0.1}}
    scorer = HashScorer(lambda text: {"⊢ b": 5.0, "⊢ b2": 4.0}.get(text, 0.0))
    assert order(run(table, proposals, mode="policy-mean")) == ["root", "a", "a2", "b", "b2"]
    for mode in ("energy-only", "calibrated", "raw-half-half"):
        result = run(table, proposals, mode=mode, scorer=scorer)
        assert order(result)[:3] == ["root", "b", "b2"], mode
        assert [node.score for node in result.tree.nodes[:3]] == [0.0, 0.0, 5.0]


def test_split_queue_pops_in_turn():
    table = {("root", x): x for x in "abcd"}
    proposals = {"root": {"a": -0.1, "b": -0.2, "c": -0.3, "d": -0.4}}
    scorer = HashScorer(lambda text: {"⊢ d": 90.0, "⊢ c": 80.0}.get(text, 0.0))
    result = run(table, proposals, mode="split-queue", scorer=scorer)
    assert order(result) == ["root", "a", "d", "b", "c"]


def test_a_state_reached_twice_is_one_node_with_two_parents():
    result = run(
        {("root", "x"): "a", ("root", "y"): "b", ("a", "x"): "c", ("b", "x"): "c", ("c", "x"): ""},
        {"root": {"x": -0.1, "y": -0.2}, "a": {"x": -3.0}, "b": {"x": -9.0}, "c": {"x": -0.1}},
    )
    assert [node.state.text for node in result.tree.nodes] == ["⊢ root", "⊢ a", "⊢ b", "⊢ c", ""]
    into_c = [(attempt.parent, attempt.new_node) for attempt in result.tree.attempts if attempt.child == 3]
    assert into_c == [(1, True), (2, False)]
    assert result.proof == ("x", "x", "x")


def test_an_open_node_takes_the_better_path():
    result = run(
        {("root", "x"): "a", ("root", "y"): "b", ("a", "x"): "c", ("b", "y"): "c", ("c", "z"): ""},
        {"root": {"x": -0.1, "y": -0.2}, "a": {"x": -9.0}, "b": {"y": -0.3}, "c": {"z": -0.1}},
    )
    assert result.proof == ("y", "y", "z")
    moved = result.tree.nodes[3]
    assert (moved.parent, moved.depth) == (2, 2)
    assert moved.log_prob == pytest.approx(-0.5)


def test_a_tactic_that_changes_nothing_makes_no_node():
    result = run({("root", "skip"): "root"}, {"root": {"skip": -0.1}})
    assert len(result.tree.nodes) == 1
    assert result.ended is Ended.FRONTIER_EXHAUSTED


def test_claims_that_are_not_certified_do_not_prove():
    table = {("root", "x"): "", ("root", "y"): "a", ("a", "z"): ""}
    proposals = {"root": {"x": -0.1, "y": -0.2}, "a": {"z": -0.1}}
    result = run(table, proposals, uncertified=1.0)
    assert result.ended is Ended.FRONTIER_EXHAUSTED
    assert (result.claimed, result.proved, result.claims) == (True, False, 2)
    assert "the kernel says no" in result.reason
    assert [attempt.outcome for attempt in result.tree.attempts] == ["uncertified", "progress", "uncertified"]
    assert not any(node.complete for node in result.tree.nodes)


def test_the_first_certified_claim_is_the_proof_and_later_ones_are_not_asked_about():
    world = ScriptedWorld({("root", "x"): "", ("root", "y"): ""})
    policy = ScriptedPolicy({"root": {"x": -0.1, "y": -0.2}})
    result = search([THEOREM], world, policy, SearchConfig(mode="policy-mean")).results[0]
    assert result.proof == ("x",)
    assert [[claim.tactics for claim in batch] for batch in world.certified] == [[("x",)]]
    assert [attempt.outcome for attempt in result.tree.attempts] == ["complete", "complete"]
    assert [attempt.child for attempt in result.tree.attempts] == [1, None]


def test_nodes_at_the_depth_limit_are_kept_and_not_expanded():
    table = {("root", "x"): "a", ("a", "x"): "b", ("b", "x"): ""}
    proposals = {"root": {"x": -0.1}, "a": {"x": -0.1}, "b": {"x": -0.1}}
    result = run(table, proposals, max_depth=2)
    assert order(result) == ["root", "a"]
    assert len(result.tree.nodes) == 3
    assert result.ended is Ended.FRONTIER_EXHAUSTED
    assert run(table, proposals, max_depth=3).proved


def test_ends_by_budget_and_an_expansion_without_candidates_counts():
    table = {("root", "x"): "a", ("root", "y"): "b"}
    result = run(table, {"root": {"x": -0.1, "y": -0.2}}, max_expansions=2)
    assert result.ended is Ended.BUDGET
    assert (result.expansions, result.tactics) == (2, 2)


def test_crashes_in_a_row_end_a_search_and_timeouts_do_not():
    table = {("root", x): x for x in "abcd"}
    table |= {(x, "t"): Crashed("killed for memory", 1.0) for x in "abcd"}
    proposals = {"root": {"a": -0.1, "b": -0.2, "c": -0.3, "d": -0.4}, **{x: {"t": -0.1} for x in "abcd"}}
    result = run(table, proposals)
    assert result.ended is Ended.CRASHED
    assert "killed for memory" in result.reason
    assert result.expansions == 4
    table |= {(x, "t"): TimedOut("out of heartbeats", 1.0) for x in "abcd"}
    assert run(table, proposals).ended is Ended.FRONTIER_EXHAUSTED


def test_statements_that_lean_does_not_accept_are_named_and_the_others_go_on():
    some = [Theorem("good", ": g"), Theorem("wrong", ": bad"), Theorem("gone", ": dead")]
    report = search(some, HashWorld(complete=0.3), HashPolicy(), SearchConfig(mode="policy-mean"))
    assert [result.ended for result in report.results] == [Ended.PROVED, Ended.INVALID, Ended.CRASHED]
    assert report.results[1].reason == "unknown identifier 'bad'"


def test_the_seconds_budget_ends_a_search():
    report = search(
        theorems(2), HashWorld(complete=0.0), HashPolicy(), SearchConfig(mode="policy-mean", time_limit_s=1e-9)
    )
    assert [result.ended for result in report.results] == [Ended.TIMEOUT] * 2
    assert all(result.expansions == 0 for result in report.results)


def test_a_frontier_that_a_crash_emptied_was_not_searched_to_its_end():
    crash = Crashed("killed", 1.0)
    result = run({("root", "a"): crash}, {"root": {"a": -1.0}})
    assert (result.ended, result.reason) == (Ended.CRASHED, "1 expansion crashed; the last: killed")
    result = run(
        {("root", "a"): "left", ("root", "b"): "right", ("left", "c"): crash},
        {"root": {"a": -1.0, "b": -2.0}, "left": {"c": -0.1}, "right": {"d": -0.1}},
    )
    assert result.ended == Ended.FRONTIER_EXHAUSTED, "Lean answered after the crash"


def test_probes_are_tried_after_the_candidates_and_never_twice():
    result = run(
        {("root", "simp_all"): ""},
        {"root": {"assumption": -1.0}},
        probe_tactics=("assumption", "simp_all"),
        probe_log_prob=-2.0,
    )
    assert result.proof == ("simp_all",)
    assert [(attempt.tactic, attempt.log_prob) for attempt in result.tree.attempts] == [
        ("assumption", -1.0),
        ("simp_all", -2.0),
    ]


def test_a_score_that_is_not_finite_stops_the_search():
    with pytest.raises(ScoreError, match="every score must be finite"):
        search(
            [THEOREM],
            HashWorld(),
            HashPolicy(),
            SearchConfig(mode="energy-only"),
            scorer=HashScorer(lambda _: float("nan")),
        )


def test_a_larger_budget_changes_nothing_before_the_smaller_one_ends():
    """One search at budget 64 is the solve curve for every smaller budget."""

    def solved(budget: int) -> SearchReport:
        config = SearchConfig(max_expansions=budget, n_candidates=4)
        return search(theorems(30), HashWorld(complete=0.004), HashPolicy(), config, scorer=HashScorer())

    large = {result.theorem.name: result.expansions_to_proof for result in solved(64).results}
    assert sum(value is not None and value > 16 for value in large.values()) >= 3, "the world is too easy to tell"
    for budget in (4, 16):
        for result in solved(budget).results:
            expected = large[result.theorem.name]
            assert result.expansions_to_proof == (expected if expected and expected <= budget else None)


def test_random_energy_depends_on_seed_and_state_alone():
    calibration = MixingCalibration(0.0, 1.0, 1.0, 2.0)

    def orders(seed: int) -> list[list[str]]:
        config = SearchConfig(mode="random-energy", seed=seed)
        report = search(theorems(3), HashWorld(complete=0.0), HashPolicy(), config, calibration=calibration)
        return [order(result) for result in report.results]

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)


def test_an_exhausted_search_asks_for_more_candidates_and_tries_the_new_ones():
    table = {("root", "d"): "a", ("a", "y"): ""}
    proposals = {"root": {"a": -0.1, "b": -0.2, "c": -0.3, "d": -0.4}, "a": {"x": -0.1, "y": -0.2}}
    result = run(table, proposals, n_candidates=1)
    assert result.proof == ("d", "y")
    tried = [(attempt.expansion, attempt.rank, attempt.tactic) for attempt in result.tree.attempts]
    assert tried == [(1, 0, "a"), (2, 1, "b"), (3, 2, "c"), (3, 3, "d"), (4, 0, "x"), (5, 1, "y")]
    assert result.expansions_to_proof == 5
    assert order(result) == ["root", "a"], "a node has the number of its first expansion"
    for widen, expansions in ((1, 1), (2, 2)):
        narrow = run(table, proposals, n_candidates=1, widen=widen)
        assert (narrow.ended, narrow.expansions) == (Ended.FRONTIER_EXHAUSTED, expansions)
    assert run(table, proposals, n_candidates=1, max_expansions=3).ended is Ended.BUDGET


def test_nodes_that_are_expanded_again_keep_their_paths_and_try_nothing_twice():
    config = SearchConfig(mode="policy-mean", n_candidates=2, widen=8, max_expansions=60)
    some = theorems(25)
    report = search(some, HashWorld(complete=0.0, rejected=0.8), HashPolicy(), config)
    again = 0
    for result in report.results:
        pairs = [(attempt.parent, attempt.tactic) for attempt in result.tree.attempts]
        assert len(set(pairs)) == len(pairs)
        again += result.expansions > sum(node.expansion is not None for node in result.tree.nodes)
        for node in result.tree.nodes[1:]:
            assert result.tree.nodes[node.parent].depth == node.depth - 1
            assert node.state.tactics[-1] == node.tactic
            assert node.state.tactics[:-1] == result.tree.nodes[node.parent].state.tactics
    assert again > 10, "the worlds are small enough to be exhausted"
