"""A policy and a scorer that say nothing of themselves, and ones that say all: the product reads the same members."""

import numpy as np

from prover.environments.base import explains
from prover.policy.base import PolicyCounters, TacticCandidate
from prover.policy.complete import as_policy
from prover.search.guidance import MixingCalibration, as_scorer, own_calibration


class Bare:
    """What the first specification asks of a policy, and no more."""

    hidden_size = 3

    def generate(self, states, n_candidates):
        return [[TacticCandidate("intro h", -1.0, 2)][:n_candidates] for _ in states]

    def encode_only(self, states):
        return np.ones((len(states), 3), dtype=np.float32)


class Full(Bare):
    policy_id = "full:1"
    fingerprint = "f" * 64
    encoder_fingerprint = "e" * 64
    pooling = "mean/1"
    encoding_width = 9
    counters = PolicyCounters()

    def prompt_key(self, state):
        return state.splitlines()[-1]


class BareScorer:
    def score_state(self, state):
        return 1.0

    def score_states(self, states):
        return np.ones(len(states))


def test_a_bare_policy_gets_defaults_that_remember_nothing():
    policy = as_policy(Bare())
    assert (policy.policy_id, policy.hidden_size, policy.encoding_width) == ("Bare", 3, 3)
    assert policy.fingerprint is policy.encoder_fingerprint is policy.pooling is policy.counters is None
    assert policy.prompt_key("h : p\n⊢ q") == "h : p\n⊢ q"
    assert policy.generate(["⊢ p → p"], 4) == [[TacticCandidate("intro h", -1.0, 2)]]
    assert policy.encode_only(["⊢ p", "⊢ q"]).shape == (2, 3)


def test_what_a_policy_says_of_itself_is_kept():
    full = Full()
    policy = as_policy(full)
    assert (policy.policy_id, policy.fingerprint, policy.encoder_fingerprint) == ("full:1", "f" * 64, "e" * 64)
    assert (policy.pooling, policy.encoding_width, policy.counters) == ("mean/1", 9, full.counters)
    assert policy.prompt_key("h : p\n⊢ q") == "⊢ q"


def test_what_is_complete_is_not_wrapped_again():
    policy, scorer = as_policy(Bare()), as_scorer(BareScorer())
    assert as_policy(policy) is policy
    assert as_scorer(scorer) is scorer


def test_a_bare_scorer_has_no_calibration_and_no_name():
    scorer = as_scorer(BareScorer())
    assert scorer.calibration is None
    assert scorer.ebm_id is None
    assert scorer.score_state("⊢ p") == 1.0
    assert own_calibration(None) is None


def test_a_scorers_own_calibration_is_found():
    class Calibrated(BareScorer):
        calibration = MixingCalibration(0.0, 1.0, 1.0, 0.5)
        ebm_id = "ebm-1"

    assert own_calibration(Calibrated()) == Calibrated.calibration
    assert as_scorer(Calibrated()).ebm_id == "ebm-1"


def test_an_environment_without_the_member_explains_nothing():
    class Silent:
        pass

    class Speaking:
        explain = True

    assert not explains(Silent())
    assert explains(Speaking())
    Speaking.explain = False
    assert not explains(Speaking())
