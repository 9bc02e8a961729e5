"""Checkpoints: a folder of safetensors, JSON and Parquet. Nothing in it can run code when it is loaded.

model.safetensors      weights, power-iteration vectors and feature statistics of the head
optimizer.safetensors  AdamW moments and random state: what resuming needs, and nobody else
metrics.parquet        the metrics history
config.json            head, encoder, training settings, data digests, calibration; written last, with the digest of
                       model.safetensors, so that a torn folder is told from a whole one
best.safetensors       only in checkpoints of a run that stops early: its best state so far
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from ebm.model.encoder import EncoderBackend
from ebm.model.energy_head import EnergyHead, EnergyHeadConfig
from ebm.model.ensemble import EnergyEnsemble
from prover.files import file_digest, write_atomic, write_json_atomic
from prover.json_digest import parse_json
from prover.json_types import JsonObject
from prover.policy.base import TacticGenerator
from prover.policy.complete import as_policy
from prover.search.guidance import MixingCalibration
from prover.search.modes import CALIBRATED_ORDERS, MIX

FORMAT = "energy-checkpoint/1"
MODEL_FILE = "model.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
BEST_FILE = "best.safetensors"
METRICS_FILE = "metrics.parquet"
CONFIG_FILE = "config.json"
KEPT = "kept"
"""Status of a checkpoint of a step that stays after its run has ended."""
SAMPLER = 2
"""Version of the order in which examples are drawn: a run can be resumed only by the version it began with."""


class CheckpointError(ValueError):
    """A folder that is not a whole checkpoint; the message says what is wrong with it and what to do."""


@dataclass(frozen=True, slots=True)
class EncoderDescription:
    """Which encoder's vectors a head was trained on."""

    fingerprint: str | None
    width: int
    pooling: str | None = None
    policy_id: str | None = None
    source: str | None = None
    """For a policy behind a server: where the encoder's model is, a folder, hub id or address."""

    @classmethod
    def of(cls, encoder: TacticGenerator | EncoderBackend) -> "EncoderDescription":
        """Describe a policy, or an `EncoderBackend` over one."""
        policy = encoder.policy if isinstance(encoder, EncoderBackend) else as_policy(encoder)
        return cls(
            fingerprint=policy.encoder_fingerprint,
            width=policy.encoding_width,
            pooling=policy.pooling,
            policy_id=policy.policy_id,
            source=policy.encoder_source,
        )

    def to_dict(self) -> dict[str, object]:
        """Plain values for `config.json`."""
        return asdict(self)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], step: int) -> None:
    """Write a safetensors file atomically. The same tensors give the same bytes: two metadata keys would not, their
    order is random."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Written by ourselves: the library's own writer makes files that only their owner can read.
    write_atomic(path, lambda temporary: temporary.write_bytes(save(contiguous, metadata={"step": str(step)})))


def write_checkpoint(
    folder: Path, model: Mapping[str, Tensor], config: JsonObject, others: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Write a checkpoint into `folder`, config.json last. Each file is replaced whole; other files are left alone.

    Args:
        model: state dict of the head.
        config: what config.json says besides `format` and `files`.
        others: file name -> tensors, e.g. the optimizer's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    step = int(config["training"]["step"])
    for name, tensors in others.items():
        save_tensors(folder / name, tensors, step)
    save_tensors(folder / MODEL_FILE, model, step)
    digests = {MODEL_FILE: {"sha256": file_digest(folder / MODEL_FILE)}}
    write_json_atomic(folder / CONFIG_FILE, {"format": FORMAT, **config, "files": digests})


def read_config(folder: str | Path) -> JsonObject:
    """config.json of a checkpoint.

    Raises:
        FileNotFoundError: the folder, or its config.json, is missing.
        CheckpointError: it is not a checkpoint of this format.
    """
    folder = Path(folder)
    path = folder / CONFIG_FILE
    if not path.is_file():
        hint = ""
        unfinished = latest_step_folder(folder)
        if unfinished is not None:
            hint = f"; training was cut off there: continue it with --resume-from {folder}, or use {unfinished}"
        raise FileNotFoundError(f"{folder} is not an energy-model checkpoint: it has no {CONFIG_FILE}{hint}")
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    except ValueError as error:  # not UTF-8, or another digest
        raise CheckpointError(f"{path} is damaged: {error}; restore the file, or train again") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(f"{path} does not describe a checkpoint of format {FORMAT}")
    files = config.get("files")
    for where, part, key, kind in (
        ("head", config.get("head"), "d_encoder", int),
        ("training", config.get("training"), "step", int),
        (f"files.{MODEL_FILE}", files.get(MODEL_FILE) if isinstance(files, dict) else None, "sha256", str),
    ):
        _require(path, where, part, key, kind)
    return config


def read_encoder(folder: str | Path) -> EncoderDescription:
    """Which encoder a checkpoint's head was trained with. Raises as `read_config`."""
    stored = _require(Path(folder) / CONFIG_FILE, "encoder", read_config(folder).get("encoder"), "width", int)
    for field in fields(EncoderDescription):
        if field.name != "width" and stored.get(field.name) is not None:
            _require(Path(folder) / CONFIG_FILE, "encoder", stored, field.name, str)
    return EncoderDescription(
        fingerprint=stored.get("fingerprint"),
        width=stored["width"],
        pooling=stored.get("pooling"),
        policy_id=stored.get("policy_id"),
        source=stored.get("source"),
    )


def _require(path: Path, where: str, part: object, key: str, kind: type) -> JsonObject:
    """`part` of config.json. Raises CheckpointError unless it is an object with a `key` of that kind."""
    if not isinstance(part, dict) or not isinstance(part.get(key), kind):
        raise CheckpointError(
            f"{path}: `{where}` should be an object with `{key}` ({kind.__name__}), and is {_shown(part)}; it is not "
            "as training wrote it: restore the file, or train again"
        )
    return part


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def load_head(folder: str | Path, device: torch.device | str = "cpu") -> EnergyHead:
    """The head of a checkpoint, in eval mode. Raises as `load_energy`; CheckpointError for an ensemble of heads."""
    head = load_energy(folder, device)
    if isinstance(head, EnergyEnsemble):
        raise CheckpointError(
            f"{folder} holds {len(head.heads)} heads as one: search with it, or name one of its heads"
        )
    return head


def load_energy(folder: str | Path, device: torch.device | str = "cpu") -> EnergyHead | EnergyEnsemble:
    """The head of a checkpoint, or its ensemble of heads, in eval mode: (B, d_encoder) -> ENERGIES (B,).

    Raises as `read_config`; CheckpointError for torn or foreign weights.
    """
    folder = Path(folder)
    config = read_config(folder)
    path = folder / MODEL_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} has a {CONFIG_FILE} but no {MODEL_FILE}")
    if file_digest(path) != config["files"][MODEL_FILE]["sha256"]:
        raise CheckpointError(
            f"{path} is not the file that {CONFIG_FILE} describes: writing the checkpoint was cut off, or a file was "
            f"replaced; train again, or resume with --resume-from {folder}"
        )
    try:
        energy = _described(config)
    except (KeyError, TypeError, ValueError) as error:
        part = "ensemble" if "ensemble" in config else "head"
        raise CheckpointError(
            f"{folder / CONFIG_FILE}: `{part}` does not describe an energy {part}: {error}"
        ) from error
    load_weights(energy, load_tensors(path), path)
    return energy.to(device).eval()


def _described(config: JsonObject) -> EnergyHead | EnergyEnsemble:
    """What config.json describes, with untrained weights."""
    if "ensemble" not in config:
        return EnergyHead(EnergyHeadConfig.from_dict(config["head"]))
    heads = [EnergyHead(EnergyHeadConfig.from_dict(member["head"])) for member in config["ensemble"]["members"]]
    return EnergyEnsemble(heads, [(0.0, 1.0)] * len(heads), float(config["ensemble"]["spread_bonus"]))


def load_weights(head: EnergyHead | EnergyEnsemble, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put tensors into a head or an ensemble. Raises `CheckpointError`, naming `path`, if they do not fit."""
    try:
        head.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit its head configuration: {error}") from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises `CheckpointError` if it cannot be read."""
    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file."""
    try:
        with safe_open(str(path), framework="pt") as handle:
            return handle.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def write_calibration(
    checkpoint_dir: str | Path, calibration: MixingCalibration, evidence: Mapping[str, object] | None = None
) -> None:
    """Store how search mixes this head's energy with log-probabilities, and why, in the checkpoint's config.json.

    The file is replaced atomically; weights are not touched. `evidence` is what the choice rests on, as JSON values.
    """
    stored = {**asdict(calibration), "evidence": dict(evidence or {})}
    write_json_atomic(Path(checkpoint_dir) / CONFIG_FILE, {**read_config(checkpoint_dir), "calibration": stored})


def read_calibration(checkpoint_dir: str | Path) -> MixingCalibration | None:
    """The calibration stored in a checkpoint; None where there is none yet. Raises CheckpointError if it is no such."""
    stored = read_config(checkpoint_dir).get("calibration")
    if stored is None:
        return None
    numbers = [field for field in fields(MixingCalibration) if field.name not in ("order", "measures_distance")]
    needed = [field.name for field in numbers if field.default is MISSING]
    try:
        values = {field.name: _number(stored[field.name]) for field in numbers if field.name in {*needed, *stored}}
        order = stored.get("order", MIX)  # checkpoints of before there was a choice
        if order not in CALIBRATED_ORDERS:
            raise TypeError(f"{order!r} is no order")
        return MixingCalibration(**values, order=order, measures_distance=stored.get("measures_distance") is True)
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{Path(checkpoint_dir) / CONFIG_FILE}: `calibration` should have the numbers {', '.join(needed)} and an "
            f"`order` ({', '.join(CALIBRATED_ORDERS)}), and is {_shown(stored)}: set it to null, and let `prover "
            "calibrate` choose it"
        ) from error


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def checkpoint_id(checkpoint_dir: str | Path) -> str:
    """Name of a head by its weights: `ebm-` and the first 12 hex digits of their digest."""
    return f"ebm-{read_config(checkpoint_dir)['files'][MODEL_FILE]['sha256'][:12]}"


def step_folder(output: Path, step: int) -> Path:
    """Where the checkpoint of a step is kept while training runs."""
    return output / "checkpoints" / f"step-{step:08d}"


def step_folders(output: Path) -> list[Path]:
    """Whole checkpoints of steps of a training run, earliest first."""
    return sorted(path.parent for path in (output / "checkpoints").glob(f"step-*/{CONFIG_FILE}"))


def unfinished_step_folders(output: Path) -> list[Path]:
    """Those of a run that has not ended, earliest first: a run that ended marks what it keeps."""
    return [folder for folder in step_folders(output) if read_config(folder)["training"].get("status") != KEPT]


def latest_step_folder(output: Path) -> Path | None:
    """The last checkpoint of a run that has not ended; None where there is no such run."""
    folders = unfinished_step_folders(output)
    return folders[-1] if folders else None


def mark_kept(folder: Path) -> None:
    """Say in a checkpoint of a step that its run has ended, and that it stays because it was asked for."""
    config = read_config(folder)
    write_json_atomic(folder / CONFIG_FILE, {**config, "training": {**config["training"], "status": KEPT}})
