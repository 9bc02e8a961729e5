"""Run configurations for machines of three sizes, to paste into the Launchpad or to name on the command line."""

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
PRESETS = ("demo", "laptop", "gpu-7b")


class PresetError(ValueError):
    """A run configuration that cannot be read; the message says what to give instead."""


def load_run_config(name: str) -> dict[str, Any]:
    """The run configuration of a preset, or of a YAML file."""
    import yaml

    path = FOLDER / f"{name}.yaml" if name in PRESETS else Path(name)
    if not path.is_file():
        raise PresetError(f"no preset and no file {name!r}; presets are {', '.join(PRESETS)}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise PresetError(f"{path} is not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise PresetError(
            f"{path} should hold a mapping with `ops` and `resources`; it holds a {type(content).__name__}"
        )
    return content
