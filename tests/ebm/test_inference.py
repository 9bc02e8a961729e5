"""The scorer that search uses: SCORE = -ENERGY, higher is better."""

import json
import threading

import numpy as np
import pytest
import torch

from ebm.calibration import DEFAULT_BETA
from ebm.champion import promote
from ebm.checkpoint import CheckpointError, write_calibration
from ebm.embeddings import EmbeddingCache
from ebm.inference import EBMScorer, EncoderMismatchError, load_scorer
from ebm.training import EBMTrainingConfig, WidthMismatchError, train_from_files
from prover.search import MixingCalibration, ScoreError, ValueScorer

STATES = ["h : thm0\n⊢ good 0 0", "h : thm0\n⊢ bad 0 0", "h : thm1\n⊢ bad 1 3", "⊢ new good"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A head trained on synthetic trajectories."""
    return tmp_path_factory.mktemp("trained") / "ebm"


@pytest.fixture
def trained(checkpoint, tmp_path, policy, new_records, write):
    if not checkpoint.exists():
        write(tmp_path / "a.parquet", new_records(8))
        config = EBMTrainingConfig(total_steps=100, lr=1e-3, batch_size=8, log_interval=50)
        train_from_files(tmp_path / "a.parquet", policy, checkpoint, config)
        policy.encoded.clear()
    return checkpoint


def test_it_is_a_value_scorer(trained, policy):
    assert isinstance(EBMScorer.load(trained, policy), ValueScorer)


def test_score_state_returns_finite(trained, policy):
    score = EBMScorer.load(trained, policy).score_state(STATES[0])
    assert isinstance(score, float)
    assert np.isfinite(score)


def test_different_states_different_scores(trained, policy):
    scores = EBMScorer.load(trained, policy).score_states(STATES)
    assert len(set(scores.tolist())) == len(STATES)
    assert scores[0] > scores[1], "higher is better: the state on the proof outranks the dead end"
    assert scores[3] > scores[2]


def test_score_states_matches_individual(trained, policy):
    together = EBMScorer.load(trained, policy).score_states(STATES)
    apart = [EBMScorer.load(trained, policy).score_state(state) for state in STATES]
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-5)
    assert together.dtype == np.float64


def test_scores_are_negated_energies(trained, policy):
    scorer = EBMScorer.load(trained, policy)
    np.testing.assert_array_equal(scorer.score_states(STATES), -scorer.energies(STATES))
    vectors = policy.encode_only(STATES)
    np.testing.assert_allclose(scorer.energies(STATES), scorer.energies_of_vectors(vectors), atol=1e-6)


def test_no_states(trained, policy):
    assert EBMScorer.load(trained, policy).score_states([]).shape == (0,)
    assert policy.encoded == []


def test_eval_mode_without_autograd(trained, policy):
    scorer = EBMScorer.load(trained, policy)
    assert not scorer.head.training
    before = {name: tensor.clone() for name, tensor in scorer.head.state_dict().items()}
    first = scorer.score_states(STATES)
    scorer._energies.clear()
    np.testing.assert_array_equal(scorer.score_states(STATES), first)
    for name, tensor in scorer.head.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in scorer.head.parameters())


def test_each_distinct_state_is_encoded_once(trained, policy):
    scorer = EBMScorer.load(trained, policy)
    scorer.score_states([STATES[0], STATES[1], STATES[0], f"case left\n{STATES[0]}"])
    scorer.score_states(STATES)
    assert len(policy.encoded) == len(STATES)


def test_vectors_go_through_the_embedding_cache(tmp_path, trained, policy):
    cache = EmbeddingCache(tmp_path, policy.encoder_fingerprint, 64, pooling=policy.pooling)
    with cache:
        first = EBMScorer.load(trained, policy, cache).score_states(STATES)
    again = EmbeddingCache(tmp_path, policy.encoder_fingerprint, 64, pooling=policy.pooling)
    np.testing.assert_allclose(EBMScorer.load(trained, policy, again).score_states(STATES), first, atol=1e-6)
    assert len(policy.encoded) == len(STATES)


def test_another_encoder_is_refused(trained, new_policy):
    with pytest.raises(EncoderMismatchError, match="trained on vectors of encoder ffffffff"):
        EBMScorer.load(trained, new_policy(fingerprint="e" * 64))
    with pytest.raises(WidthMismatchError, match=r"width 64 .* width 32"):
        EBMScorer.load(trained, new_policy(hidden_size=32))


def test_a_head_without_finite_energies_is_refused(trained, policy):
    scorer = EBMScorer.load(trained, policy)
    with torch.no_grad():
        scorer.head.log_temperature.fill_(float("nan"))
    with pytest.raises(ScoreError, match=r"ebm-[0-9a-f]{12} gave 4 of 4 states an energy that is not finite"):
        scorer.score_states(STATES)


def test_a_checkpoint_that_names_no_encoder_is_refused(trained, policy):
    whole = (trained / "config.json").read_text()
    try:
        for encoder in (None, {"width": "64"}):
            (trained / "config.json").write_text(json.dumps(json.loads(whole) | {"encoder": encoder}))
            with pytest.raises(CheckpointError, match="`encoder` should be an object with `width`"):
                EBMScorer.load(trained, policy)
    finally:
        (trained / "config.json").write_text(whole)


def test_calibration_and_name(trained, policy):
    fresh = EBMScorer.load(trained, policy).calibration
    assert fresh is not None
    assert fresh.sigma_energy > 0
    assert fresh.beta == DEFAULT_BETA
    calibration = MixingCalibration(0.1, 1.2, 0.3, 0.5)
    write_calibration(trained, calibration)
    scorer = EBMScorer.load(trained, policy)
    assert scorer.calibration == calibration
    assert scorer.ebm_id.startswith("ebm-")


def test_several_threads(trained, policy):
    scorer = EBMScorer.load(trained, policy)
    expected = EBMScorer.load(trained, policy).score_states([f"⊢ good {i}" for i in range(50)])
    got = {}

    def score(start):
        got[start] = scorer.score_states([f"⊢ good {i}" for i in range(start, start + 10)])

    threads = [threading.Thread(target=score, args=(start,)) for start in range(0, 50, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(np.concatenate([got[start] for start in range(0, 50, 10)]), expected, atol=1e-5)


def test_load_scorer_finds_the_champion(tmp_path, trained, policy):
    promote(tmp_path, trained, iteration=0, evidence={"area": 0.5})
    scorer = load_scorer("champion", policy, tmp_path)
    scorer.score_states(STATES)
    scorer.flush()
    assert len(EmbeddingCache(tmp_path / "embeddings", policy.encoder_fingerprint, 64, pooling=policy.pooling)) == 4
    assert load_scorer(trained, policy, tmp_path).ebm_id == scorer.ebm_id
