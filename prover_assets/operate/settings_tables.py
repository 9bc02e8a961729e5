"""The page docs/settings.md, made from the dataclasses that declare the settings. `prover settings` prints it."""

from collections.abc import Iterator, Mapping

from prover.environments.settings import LeanSettings
from prover.policy.settings import PolicySettings
from prover.scale.config import EngineSettings, RayConfig
from prover.search.modes import MODES
from prover.settings import Setting, settings_of
from prover_assets.defs.configs import BY_ASSET, NOT_SHOWN, OWNERS

HEAD = """# Settings

Every setting is declared once, in the dataclass of the component that obeys it. The Launchpad, the command line, the
presets and this page are made from there. `prover settings` prints this page, and a test compares the two.

A key of the run configuration is `ops.ASSET.config.SETTING`, or `resources.RESOURCE.config.SETTING` for what all assets
share. The values of the demonstration are in `prover_assets/operate/presets/demo.yaml`, which `make run` uses.
"""


RESOURCES: Mapping[str, tuple[type, ...]] = {"lean": (LeanSettings, EngineSettings), "policy": (PolicySettings,)}


def markdown() -> str:
    """The whole page."""
    parts = [HEAD]
    for asset, owners in OWNERS.items():
        parts += [f"## {asset}\n", (BY_ASSET[asset].__doc__ or "").strip() + "\n"]
        hidden = NOT_SHOWN.get(asset, frozenset())
        for owner in owners:
            shown = [found for name, found in settings_of(owner).items() if name not in hidden]
            parts += [_declared(owner), "\n".join(_table(shown)) + "\n"]
    for name, owners in RESOURCES.items():
        parts.append(f"## Resource {name}\n")
        for owner in owners:
            parts += [(owner.__doc__ or "").strip() + "\n", _declared(owner), settings_table(owner)]
    parts += ["## Ray\n", "Keys of `resources.lean.config.ray`, and of the file that `--ray-config` names.\n"]
    parts += [_declared(RayConfig), settings_table(RayConfig)]
    parts += ["## Search modes\n", "Declared by `prover.search.modes.MODES`.\n", "\n".join(_modes()) + "\n"]
    return "\n".join(parts)


def settings_table(owner: type) -> str:
    """All settings of a dataclass, as a table in Markdown. docs/scale.md has the one of Ray too."""
    return "\n".join(_table(list(settings_of(owner).values()))) + "\n"


def _declared(owner: type) -> str:
    return f"Declared by `{owner.__module__}.{owner.__name__}`.\n"


def _table(settings: list[Setting]) -> Iterator[str]:
    yield "| setting | type | default | unit | bounds | what it is |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for found in settings:
        cells = (
            f"`{found.name}`",
            found.shown_type(),
            f"`{found.shown_default()}`",
            found.limits.unit,
            found.limits.words(),
            found.help,
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _modes() -> Iterator[str]:
    yield "| mode | what it is for | needs an energy model | needs the calibration | queues |"
    yield "| --- | --- | --- | --- | --- |"
    for mode in MODES.values():
        scorer = "yes" if mode.needs_scorer else "no"
        if mode.without_scorer is not None:
            scorer = f"without one, `{mode.without_scorer}` takes its place"
        queues = ", ".join(f"`{order}`" for order in mode.orders)
        yield f"| `{mode.name}` | {mode.purpose} | {scorer} | {'yes' if mode.needs_scale else 'no'} | {queues} |"
