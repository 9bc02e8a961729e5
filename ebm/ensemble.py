"""An ensemble of trained heads as a checkpoint of its own: search, calibration and evaluation take it like a head."""

from collections.abc import Sequence
from pathlib import Path

from ebm.checkpoint import (
    CheckpointError,
    EncoderDescription,
    checkpoint_id,
    load_head,
    read_calibration,
    read_config,
    read_encoder,
    write_checkpoint,
)
from ebm.model.ensemble import EnergyEnsemble


def write_ensemble(folders: Sequence[str | Path], output: str | Path, spread_bonus: float = 0.0) -> str:
    """Write the heads of the checkpoints `folders` into `output` as one energy. Returns its `ebm-...` name.

    The heads must be trained on vectors of one encoder. Each is put on the scale of the energies of its own training
    states. The order of search is not chosen yet: `prover calibrate` does that.

    Args:
        folders: two checkpoints or more.
        output: a folder that is not there yet, or is empty.
        spread_bonus: how many deviations of the heads' scaled energies a state's energy is lowered by, 0 or more.

    Raises:
        FileNotFoundError, CheckpointError: one is no whole checkpoint, is an ensemble itself, or has no scale yet; the
            heads have different encoders, or one is named twice; `output` has files in it.
        ValueError: fewer than two heads, or a negative bonus.
    """
    output = Path(output)
    if output.exists() and any(output.iterdir()):
        raise CheckpointError(f"{output} has files in it; name a folder that is not there yet")
    names = [checkpoint_id(folder) for folder in folders]
    for name, folder in zip(names, folders, strict=True):
        if names.count(name) > 1:
            raise CheckpointError(f"{folder} holds {name}, which is given twice; give different heads")
    encoders = [read_encoder(folder) for folder in folders]
    heads, scales = [], []
    for folder, encoder in zip(folders, encoders, strict=True):
        _require_same(folders[0], encoders[0], folder, encoder)
        heads.append(load_head(folder))
        calibration = read_calibration(folder)
        if calibration is None:
            raise CheckpointError(
                f"{folder} has no scale of its energies yet; run `prover calibrate --ebm-path {folder}`"
            )
        scales.append((calibration.mu_energy, calibration.sigma_energy))
    ensemble = EnergyEnsemble(heads, scales, spread_bonus)
    configs = [read_config(folder) for folder in folders]
    written = {
        "head": configs[0]["head"],
        "ensemble": {
            "spread_bonus": spread_bonus,
            "members": [
                {"ebm_id": name, "head": config["head"], "data": config.get("data", {})}
                for name, config in zip(names, configs, strict=True)
            ],
        },
        "encoder": encoders[0].to_dict(),
        "training": {"step": max(config["training"]["step"] for config in configs), "status": "ensemble"},
        "calibration": None,
    }
    write_checkpoint(output, ensemble.state_dict(), written, {})
    return checkpoint_id(output)


def _require_same(
    first: str | Path, expected: EncoderDescription, folder: str | Path, encoder: EncoderDescription
) -> None:
    known = encoder.fingerprint and expected.fingerprint
    if encoder.width != expected.width or (known and encoder.fingerprint != expected.fingerprint):
        raise CheckpointError(
            f"the heads of {first} and {folder} were trained on vectors of different encoders "
            f"({expected.policy_id}, {expected.pooling}; {encoder.policy_id}, {encoder.pooling}); train them with one"
        )
