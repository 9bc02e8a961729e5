import dataclasses
import importlib.util
import json
from pathlib import Path

import polars as pl
import pytest
import torch

from prover.policy import load_policy
from prover.policy.finetune import FineTuneConfig, FineTuneError, ProvedStep, fine_tune, main, proved_steps
from prover.policy.finetune_loop import make_examples, mean_loss, with_lora

GOALS = [("p", "q"), ("q", "r"), ("r", "s"), ("p", "s")]
STEPS = [ProvedStep(f"t{a}{b}", f"{a} {b} : Prop\nh : {a} ∧ {b}\n⊢ {a}", "exact h.left") for a, b in GOALS] + [
    ProvedStep(f"u{a}{b}", f"{a} {b} : Prop\nh : {a}\nk : {a} → {b}\n⊢ {b}", "exact k h") for a, b in GOALS
]
CONFIG = FineTuneConfig(
    steps=40,
    epochs=1000,
    batch_size=8,
    learning_rate=5e-3,
    anchor_weight=0.05,
    deduplicate=False,
    held_out_share=0.0,
    log_interval=10,
)


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
    with pytest.raises(FineTuneError, match=r"peft: pip install"):
        fine_tune(STEPS, random_checkpoint, tmp_path / "tuned", dataclasses.replace(CONFIG, method="lora"))
    assert not (tmp_path / "tuned").exists()


@pytest.mark.long
def test_lora_is_merged_into_an_ordinary_folder(random_checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="LoRA needs the package peft")
    config = dataclasses.replace(CONFIG, method="lora", learning_rate=2e-2, steps=60)
    result = fine_tune(STEPS, random_checkpoint, tmp_path / "tuned", config)
    assert result.method == "lora"
    assert result.loss_after < 0.7 * result.loss_before
    tuned, base = load_policy(tmp_path / "tuned", device="cpu"), load_policy(random_checkpoint, device="cpu")
    assert tuned.fingerprint == result.fingerprint_after
    weights = {name: value.shape for name, value in tuned._loaded.model.state_dict().items()}
    assert weights == {name: value.shape for name, value in base._loaded.model.state_dict().items()}


def test_merged_weights_say_what_the_adapters_said(random_checkpoint: Path) -> None:
    pytest.importorskip("peft", reason="LoRA needs the package peft")
    policy = load_policy(random_checkpoint, device="cpu")
    model = policy._loaded.model
    ids = torch.tensor(policy._tokenize([policy.template.prompt(STEPS[0].state)]))
    with torch.inference_mode():
        before = model(input_ids=ids).logits.clone()
    adapted = with_lora(model, rank=4, alpha=8)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(0.0, 0.1)  # as if trained: the second factor begins at zero
    adapted.eval()
    with torch.inference_mode():
        unmerged = adapted(input_ids=ids).logits.clone()
        with adapted.disable_adapter():
            switched_off = adapted(input_ids=ids).logits.clone()
        merged = adapted.merge_and_unload()(input_ids=ids).logits
    torch.testing.assert_close(merged, unmerged, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(switched_off, before)
    assert float((unmerged - before).abs().max()) > 0.1


def test_the_same_step_twice_is_learnt_once(random_checkpoint: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, deduplicate=True, steps=2)
    result = fine_tune(STEPS, random_checkpoint, tmp_path / "tuned", config)
    # Only the names differ, and the model reads canonical ones: two kinds of step are left of eight.
    assert (result.n_given, result.n_examples) == (8, 2)


def test_theorems_kept_back_are_not_learnt_and_their_loss_is_measured(random_checkpoint: Path, tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    config = dataclasses.replace(CONFIG, held_out_share=0.5, log_interval=20)
    result = fine_tune(STEPS, random_checkpoint, tmp_path / "a", config, on_metrics=lambda step, m: seen.append(m))
    assert result.n_examples + result.n_held_out == len(STEPS)
    assert 0 < result.n_held_out < len(STEPS)
    assert result.held_out_after < result.held_out_before
    assert seen[-1]["held_out_loss"] < seen[0]["held_out_loss"]
    # A theorem is kept back whatever the others are.
    fewer = fine_tune(STEPS[:6], random_checkpoint, tmp_path / "b", dataclasses.replace(config, steps=1))
    assert result.n_held_out - fewer.n_held_out <= 2


def test_replay_keeps_what_was_learnt_before(random_checkpoint: Path, tmp_path: Path) -> None:
    older = [ProvedStep(f"o{g}", f"p q : Prop\nh{i} : p ∨ q\n⊢ q ∨ p", "left") for i, g in enumerate("abcd")]
    losses: dict[float, float] = {}
    for share in (0.0, 0.5):
        config = dataclasses.replace(CONFIG, replay_share=share)
        result = fine_tune(STEPS, random_checkpoint, tmp_path / f"{share}", config, replay=older)
        assert result.n_replay == (4 if share else 0)
        tuned = load_policy(tmp_path / f"{share}", device="cpu")
        examples = make_examples(tuned, older, 1024)
        losses[share] = mean_loss(tuned._loaded.model, examples, tuned._loaded.pad_id, 4)
    assert losses[0.5] < losses[0.0] / 2


def test_the_command_line_names_what_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["finetune", "--trajectories", "nowhere.parquet", "--output", "x"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "nowhere.parquet" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    "wrong",
    [{"method": "qlora"}, {"steps": 0}, {"anchor_weight": -1.0}, {"replay_share": 1.0}, {"held_out_share": -0.1}],
)
def test_wrong_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FineTuneConfig(**wrong)
