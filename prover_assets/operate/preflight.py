"""Settings looked at before work starts: a mistake in the last step's must not cost the hours of the steps before it.

Dagster itself refuses unknown keys and wrong types when a run is launched. It does not know bounds, nor which settings
fit together; every run looks at those of all its steps before its first one does anything. `make run`, which leaves out
the steps that have nothing to do, looks for unknown keys itself, in all of them.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from prover.json_types import JsonObject
from prover.settings import nearest
from prover_assets.defs.configs import BY_ASSET
from prover_assets.defs.resources import DataResource, LeanResource, PolicyResource
from prover_assets.defs.tracking import MlflowResource
from prover_assets.tracking.tracked_run import USER_INFO

PROJECT_KINDS = ("project", "repl")
SECTIONS = ("ops", "resources", "execution", "loggers")
BY_RESOURCE = {"data": DataResource, "lean": LeanResource, "policy": PolicyResource, "mlflow": MlflowResource}


class SettingsError(ValueError):
    """Settings that a run cannot work with. The message names each of them, what it should be and what to do."""


def require_known(run_config: JsonObject) -> None:
    """Look for keys that mean nothing: of sections, assets, resources and their settings.

    Raises SettingsError that names each of them with the nearest one that there is.
    """
    _refuse(list(_unknown(run_config)))


def _unknown(run_config: JsonObject) -> Iterator[str]:
    yield from _strangers("the run configuration", run_config, SECTIONS)
    sections: Mapping[str, JsonObject] = {"ops": BY_ASSET, "resources": BY_RESOURCE}
    for section, known in sections.items():
        entries = run_config.get(section) or {}
        yield from _strangers(section, entries, known)
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            if name not in known:
                continue
            yield from _strangers(f"{section}.{name}", entry or {}, ("config",))
            settings = entry.get("config") or {} if isinstance(entry, Mapping) else {}
            yield from _strangers(f"{section}.{name}.config", settings, known[name].model_fields)


def _strangers(where: str, given: object, known: Collection[str]) -> Iterator[str]:
    """A sentence for each key of `given` that is not known, or for what is no mapping at all."""
    if not isinstance(given, Mapping):
        yield f"{where} is {given!r}: it should be a mapping with some of {', '.join(known)}"
        return
    for key in given:
        if key not in known:
            yield f"unknown key {key!r} in {where} ({nearest(str(key), known)})"


def require_valid(run_config: JsonObject) -> None:
    """Look at the settings of every asset of a run and of its resources. Raises SettingsError that lists all faults."""
    faults = [
        fault
        for name, settings in (run_config.get("ops") or {}).items()
        if name in BY_ASSET
        for fault in _asset_faults(name, (settings or {}).get("config") or {})
    ]
    resources = run_config.get("resources") or {}
    faults += _lean_faults(config_of(resources, "lean"))
    faults += _policy_faults(config_of(resources, "policy"))
    _refuse(faults)


def _refuse(faults: list[str]) -> None:
    if faults:
        raise SettingsError(
            f"{'; '.join(faults)}. Nothing was done: change {'it' if len(faults) == 1 else 'them'} in the run "
            "configuration and launch again"
        )


def config_of(resources: JsonObject, name: str) -> JsonObject:
    """A resource's settings, those that come from an environment variable looked up."""
    found: dict[str, object] = {}
    for key, value in ((resources.get(name) or {}).get("config") or {}).items():
        from_environment = isinstance(value, Mapping) and set(value) == {"env"}
        found[key] = os.environ.get(value["env"], "") if from_environment else value
    return found


def _asset_faults(name: str, settings: JsonObject) -> list[str]:
    try:
        BY_ASSET[name](**settings)
    except ValidationError as error:
        return [_fault(name, dict(found)) for found in error.errors()]
    return []


def _fault(name: str, found: JsonObject) -> str:
    where = ".".join([name, *map(str, found["loc"])])
    reason = str(found["msg"]).removeprefix("Value error, ")
    reason = reason[:1].lower() + reason[1:]
    return f"{where} is {found['input']!r}: {reason}" if found["loc"] else f"{where}: {reason}"


def _lean_faults(settings: JsonObject) -> list[str]:
    from prover.environments import KINDS

    kind, project = settings.get("kind", "embedded"), settings.get("lean_project", "")
    if kind not in KINDS:
        return [f"lean.kind is {kind!r}: it should be one of {', '.join(KINDS)}"]
    if kind in PROJECT_KINDS and not (project and Path(project).is_dir()):
        return [f"lean.lean_project is {project!r}: kind {kind!r} needs the folder of a Lake project, and this is none"]
    return []


def _policy_faults(settings: JsonObject) -> list[str]:
    """A folder that is not there; an address with a password in it, which is not repeated: errors quote addresses."""
    with_user = [name for name in ("path", "encoder") if USER_INFO.search(str(settings.get(name, "")))]
    if with_user:
        return [
            f"policy.{with_user[0]} is an address with a user or a password in it: give the address alone, and the "
            "server's key in the environment variable PROVER_API_KEY"
        ]
    return [
        f"policy.{name} is {path!r}: there is no such folder"
        for name in ("path", "encoder")
        if (path := str(settings.get(name, "")))
        if Path(path).is_absolute() or path.startswith(("~", "."))
        if not Path(path).expanduser().is_dir()
    ]
