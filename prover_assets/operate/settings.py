"""The settings that a run nobody configures by hand goes by: a preset named once, or those of the runs before it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from prover.json_types import JsonObject
from prover_assets.operate.next import latest_materialization
from prover_assets.operate.presets import load_run_config

PRESET = "PROVER_PRESET"
SETTINGS_TAG = "prover/settings"
"""On runs that schedules, sensors and automation start: where their settings are from."""


@dataclass(frozen=True, slots=True)
class NextSettings:
    """A run configuration, and in words where it is from."""

    run_config: JsonObject
    source: str


def settings_for(instance: dg.DagsterInstance, assets: Sequence[str]) -> NextSettings:
    """What the next run of `assets` goes by.

    PROVER_PRESET names a preset or a YAML file. Without it, each asset has the settings with which it was made last,
    in whatever iteration; the resources are those of the newest of these runs. Before the first run: the defaults.
    Raises PresetError for a preset that cannot be read.
    """
    preset = os.environ.get(PRESET, "")
    if preset:
        return NextSettings(_chosen(load_run_config(preset), assets), f"preset {preset} ({PRESET})")
    ops: dict[str, object] = {}
    newest: tuple[float, dict[str, object], str] | None = None
    for name in assets:
        event = latest_materialization(instance, name)
        run = None if event is None else instance.get_run_by_id(event.run_id)
        if event is None or run is None:
            continue
        used: JsonObject = dict(run.run_config)
        settings = (used.get("ops") or {}).get(name)
        if settings:
            ops[name] = settings
        if newest is None or event.timestamp > newest[0]:
            newest = (event.timestamp, dict(used), run.tags.get("dagster/partition", run.run_id))
    if newest is None:
        return NextSettings({}, "defaults: nothing was made before")
    kept = {name: newest[1][name] for name in ("resources", "execution") if newest[1].get(name)}
    return NextSettings({**kept, **({"ops": ops} if ops else {})}, f"as {newest[2]}")


def _chosen(run_config: JsonObject, assets: Sequence[str]) -> dict[str, object]:
    """A run configuration without assets that do not run."""
    ops = {name: value for name, value in (run_config.get("ops") or {}).items() if name in assets}
    return {**run_config, "ops": ops}
