"""From the dataclasses that declare settings to what Dagster's Launchpad shows and checks."""

from collections.abc import Collection
from contextvars import ContextVar
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import dagster as dg
from dagster._core.errors import DagsterInvariantViolationError
from pydantic import Field, ValidationError, create_model, model_validator
from pydantic.fields import FieldInfo

from prover.json_types import JsonObject
from prover.settings import Setting, settings_of

T = TypeVar("T")

_looking: ContextVar[bool] = ContextVar("looking", default=False)
"""Whether the settings of the whole run are being looked at."""


class CheckedTogether(dg.Config):
    """A config whose faults are named with those of all other assets of the run.

    Dagster reads an asset's settings just before its step, one asset at a time, and stops at the first that has a
    fault. This looks at the whole run then, so that a person mends all of it at once.
    """

    def __init__(self, **given: object) -> None:
        """Raises dagster.Failure in a step of a run, ValidationError elsewhere."""
        try:
            super().__init__(**given)
        except ValidationError:
            context = _current_step()
            if context is not None:
                _refuse_the_run(context)
            raise


def _current_step() -> dg.AssetExecutionContext | None:
    try:
        return dg.AssetExecutionContext.get()
    except DagsterInvariantViolationError:  # no step is running
        return None


def _refuse_the_run(context: dg.AssetExecutionContext) -> None:
    """Raises dagster.Failure with every fault of the run's settings, if there is one that we know of."""
    from prover_assets.operate.preflight import SettingsError, require_valid  # it makes the configs of all assets

    if _looking.get():
        return
    token = _looking.set(True)
    try:
        require_valid(context.run.run_config)
    except SettingsError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    finally:
        _looking.reset(token)


def launchpad(*owners: type, without: Collection[str] = ()) -> type[CheckedTogether]:
    """A Dagster config with the settings of all `owners` side by side: names, types, defaults, bounds and help.

    without: settings that are not for an asset. Raises ValueError where two owners declare the same name.
    """

    def fits_together(config: CheckedTogether) -> CheckedTogether:
        for owner in owners:
            try:
                settings_from(config, owner)
            except ValueError as error:
                raise ValueError(str(error).replace(f"{owner.__name__}.", "")) from None
        return config

    checks: dict[str, Any] = {"fits_together": model_validator(mode="after")(fits_together)}
    return create_model(
        f"{owners[0].__name__}Launchpad",
        __base__=CheckedTogether,
        __doc__=owners[0].__doc__,
        __validators__=checks,
        **_fields(owners, without),
    )


def resource(*owners: type) -> "type[dg.ConfigurableResource[object]]":
    """A Dagster resource with the settings of all `owners` side by side. A value may be an environment variable's, so
    what settings say together is looked at when they are used."""
    name = f"{owners[0].__name__}Resource"
    return create_model(name, __base__=dg.ConfigurableResource, __doc__=owners[0].__doc__, **_fields(owners, ()))


def _fields(owners: Collection[type], without: Collection[str]) -> dict[str, Any]:
    """(type, pydantic field) of every setting, by name."""
    chosen: dict[str, Any] = {}
    for owner in owners:
        for name, declared in settings_of(owner).items():
            if name in chosen:
                raise ValueError(f"the setting {name} is declared twice, the second time by {owner.__name__}")
            if name not in without:
                chosen[name] = (_type(declared), _field(declared))
    return chosen


def values_from(config: "dg.Config | dg.ConfigurableResource[object]", owner: type) -> dict[str, object]:
    """The settings of one owner in a config, by name."""
    given: JsonObject = config.model_dump()
    return {
        name: tuple(given[name]) if isinstance(given[name], list) else given[name]
        for name in settings_of(owner)
        if name in given
    }


def settings_from(config: "dg.Config | dg.ConfigurableResource[object]", owner: type[T]) -> T:
    """One owner's settings, as it declares them. Fields that are no settings (of the data, not of the run) are 1."""
    needed = {name: 1 for name in owner.__dataclass_fields__ if name not in settings_of(owner)}  # type: ignore[attr-defined]
    return owner(**needed, **values_from(config, owner))


def _type(declared: Setting) -> object:
    """The type as Dagster knows it: lists for tuples, an enumeration where there are choices."""
    if declared.limits.choices:
        return Literal[declared.limits.choices]
    if get_origin(declared.type) in (Union, UnionType):
        return declared.type
    return list[get_args(declared.type)[0]] if get_origin(declared.type) is tuple else declared.type  # type: ignore[misc]


def _field(declared: Setting) -> FieldInfo:
    limits = declared.limits
    default = list(declared.default) if isinstance(declared.default, tuple) else declared.default
    bounds = {name: getattr(limits, name) for name in ("ge", "gt", "le", "lt") if getattr(limits, name) is not None}
    return Field(default=default, description=declared.described(), **bounds)
