"""Where a model's files are, whether they are safe to load, and what their content address is."""

import hashlib
import json
import os
import re
from pathlib import Path

from prover.json_types import JsonObject
from prover.policy.base import PolicyError
from prover.policy.digests import file_digest

TINY_CHECKPOINT = Path(__file__).parent / "tiny" / "checkpoint"
"""The default policy: propositional logic."""
WORLDS_CHECKPOINT = Path(__file__).parent / "tiny" / "worlds"
"""A policy for propositional logic, first-order logic and arithmetic."""
SHIPPED = {"worlds": WORLDS_CHECKPOINT}
"""Policies that come with the package, by the name that stands for their folder."""
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


class PolicyLoadError(PolicyError):
    """A policy that cannot be loaded. The message says what was given, what was expected and what to do."""


def resolve(path: str | Path | None) -> Path:
    """The folder of a model: the default one (None), a folder, a name of `SHIPPED`, or a hub id.

    A hub id is downloaded if it is not cached.

    The hub is asked only for an id that the caller wrote (`organisation/name`) and that is not a folder here; with
    HF_HUB_OFFLINE=1 it is never asked, and only the local cache is looked at.
    """
    if path is None:
        return checked(TINY_CHECKPOINT)
    folder = Path(path).expanduser()
    if folder.is_dir():
        return checked(folder)
    text = str(path)
    if text in SHIPPED:
        return checked(SHIPPED[text])
    if folder.is_file() and folder.suffix == ".gguf":
        raise PolicyLoadError(_gguf_advice(folder))
    if folder.exists():
        raise PolicyLoadError(f"{text} is a file; expected a folder with config.json, tokenizer.json and *.safetensors")
    if not is_hub_id(text):
        raise PolicyLoadError(
            f"no such model folder: {text}. Give a folder with config.json, tokenizer.json and *.safetensors, a hub id "
            "such as deepseek-ai/DeepSeek-Prover-V2-7B, or nothing at all for the shipped model."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        found = snapshot_download(text, allow_patterns=_HUB_FILES)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = "HF_HUB_OFFLINE is set and it is not in the local cache" if offline() else str(error).split("\n")[0]
        raise PolicyLoadError(
            f"model {text} is neither a folder here nor to be had from the hub ({reason}). Download it on a machine "
            f"with a network (`hf download {text} --local-dir DIR`) and give its folder."
        ) from error
    return checked(Path(found))


def is_hub_id(text: str) -> bool:
    """Whether the text has the form of a hub id, `organisation/name`."""
    return _HUB_ID.fullmatch(text) is not None and not text.startswith(".")


def offline() -> bool:
    """Whether the user has switched the hub off."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def checked(folder: Path) -> Path:
    """`folder`, if its files are there and can be loaded without running code from them; PolicyLoadError otherwise.

    What it has may be a model, an adapter alone (its base model is looked up), or a model with an adapter beside it.
    """
    if has_adapter(folder):
        if not (folder / ADAPTER_WEIGHTS).is_file():
            raise PolicyLoadError(
                f"{folder} has {ADAPTER_CONFIG} and no {ADAPTER_WEIGHTS}: the adapter's weights are missing, or "
                "pickled (adapter_model.bin), refused since unpickling can run code; save the adapter again with "
                "`save_pretrained` of a current peft"
            )
        safetensors_header(folder / ADAPTER_WEIGHTS)
    base = base_folder(folder)
    if not (base / "config.json").is_file():
        found = sorted(folder.glob("*.gguf"))
        if found:
            raise PolicyLoadError(_gguf_advice(found[0]))
        raise PolicyLoadError(f"{base} has no config.json: it is not a model in Hugging Face format")
    if not weight_files(base):
        _explain_missing_weights(base)
    for file in weight_files(base):
        safetensors_header(file)
    tokenizer_folder(folder)
    return folder


def _explain_missing_weights(folder: Path) -> None:
    found = sorted(folder.glob("*.gguf"))
    if found:
        raise PolicyLoadError(_gguf_advice(found[0]))
    pickles = [file.name for file in sorted(folder.iterdir()) if file.suffix in _PICKLE_SUFFIXES]
    if pickles:
        raise PolicyLoadError(
            f"{folder} has pickled weights only ({', '.join(pickles[:3])}). Unpickling can run code, so they are "
            "refused. Convert them once where you trust them: "
            "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER) writes safetensors."
        )
    raise PolicyLoadError(f"{folder} has no *.safetensors file: the weights are missing")


def _gguf_advice(file: Path) -> str:
    return (
        f"{file} is a GGUF model, which is not loaded as it is; convert it once: "
        f"python -m prover.policy.convert_gguf {file} NEW_FOLDER (or serve it with llama.cpp and give its address)"
    )


# ---- adapters


def has_adapter(folder: Path) -> bool:
    """Whether the folder has an adapter (LoRA and its kin), alone or beside a model."""
    return (folder / ADAPTER_CONFIG).is_file() or (folder / ADAPTER_WEIGHTS).is_file()


def base_folder(folder: Path) -> Path:
    """The folder of the model itself: `folder`, or the base model that an adapter alone names.

    A base model is looked for on this machine only: its name stands in a file, so the caller did not ask for a
    download.
    """
    if not has_adapter(folder) or (folder / "config.json").is_file():
        return folder
    if not (folder / ADAPTER_CONFIG).is_file():
        raise PolicyLoadError(f"{folder} has {ADAPTER_WEIGHTS} without {ADAPTER_CONFIG}: copy that file beside it")
    named = read_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise PolicyLoadError(
            f"{folder / ADAPTER_CONFIG} names no base model (`base_model_name_or_path`): write its folder there"
        )
    for place in (Path(named).expanduser(), folder / named):
        if (place / "config.json").is_file():
            if has_adapter(place):
                raise PolicyLoadError(f"{folder}: its base model {place} has an adapter itself; merge that one first")
            return place
    if is_hub_id(named):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            return Path(snapshot_download(named, allow_patterns=_HUB_FILES, local_files_only=True))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError):
            pass  # said below
    raise PolicyLoadError(
        f"{folder} is an adapter of {named}, which is not on this machine: download the base model "
        f"(`hf download {named} --local-dir DIR`) and write DIR as base_model_name_or_path into {ADAPTER_CONFIG}"
    )


def tokenizer_folder(folder: Path) -> Path:
    """The folder whose tokenizer is used: an adapter's own, or its base model's. PolicyLoadError for none."""
    for place in dict.fromkeys((folder, base_folder(folder))):
        if any((place / name).is_file() for name in _TOKENIZER_FILES):
            return place
    raise PolicyLoadError(
        f"{folder} has no tokenizer (tokenizer.json). Copy it from the base model: "
        "AutoTokenizer.from_pretrained(BASE).save_pretrained(FOLDER)."
    )


# ---- files


def read_object(file: Path) -> JsonObject:
    """A JSON file that has an object; PolicyLoadError for anything else."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PolicyLoadError(f"{file} cannot be read as JSON ({error}); copy or download it again") from error
    if not isinstance(value, dict):
        raise PolicyLoadError(f"{file} has a JSON {type(value).__name__}, expected an object; download it again")
    return value


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model, those of its index if it has one, sorted by name; an adapter's are not."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = read_object(index).get("weight_map")
        if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
            raise PolicyLoadError(
                f"{index} has no `weight_map` from tensor names to file names: download it again, or delete it where "
                "model.safetensors has all weights"
            )
        names = sorted(set(shards.values()))
        for name in names:
            if Path(name).name != name:
                raise PolicyLoadError(
                    f"{index} names {name}, which is not a file of its folder; it is not to be trusted"
                )
            if not (folder / name).is_file():
                raise PolicyLoadError(f"{folder}: {index.name} names {name}, which is missing; download it again")
        return [folder / name for name in names]
    return sorted(file for file in folder.glob("*.safetensors") if file.name != ADAPTER_WEIGHTS)


def safetensors_header(file: Path) -> JsonObject:
    """Names, dtypes, shapes and offsets of a file's tensors. PolicyLoadError for a damaged or unfinished file."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, 100 * 2**20):
            raise PolicyLoadError(_damaged(file, "its header is cut off"))
        try:
            header = json.loads(stream.read(length))
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            end = max((_end_of(entry) for entry in entries.values()), default=0)
        except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError) as error:
            raise PolicyLoadError(_damaged(file, "its header cannot be read")) from error
    if 8 + length + end != size:
        raise PolicyLoadError(_damaged(file, f"it has {size} bytes, and its header says {8 + length + end}"))
    return entries


def _end_of(entry: JsonObject) -> int:
    """Where a tensor's bytes end. Raises ValueError, TypeError or KeyError for an entry without all of its parts."""
    begin, end = entry["data_offsets"]
    sizes = [*entry["shape"], begin, end]
    if not isinstance(entry["dtype"], str) or any(type(size) is not int or size < 0 for size in sizes) or end < begin:
        raise ValueError("an entry is none of a tensor")
    return int(end)


def _damaged(file: Path, why: str) -> str:
    return (
        f"{file.parent} cannot be loaded as a causal language model: {file.name} is damaged or not a safetensors file "
        f"({why}); download it again"
    )


def checked_device(name: str | None) -> str:
    """The device asked for, or a GPU if there is one. Raises PolicyLoadError for one that torch cannot use."""
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
        reason = str(error).split("\n")[0]
        raise PolicyLoadError(f"device {name!r} cannot be used ({reason}); expected cpu, cuda or cuda:N") from error
    return name


# ---- content addresses


def weights_digest(folder: Path) -> str:
    """Hex digest over the configuration and all weights, an adapter's among them: a model's identity, wherever its
    folder lies. Large files are read once; see `prover.policy.digests`."""
    base = base_folder(folder)
    files = [base / "config.json", *weight_files(base)]
    if has_adapter(folder):
        files += [folder / ADAPTER_WEIGHTS]
    lines = [f"{file.name} {file_digest(file)}" for file in files]
    if has_adapter(folder):
        # Where the base model lies is no part of what the adapter is.
        settings = {**read_object(folder / ADAPTER_CONFIG), "base_model_name_or_path": ""}
        lines.append(f"{ADAPTER_CONFIG} {json.dumps(settings, sort_keys=True)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def tokenizer_digest(folder: Path) -> str:
    """Hex digest over the tokenizer's files."""
    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "tokenizer_config.json")
    place = tokenizer_folder(folder)
    lines = "\n".join(f"{name} {file_digest(place / name)}" for name in names if (place / name).is_file())
    return hashlib.sha256(lines.encode()).hexdigest()
