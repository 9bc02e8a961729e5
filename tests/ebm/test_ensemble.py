"""Several heads as one checkpoint: the energies, what search loads, and what is refused."""

import numpy as np
import pytest
import torch

from ebm.checkpoint import CheckpointError, EncoderDescription, load_energy, load_head, write_calibration
from ebm.checkpoint import write_checkpoint as write
from ebm.cli import register
from ebm.ensemble import write_ensemble
from ebm.inference import EBMScorer, EncoderMismatchError
from ebm.model import EnergyHead, EnergyHeadConfig
from prover.cli import run
from prover.cli_output import BAD_INPUT
from prover.search import MixingCalibration

SCALES = [(0.5, 1.5), (-1.0, 0.25), (0.0, 2.0)]


@pytest.fixture
def make(tmp_path, policy):
    """Writes the checkpoint of a head with random weights."""

    def write_head(seed: int, *, encoder=policy, calibrated: bool = True, hidden: int = 8):
        torch.manual_seed(seed)
        width = EncoderDescription.of(encoder).width
        head = EnergyHead(EnergyHeadConfig(width, hidden, 4))
        head.set_feature_statistics(torch.randn(width), torch.rand(width) + 0.5)
        folder = tmp_path / f"head-{seed}"
        config = {
            "head": head.config.to_dict(),
            "encoder": EncoderDescription.of(encoder).to_dict(),
            "calibration": None,
            "training": {"step": 10 + seed, "status": "finished"},
        }
        write(folder, head.state_dict(), config, {})
        if calibrated:
            mu, sigma = SCALES[seed % 3]
            write_calibration(folder, MixingCalibration(mu_energy=mu, sigma_energy=sigma, sigma_log_prob=1.0, beta=0.5))
        return folder

    return write_head


def test_its_energy_is_the_mean_of_scaled_energies_less_the_bonus_for_spread(make, policy, tmp_path):
    folders = [make(seed, hidden=8 + seed) for seed in range(3)]
    name = write_ensemble(folders, tmp_path / "joined", spread_bonus=0.5)
    states = [f"p : Prop\n⊢ p → {'p ∧ ' * n}p" for n in range(9)]
    each = [EBMScorer.load(folder, policy).energies(states) for folder in folders]
    z = np.stack([(energies - mu) / sigma for energies, (mu, sigma) in zip(each, SCALES, strict=True)])
    scorer = EBMScorer.load(tmp_path / "joined", policy)
    assert scorer.energies(states) == pytest.approx(z.mean(axis=0) - 0.5 * z.std(axis=0), abs=1e-5)
    assert scorer.score_states(states) == pytest.approx(-scorer.energies(states))
    assert scorer.ebm_id == name
    assert scorer.calibration is None, "the heads' orders are not the ensemble's"
    assert z.std(axis=0).min() > 0.01, "the heads differ, else the bonus is not seen"


def test_training_does_not_begin_from_an_ensemble(make, tmp_path):
    write_ensemble([make(0), make(1)], tmp_path / "joined")
    assert len(load_energy(tmp_path / "joined").heads) == 2
    with pytest.raises(CheckpointError, match="holds 2 heads as one"):
        load_head(tmp_path / "joined")


def test_what_does_not_fit_together_is_refused(make, new_policy, tmp_path, policy):
    first, second = make(0), make(1)
    with pytest.raises(CheckpointError, match="given twice"):
        write_ensemble([first, first], tmp_path / "joined")
    with pytest.raises(ValueError, match="two heads or more"):
        write_ensemble([first], tmp_path / "joined")
    with pytest.raises(CheckpointError, match="no scale of its energies"):
        write_ensemble([first, make(2, calibrated=False)], tmp_path / "joined")
    other = new_policy()
    other.encoder_fingerprint = "f" * 32
    with pytest.raises(CheckpointError, match="different encoders"):
        write_ensemble([first, make(3, encoder=other)], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()
    write_ensemble([first, second], tmp_path / "joined")
    with pytest.raises(CheckpointError, match="has files in it"):
        write_ensemble([first, second], tmp_path / "joined")
    with pytest.raises(EncoderMismatchError):
        EBMScorer.load(tmp_path / "joined", other)


def test_a_damaged_description_is_named(make, tmp_path):
    write_ensemble([make(0), make(1)], tmp_path / "joined")
    config = tmp_path / "joined" / "config.json"
    config.write_text(config.read_text("utf-8").replace('"spread_bonus"', '"bonus"'), "utf-8")
    with pytest.raises(CheckpointError, match=r"is damaged|does not describe an energy ensemble"):
        load_energy(tmp_path / "joined")


def test_the_command_writes_one_and_names_what_is_wrong(make, tmp_path, capsys):
    import typer

    app = typer.Typer()
    register(app)
    folders = [str(make(seed)) for seed in range(2)]
    assert run(app, ["ensemble", *folders, "--output", str(tmp_path / "joined"), "--spread-bonus", "0.5"]) == 0
    assert "2 heads in" in capsys.readouterr().out
    assert load_energy(tmp_path / "joined").spread_bonus == 0.5
    assert run(app, ["ensemble", folders[0], "--output", str(tmp_path / "other")]) == BAD_INPUT
    assert "two heads or more" in capsys.readouterr().err
