"""How far a step is, as Dagster records it while the step goes."""

from types import SimpleNamespace

import dagster as dg
import pytest

from prover_assets.defs import observe


@pytest.mark.slow
def test_a_long_step_is_observed_while_it_goes(project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(observe, "LOG_EVERY_S", 0.0)
    monkeypatch.setattr(observe, "LATER", 1e9)
    monkeypatch.setattr(observe, "FIRST_S", 0.0)
    result = project.run("theorems", "baseline_trajectories")
    assert result.success
    found = project.instance.fetch_observations(dg.AssetKey("baseline_trajectories"), limit=100).records
    assert found
    made = project.instance.fetch_materializations(dg.AssetKey("baseline_trajectories"), limit=1).records[0]
    assert all(record.timestamp <= made.timestamp for record in found)  # not kept until the end
    assert {record.run_id for record in found} == {result.run_id}
    latest = found[0].asset_observation
    assert latest is not None
    numbers = {name: value.value for name, value in latest.metadata.items() if name != "progress"}
    assert numbers["total"] == 12
    assert 0 <= numbers["done"] <= 12
    table = latest.metadata["progress"].value
    assert 1 <= len(table.records) <= observe.ROWS
    assert table.records[-1].data["done"] == f"{numbers['done']}/12"
    assert {column.name for column in table.schema.columns} == set(table.records[-1].data)


def test_the_longer_a_step_runs_the_rarer_it_is_looked_at(monkeypatch: pytest.MonkeyPatch):
    now = 0.0
    told: list[float] = []
    monkeypatch.setattr(observe, "time", SimpleNamespace(monotonic=lambda: now))
    observed = observe.Observed(_Silent(), None)
    monkeypatch.setattr(observed, "_tell", lambda *arguments: told.append(now))
    with observed.stage("search training theorems") as update:
        for second in range(4 * 3600):
            now = float(second)
            update(second, 4 * 3600, "")
    assert told[:2] == [observe.FIRST_S, observe.FIRST_S + observe.LOG_EVERY_S]
    assert len(told) < 200  # every 15 seconds they would be 960


class _Silent:
    def stage(self, title: str):
        from contextlib import nullcontext

        return nullcontext(lambda done, total, note: None)
