"""What can be set in the Launchpad: one config per asset. Every setting is declared where it is obeyed, and shown here.

Dagster refuses unknown keys and wrong types before a run starts; `prover_assets.operate.preflight` looks at bounds, and
at what settings say together, in the first step of a run. No `from __future__ import annotations` here: Dagster reads
the types at import.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ebm.calibration_config import CalibrationConfig
from ebm.head_config import EnergyHeadConfig
from ebm.training.config import EBMTrainingConfig
from prover.policy.finetune_config import FineTuneConfig
from prover.search.config import SearchConfig
from prover.search.curriculum_config import CurriculumSettings
from prover_assets.defs.launchpad import launchpad
from prover_assets.steps.compare import ComparisonSettings
from prover_assets.steps.embed import EmbeddingSettings
from prover_assets.steps.grow import GrowthSettings
from prover_assets.steps.head_seeds import GuidedSettings
from prover_assets.steps.judge_policy import TuningSettings
from prover_assets.steps.lessons import LessonSettings
from prover_assets.steps.promote import PromotionSettings
from prover_assets.steps.search import HeldOutSearch, WindowSettings
from prover_assets.steps.theorem_sets import TheoremSettings
from prover_assets.steps.train import HistorySettings, ValidationSettings

OWNERS: Mapping[str, tuple[type, ...]] = {
    "theorems": (TheoremSettings,),
    "baseline_trajectories": (HeldOutSearch,),
    "trajectories": (SearchConfig, WindowSettings, CurriculumSettings, GrowthSettings),
    "state_embeddings": (EmbeddingSettings,),
    "ebm_checkpoint": (EBMTrainingConfig, EnergyHeadConfig, HistorySettings, CalibrationConfig, ValidationSettings),
    "guided_trajectories": (GuidedSettings,),
    "iteration_report": (ComparisonSettings, PromotionSettings),
    "policy_checkpoint": (FineTuneConfig, TuningSettings, LessonSettings),
}
"""The dataclasses whose settings an asset takes."""
NOT_SHOWN: Mapping[str, frozenset[str]] = {
    "baseline_trajectories": frozenset({"beta"}),  # the policy alone has none
    "trajectories": frozenset({"beta"}),  # the champion's calibration has it
}
"""Settings that mean nothing to an asset."""


def _shown(asset: str) -> Any:  # noqa: ANN401 - a base class that is made while the program runs
    return launchpad(*OWNERS[asset], without=NOT_SHOWN.get(asset, frozenset()))


_Theorems: Any = _shown("theorems")
_HeldOut: Any = _shown("baseline_trajectories")
_Trajectories: Any = _shown("trajectories")
_Embeddings: Any = _shown("state_embeddings")
_Training: Any = _shown("ebm_checkpoint")
_Guided: Any = _shown("guided_trajectories")
_Report: Any = _shown("iteration_report")
_PolicyTuning: Any = _shown("policy_checkpoint")


class TheoremsConfig(_Theorems):
    """Which theorems are searched to learn from, which choose the settings, and which are held out for the report."""


class HeldOutConfig(_HeldOut):
    """Search of the held-out theorems with the policy alone: what the guided search is measured against."""


class TrajectoriesConfig(_Trajectories):
    """Search of the training theorems."""


class EmbeddingsConfig(_Embeddings):
    """Hidden vectors of the states that the cache lacks."""


class TrainingConfig(_Training):
    """The energy model and its calibration."""


class GuidedConfig(_Guided):
    """Search of the held-out theorems with the new energy model. Budget, candidates and limits are the baseline's."""


class ReportConfig(_Report):
    """The comparison and the promotion."""


class PolicyTuningConfig(_PolicyTuning):
    """Fine-tuning of the policy on certified proofs, and whether the next iterations search with the result."""


BY_ASSET: Mapping[str, type[dg.Config]] = {
    "theorems": TheoremsConfig,
    "baseline_trajectories": HeldOutConfig,
    "trajectories": TrajectoriesConfig,
    "state_embeddings": EmbeddingsConfig,
    "ebm_checkpoint": TrainingConfig,
    "guided_trajectories": GuidedConfig,
    "iteration_report": ReportConfig,
    "policy_checkpoint": PolicyTuningConfig,
}
"""The settings of each asset, for `prover_assets.operate.preflight`."""
