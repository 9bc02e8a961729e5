"""Where a model's files are, whether they are safe to load, and what their content address is."""

import hashlib
import json
import os
import re
from functools import lru_cache
from pathlib import Path

TINY_CHECKPOINT = Path(__file__).parent / "tiny" / "checkpoint"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class PolicyLoadError(Exception):
    """A policy that cannot be loaded. The message says what was given, what was expected and what to do."""


def resolve(path: str | Path | None) -> Path:
    """The folder of a model: the shipped one (None), a folder, or a hub id, which is downloaded if it is not cached.

    The hub is asked only for an id that the caller wrote (`organisation/name`) and that is not a folder here; with
    HF_HUB_OFFLINE=1 it is never asked, and only the local cache is looked at.
    """
    if path is None:
        return checked(TINY_CHECKPOINT)
    folder = Path(path).expanduser()
    if folder.is_dir():
        return checked(folder)
    text = str(path)
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
        found = snapshot_download(text, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"])
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
    """`folder`, if it can be loaded without running code from it; PolicyLoadError otherwise."""
    if not (folder / "config.json").is_file():
        raise PolicyLoadError(f"{folder} has no config.json: it is not a model in Hugging Face format")
    if not weight_files(folder):
        pickles = [file.name for file in sorted(folder.iterdir()) if file.suffix in _PICKLE_SUFFIXES]
        if pickles:
            raise PolicyLoadError(
                f"{folder} has pickled weights only ({', '.join(pickles[:3])}). Unpickling can run code, so they are "
                "refused. Convert them once where you trust them: "
                "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER) writes safetensors."
            )
        raise PolicyLoadError(f"{folder} has no *.safetensors file: the weights are missing")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise PolicyLoadError(
            f"{folder} has no tokenizer (tokenizer.json). Copy it from the base model: "
            "AutoTokenizer.from_pretrained(BASE).save_pretrained(FOLDER)."
        )
    return folder


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


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model, those of its index if it has one, sorted by name."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise PolicyLoadError(f"{folder}: {index.name} names {missing[0]}, which is missing; download it again")
        return [folder / name for name in names]
    return sorted(folder.glob("*.safetensors"))


@lru_cache(maxsize=256)
def _file_digest(path: Path, size: int, modified_ns: int) -> str:
    # A hub cache's files are links to blobs that are named by their SHA-256 already.
    target = path.resolve()
    if target.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", target.name):
        return target.name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, remembered while its size and time stay the same."""
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


def weights_digest(folder: Path) -> str:
    """Hex digest over the configuration and all weights: a model's identity, wherever its folder lies."""
    return _digest_of([folder / "config.json", *weight_files(folder)])


def tokenizer_digest(folder: Path) -> str:
    """Hex digest over the tokenizer's files."""
    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "tokenizer_config.json")
    return _digest_of([folder / name for name in names if (folder / name).is_file()])


def _digest_of(files: list[Path]) -> str:
    lines = "\n".join(f"{file.name} {file_digest(file)}" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()
