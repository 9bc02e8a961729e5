"""The verdict on a checkpoint."""

import pytest

from prover_assets.store.layout import DataFolder
from prover_assets.store.verdict import RefusedCheckpoint, Verdict, require_passed, write_verdict


def test_a_verdict_that_did_not_pass_is_refused_with_its_reason(tmp_path):
    iteration = DataFolder(tmp_path).iteration("iter_000")
    with pytest.raises(RefusedCheckpoint, match="no verdict"):
        require_passed(iteration)
    write_verdict(iteration.verdict, Verdict(False, "ebm-1", ("energy_gap: it is -0.1",), ()))
    with pytest.raises(RefusedCheckpoint, match=r"it is -0\.1"):
        require_passed(iteration)
    write_verdict(iteration.verdict, Verdict(True, "ebm-1", (), ("healthy: flat",)))
    assert require_passed(iteration).warnings == ("healthy: flat",)
