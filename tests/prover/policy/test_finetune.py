import dataclasses
import importlib.util
import json
from pathlib import Path

import polars as pl
import pytest

from prover.policy import load_policy
from prover.policy.finetune import FineTuneConfig, FineTuneError, ProvedStep, fine_tune, proved_steps

GOALS = [("p", "q"), ("q", "r"), ("r", "s"), ("p", "s")]
STEPS = [ProvedStep(f"t{a}{b}", f"{a} {b} : Prop\nh : {a} ∧ {b}\n⊢ {a}", "exact h.left") for a, b in GOALS] + [
    ProvedStep(f"u{a}{b}", f"{a} {b} : Prop\nh : {a}\nk : {a} → {b}\n⊢ {b}", "exact k h") for a, b in GOALS
]
CONFIG = FineTuneConfig(steps=40, epochs=1000, batch_size=8, learning_rate=5e-3, anchor_weight=0.05, log_interval=10)


def test_tuning_teaches_the_tactics_and_changes_the_fingerprints(random_checkpoint: Path, tmp_path: Path) -> None:
    metrics: list[tuple[int, dict[str, float]]] = []
    result = fine_tune(
        STEPS, random_checkpoint, tmp_path / "tuned", CONFIG, on_metrics=lambda step, m: metrics.append((step, m))
    )
    assert result.method == "full"
    assert result.loss_after < 0.3 * result.loss_before
    assert [step for step, _ in metrics] == [0, 10, 20, 30, 39]
    before, after = load_policy(random_checkpoint, device="cpu"), load_policy(tmp_path / "tuned", device="cpu")
    assert after.fingerprint == result.fingerprint_after != before.fingerprint == result.fingerprint_before
    assert after.encoder_fingerprint != before.encoder_fingerprint
    # Another theorem of the same kind, in other names.
    tactics = [c.tactic for c in after.generate(["A B : Prop\nhab : A ∧ B\n⊢ A"], 3)[0]]
    assert tactics[0] == "exact hab.left"
    record = json.loads((tmp_path / "tuned" / "finetune.json").read_text())
    assert record["n_theorems"] == 8
    assert record["config"]["seed"] == 0


def test_an_anchor_keeps_the_policy_nearer_to_what_it_was(random_checkpoint: Path, tmp_path: Path) -> None:
    last: dict[float, float] = {}
    for weight in (0.01, 5.0):
        config = dataclasses.replace(CONFIG, anchor_weight=weight)
        fine_tune(
            STEPS,
            random_checkpoint,
            tmp_path / str(weight),
            config,
            on_metrics=lambda step, m, weight=weight: last.update({weight: m["divergence"]}),
        )
    assert last[5.0] < last[0.01] / 2


def test_probe_runs_before_and_after(random_checkpoint: Path, tmp_path: Path) -> None:
    states = [f"p q : Prop\n{'h : p' if i % 2 else 'k : ¬p'}\n⊢ {'p ∧ ' * (i // 2)}q" for i in range(40)]
    probe = (states, [i % 2 == 0 for i in range(40)], [f"t{i // 4}" for i in range(40)])
    result = fine_tune(STEPS, random_checkpoint, tmp_path / "tuned", CONFIG, probe=probe)
    assert result.separation_before is not None
    assert result.separation_after is not None
    assert result.separation_before != result.separation_after


def test_a_foreign_folder_is_left_alone(random_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("...")
    with pytest.raises(FineTuneError, match="left alone"):
        fine_tune(STEPS, random_checkpoint, tmp_path / "precious", CONFIG)
    assert (tmp_path / "precious" / "thesis.tex").exists()


def test_nothing_usable(random_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(FineTuneError, match="none of the 1 steps"):
        fine_tune([ProvedStep("t", "", "exact h")], random_checkpoint, tmp_path / "tuned", CONFIG)


def test_lora_without_peft_says_what_to_install(random_checkpoint: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("peft"):
        pytest.skip("peft is installed")
    with pytest.raises(FineTuneError, match="pip install peft"):
        fine_tune(STEPS, random_checkpoint, tmp_path / "tuned", dataclasses.replace(CONFIG, method="lora"))
    assert not (tmp_path / "tuned").exists()


def test_lora_is_merged_into_an_ordinary_folder(random_checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="LoRA needs the package peft")
    config = dataclasses.replace(CONFIG, method="lora", learning_rate=2e-2, steps=60)
    result = fine_tune(STEPS, random_checkpoint, tmp_path / "tuned", config)
    assert result.method == "lora"
    assert result.loss_after < 0.7 * result.loss_before
    assert load_policy(tmp_path / "tuned", device="cpu").fingerprint == result.fingerprint_after


def test_proved_steps_follow_the_path_of_certified_proofs() -> None:
    rows = [
        # theorem, id, state, tactic, parent, complete
        ("a", 1, "s0", "", None, False),
        ("a", 2, "s1", "intro h", 1, False),
        ("a", 3, "dead", "left", 1, False),
        ("a", 4, "", "exact h", 2, True),
        ("b", 1, "t0", "", None, False),
        ("b", 2, "t1", "constructor", 1, False),
    ]
    columns = ["theorem_name", "state_id", "state_pp", "tactic_applied", "parent_state_id", "is_proof_complete"]
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    assert proved_steps(frame) == [ProvedStep("a", "s0", "intro h"), ProvedStep("a", "s1", "exact h")]
    assert proved_steps(pl.concat([frame, frame])) == proved_steps(frame)


@pytest.mark.parametrize("wrong", [{"method": "qlora"}, {"steps": 0}, {"anchor_weight": -1.0}])
def test_wrong_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FineTuneConfig(**wrong)
