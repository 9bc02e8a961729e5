"""What report.json says of an iteration."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict, cast

from prover_assets.steps.compare import ComparedRecord
from prover_assets.store.files import read_json
from prover_assets.store.layout import IterationFolder


class PromotionRecord(TypedDict):
    """What was decided on the energy model."""

    promoted: bool
    reason: str
    champion: str | None
    """`ebm_id` of the champion that the next iteration has; None for the policy alone."""
    chance_wrong: NotRequired[float | None]
    """Chance that a promotion is wrong, as validation sees it."""
    gate: NotRequired[Mapping[str, object] | None]


class Report(ComparedRecord):
    """The whole file. `NotRequired` keys are missing in reports of release 0.1.0."""

    iteration: str
    theorems: str
    """Digest of the held-out theorems."""
    promotion: PromotionRecord
    ebm_id: str
    beta: float
    order: str
    policy: str
    left_out: str
    """A champion that the training search left out, and why; "" for none."""
    mlflow_run: str | None
    mlflow_view: str
    theorem_lint: NotRequired[dict[str, dict[str, object]]]
    """Split -> findings of the lint."""


def read_report(iteration: IterationFolder) -> Report | None:
    """The report of an iteration, None where there is none yet. Raises DamagedFile.

    The values are not checked again: `iteration_report` wrote the file, and its digest shows whether it was changed.
    """
    return cast("Report | None", read_json(iteration.report_file))
