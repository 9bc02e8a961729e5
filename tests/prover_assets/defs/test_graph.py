"""The asset graph, materialized over a small fake world with the real search, training, evaluation and files."""

import dagster as dg
import polars as pl
import pytest

from prover_assets.defs.jobs import ITERATION_ASSETS
from prover_assets.operate.next import next_iteration, remaining_assets
from prover_assets.store.champion import read_champion_of
from prover_assets.store.files import read_json, write_json
from prover_assets.store.layout import DataFolder
from prover_assets.store.verdict import read_verdict


def data_of(project) -> DataFolder:
    return DataFolder(project.data)


def step_error(result: dg.ExecuteInProcessResult) -> str:
    """Everything that the failed steps of a run said."""
    found = []
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error is not None:
                found.append(error.message)
                error = error.cause
    return "\n".join(found)


def test_guidance_learnt_in_the_first_iteration_proves_more_and_is_promoted(finished):
    report = read_json(data_of(finished).iteration("iter_000").report_file)
    solved = {name: mode["solved"]["16"] for name, mode in report["comparison"]["modes"].items()}
    assert solved["guided"] > solved["policy"]
    assert report["promotion"]["promoted"], report["promotion"]["reason"]
    champion = read_json(data_of(finished).root / "champion.json")
    assert champion["ebm_id"] in (
        report["ebm_id"],
        read_json(data_of(finished).iteration("iter_001").report_file)["ebm_id"],
    )


def test_the_next_iteration_searches_with_the_promoted_champion(finished):
    data = data_of(finished)
    promoted = read_json(data.iteration("iter_000").report_file)["ebm_id"]
    first = pl.read_parquet(data.iteration("iter_000").trajectories.nodes)
    second = pl.read_parquet(data.iteration("iter_001").trajectories.nodes)
    assert first["ebm_id"].unique().to_list() == [None]
    assert second["ebm_id"].unique().to_list() == [promoted]
    assert second["ebm_score"].null_count() < second.height
    assert finished.metadata("trajectories", "iter_001")["energy_model"] == promoted


def test_a_promotion_is_recorded_as_the_next_partition_of_the_champion(finished):
    event = finished.latest("champion_ebm", "iter_001")
    record = read_champion_of(data_of(finished).iteration("iter_001"))
    assert record is not None
    assert event.tags["dagster/data_version"] == record.ebm_id
    assert event.metadata["decided_by"].value == "iter_000"
    assert finished.instance.get_dynamic_partitions("iteration") == ["iter_000", "iter_001", "iter_002"]
    assert next_iteration(finished.instance, data_of(finished)).key == "iter_002"


def test_an_iteration_takes_the_next_training_theorems_and_trains_on_all_so_far(finished):
    data = data_of(finished)
    names = [set(pl.read_parquet(data.iteration(i).trajectories.summary)["theorem_name"].to_list()) for i in (0, 1)]
    assert len(names[0] & names[1]) == 24 + 24 - 40  # 24 of 40 theorems each time, round and round
    rows = [finished.metadata("ebm_checkpoint", key)["trained_on_rows"] for key in ("iter_000", "iter_001")]
    assert rows[1] > rows[0]


def test_every_asset_page_has_what_a_person_looks_at(finished):
    for asset in ("trajectories", "guided_trajectories"):
        metadata = finished.latest(asset, "iter_000").metadata
        for name in ("proved", "solve_rate", "expansions", "dagster/row_count", "seconds"):
            assert isinstance(metadata[name].value, int | float), name
        columns = [column.name for column in metadata["dagster/column_schema"].schema.columns]
        assert "state_pp" in columns
        assert "| theorem_name |" in metadata["preview"].value
        for name in ("solve_curve", "time", "a_search_tree"):
            assert "data:image/png;base64," in metadata[name].value
        assert "theorem" in metadata["a_proof"].value
        assert "⊢" in metadata["a_proof"].value
    report = finished.latest("iteration_report", "iter_000").metadata
    for name in ("guided_area", "policy_area", "area_gain", "sign_test_p", "guided_solved_at_16", "rank1_combined"):
        assert isinstance(report[name].value, int | float), name
    for name in ("solve_curve", "energies", "rank1", "tree_policy", "tree_guided"):
        assert "data:image/png;base64," in report[name].value


def test_the_report_is_a_page_of_its_own(finished):
    folder = data_of(finished).iteration("iter_000").report
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "is promoted: gain of" in page
    assert "default-src &#x27;none&#x27;" in page  # nothing is fetched from elsewhere
    assert 1 <= page.count("data:image/png;base64,") <= len(list(folder.glob("*.png")))
    assert page.count('id="tree-') == read_json(folder / "report.json")["comparison"]["theorems"]


def test_the_report_says_which_heads_have_a_weight_that_was_not_chosen_for_them(finished):
    report = read_json(data_of(finished).iteration("iter_000").report_file)
    beta = report["beta"]
    assert [head["beta"] for head in report["heads"]] == [beta, beta]
    page = (data_of(finished).iteration("iter_000").report / "index.html").read_text(encoding="utf-8")
    seeds = finished.metadata("iteration_report", "iter_000")["head_seeds"]
    assert f"| weight beta | {beta:g} | {beta:g} (reused) |" in seeds
    assert f"<td>{beta:g}</td>" in page
    assert f"<td>{beta:g} (reused)</td>" in page
    for text in (page, seeds):
        assert "validation chose the weight beta for the first one only" in text


@pytest.mark.long
def test_embeddings_that_are_there_are_not_made_again(project, policy):
    project.run("theorems", "trajectories", "state_embeddings", partition="iter_000")
    first = project.latest("state_embeddings", "iter_000")
    assert first.metadata["encoded"].value > 0
    policy.encoded.clear()
    project.run("state_embeddings", partition="iter_000")
    again = project.latest("state_embeddings", "iter_000")
    assert policy.encoded == []
    assert again.metadata["encoded"].value == 0
    assert "nothing to encode" in again.metadata["done"].value
    assert again.tags["dagster/data_version"] == first.tags["dagster/data_version"]


@pytest.mark.slow
def test_the_same_search_again_asks_the_model_nothing_and_has_the_same_version(project, policy):
    project.run("theorems", "trajectories", partition="iter_000")
    first = project.latest("trajectories", "iter_000")
    policy.asked.clear()
    project.run("trajectories", partition="iter_000")
    again = project.latest("trajectories", "iter_000")
    assert policy.asked == []
    assert again.tags["dagster/data_version"] == first.tags["dagster/data_version"]
    project.config = {"trajectories": {"max_expansions": 8}}
    project.run("trajectories", partition="iter_000")
    other = project.latest("trajectories", "iter_000")
    assert other.tags["dagster/data_version"] != first.tags["dagster/data_version"]


@pytest.mark.long
def test_a_search_that_was_cut_off_goes_on_where_it_stopped(project, monkeypatch):
    import prover.search.run as run

    original = run.TrajectoryWriter
    monkeypatch.setattr(run, "TrajectoryWriter", lambda *a, **k: original(*a, **{**k, "batch": 4}))
    rows_of = run.rows_of
    taken = 0

    def interrupted(*arguments):
        nonlocal taken
        taken += 1
        if taken == 10:
            raise KeyboardInterrupt
        return rows_of(*arguments)

    monkeypatch.setattr(run, "rows_of", interrupted)
    project.run("theorems")
    with pytest.raises(BaseException):  # noqa: B017, PT011 - Dagster has its own name for Ctrl-C
        project.run("trajectories", partition="iter_000")
    assert remaining_assets(project.instance, data_of(project), "iter_000") == ITERATION_ASSETS
    monkeypatch.setattr(run, "rows_of", rows_of)
    assert project.run("trajectories", partition="iter_000").success
    manifest = read_json(data_of(project).iteration("iter_000").trajectories.manifest)
    assert manifest["figures"]["resumed"] >= 8
    summary = pl.read_parquet(data_of(project).iteration("iter_000").trajectories.summary)
    assert summary.height == 24
    assert summary["theorem_name"].n_unique() == 24


def test_without_a_proof_the_run_stops_before_training_and_says_why(project):
    project.config = {"trajectories": {"max_expansions": 1}}
    result = project.run(
        "theorems", "trajectories", "state_embeddings", "ebm_checkpoint", partition="iter_000", raises=False
    )
    assert not result.success
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert [check.check_name for check in failed] == ["both_labels"]
    assert "0 positive" in failed[0].description
    assert [e.step_key for e in result.all_events if e.event_type_value == "STEP_SUCCESS"] == ["theorems"]
    # The asset is there, but it has to be made again before the iteration goes on.
    assert remaining_assets(project.instance, data_of(project), "iter_000") == ITERATION_ASSETS


def test_a_statement_that_does_not_parse_is_named_and_the_rest_goes_on(project):
    path = project.root / "train.jsonl"
    path.write_text('{"name": "broken", "statement": ": bad"}\n' + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert project.run("theorems", "trajectories", partition="iter_000").success
    metadata = project.latest("trajectories", "iter_000").metadata
    assert metadata["invalid"].value == 1
    assert "broken" in metadata["invalid_theorems"].value
    assert "unknown identifier" in metadata["invalid_theorems"].value
    assert metadata["proved"].value > 0


@pytest.mark.long
def test_claims_that_do_not_certify_are_counted_and_are_no_proofs(new_project):
    project = new_project(shares={"uncertified": 1.0})
    result = project.run("theorems", "trajectories", partition="iter_000", raises=False)
    assert not result.success  # no proof, so no positive state
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert checks["proofs_certified"].passed
    assert not checks["claims_hold"].passed
    assert project.metadata("trajectories", "iter_000")["proved"] == 0
    assert project.metadata("trajectories", "iter_000")["uncertified"] > 0


def test_a_checkpoint_that_failed_its_checks_is_refused_by_later_runs(finished_copy):
    iteration = data_of(finished_copy).iteration("iter_001")
    good = read_json(iteration.verdict)
    assert read_verdict(iteration.verdict).passed
    write_json(iteration.verdict, {**good, "passed": False, "failures": ["energy_gap: the energy gap is -0.2"]})
    result = finished_copy.run("guided_trajectories", partition="iter_001", raises=False)
    assert not result.success
    assert "energy gap is -0.2" in step_error(result)
    iteration.verdict.unlink()
    result = finished_copy.run("guided_trajectories", partition="iter_001", raises=False)
    assert "no verdict" in step_error(result)


def test_two_runs_of_one_iteration_do_not_write_the_same_files(project):
    project.run("theorems")
    with data_of(project).held("iter_000"):
        result = project.run("trajectories", partition="iter_000", raises=False)
    assert not result.success
    assert "another process" in step_error(result)
    assert not data_of(project).iteration("iter_000").trajectories.nodes.exists()


@pytest.mark.long
def test_running_an_old_iteration_again_leaves_the_newest_decision_alone(finished_copy):
    champion = data_of(finished_copy).root / "champion.json"
    before = champion.read_text(encoding="utf-8")
    assert finished_copy.run("iteration_report", partition="iter_000").success
    assert champion.read_text(encoding="utf-8") == before


def test_an_asset_whose_input_is_missing_says_what_to_materialize(project):
    result = project.run("trajectories", partition="iter_000", raises=False)
    assert "materialize theorems first" in step_error(result)
    project.run("theorems")
    result = project.run("ebm_checkpoint", partition="iter_000", raises=False)
    assert "materialize trajectories of iter_000 first" in step_error(result)


def test_sets_that_overlap_are_refused(project):
    project.config = {"theorems": {"test": str(project.root / "train.jsonl")}}
    result = project.run("theorems", raises=False)
    assert "must not overlap" in step_error(result)


def test_every_column_of_a_search_is_described(finished):
    schema = finished.metadata("trajectories", "iter_000")["dagster/column_schema"]
    assert [column.name for column in schema.columns if not column.description] == []


def test_the_page_of_a_report_has_the_decision_the_link_and_the_curve_first(finished):
    names = list(finished.metadata("iteration_report", "iter_001"))
    assert names[:4] == ["promotion", "report", "curve", "solved"]
    assert finished.metadata("iteration_report", "iter_001")["report"] == "http://127.0.0.1:3080/iter_001/"
    assert names[-1] == "mlflow_iterations"
