"""Train an energy model on trajectory files, and ask it for the energies of some states.

    python examples/train_energy_model.py                             # searches some theorems first, to have files
    python examples/train_energy_model.py --trajectories a.parquet b.parquet --output my-energy-model

An energy is low where a state looks like those that led to a proof, and high where it looks like a dead end. The
model reads the hidden vectors of the policy, so the same policy has to be used for training and for searching.
"""

import argparse
import tempfile
from pathlib import Path

import polars as pl

from ebm.inference import EBMScorer
from ebm.model import EncoderBackend, EnergyHeadConfig
from ebm.training import EBMTrainingConfig, train_from_files
from prover.environments import open_environment
from prover.policy import load_policy
from prover.policy.base import TacticGenerator
from prover.search import SearchConfig, search_to_files
from prover.theorems import TheoremSet
from prover.trajectory import read_trajectories


def searched(folder: Path, policy: TacticGenerator, n_theorems: int) -> Path:
    """Trajectories of a short search, for those who have none yet."""
    output = folder / "trajectories.parquet"
    theorems = TheoremSet.load("propositional:train", limit=n_theorems)
    with open_environment() as lean:
        figures = search_to_files(theorems, output, lean, policy, SearchConfig(max_expansions=16, mode="policy-mean"))
    print(f"searched {figures['theorems']} theorems, proved {figures['proved']}")
    return output


def main() -> None:
    """Search if there is nothing to learn from, train, and print the energies of some states."""
    parser = argparse.ArgumentParser(description="Train an energy model on trajectory files.")
    parser.add_argument("--trajectories", type=Path, nargs="*", help="files that `prover search` wrote")
    parser.add_argument("--output", type=Path, help="folder of the checkpoint; default: a temporary one")
    parser.add_argument("--theorems", type=int, default=40, help="theorems to search if no files are given")
    parser.add_argument("--steps", type=int, default=300, help="training steps")
    arguments = parser.parse_args()

    policy = load_policy()
    encoder = EncoderBackend(policy)
    with tempfile.TemporaryDirectory() as temporary:
        files = arguments.trajectories or [searched(Path(temporary), policy, arguments.theorems)]
        result = train_from_files(
            files,
            encoder,
            arguments.output or Path(temporary) / "energy-model",
            EBMTrainingConfig(total_steps=arguments.steps, lr=1e-3),
            head_config=EnergyHeadConfig(encoder.hidden_dim, d_hidden1=64, d_hidden2=32),
        )
        print(f"learnt from {result.summary}")
        print(f"{result.status} at step {result.step}; {result.metrics}")
        for warning in result.warnings:
            print(f"warning: {warning}")

        scorer = EBMScorer.load(result.checkpoint, encoder)
        states = read_trajectories(files).filter(pl.col("state_pp") != "").unique("state_key", maintain_order=True)
        for label in ("positive", "negative"):
            texts = states.filter(pl.col("label") == label)["state_pp"].head(50).to_list()
            energies = [-score for score in scorer.score_states(texts)]
            print(f"mean energy of {len(texts)} {label} states: {sum(energies) / len(energies):+.2f} (lower is better)")


if __name__ == "__main__":
    main()
