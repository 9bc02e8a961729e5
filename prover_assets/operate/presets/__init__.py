"""Run configurations for machines of three sizes, to paste into the Launchpad or to name on the command line."""

from pathlib import Path

from prover.json_types import JsonObject

FOLDER = Path(__file__).resolve().parent
PRESETS = ("demo", "propositional", "laptop", "gpu-7b")


class PresetError(ValueError):
    """A run configuration that cannot be read; the message says what to give instead."""


def load_run_config(name: str) -> JsonObject:
    """The run configuration of a preset, or of a YAML file.

    Raises PresetError for a file that is missing, empty, cut off or not YAML; never taken for the defaults.
    """
    import yaml

    path = FOLDER / f"{name}.yaml" if name in PRESETS else Path(name)
    if not path.is_file():
        raise PresetError(f"no preset and no file {name!r}; presets are {', '.join(PRESETS)}")
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise PresetError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise PresetError(f"{path} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date or number that is none
        raise PresetError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        raise PresetError(
            f"{path} is empty, or holds comments alone: was it cut off? For the defaults, write `ops: {{}}` in it, or "
            "leave --config out"
        )
    if not text.endswith("\n") and not text.rstrip().endswith("}"):
        raise PresetError(f"{path} does not end with a line break: was it cut off? If it is whole, add one at its end")
    empty = _without_value(content)
    if empty:
        raise PresetError(f"{path}: {empty} has no value: was the file cut off? Give it one, or remove the key")
    if not isinstance(content, dict):
        raise PresetError(
            f"{path} should hold a mapping with `ops` and `resources`; it holds a {type(content).__name__}"
        )
    return content


def _without_value(content: object, where: str = "") -> str:
    """The dotted name of the first key that has no value; "" where all have one."""
    if isinstance(content, dict):
        for key, value in content.items():
            name = f"{where}.{key}" if where else str(key)
            found = name if value is None else _without_value(value, name)
            if found:
                return found
    return ""
