"""Carrying out a promotion: the checkpoint copied to where it does not change, and the records that point to it."""

import os
import shutil
from dataclasses import asdict
from pathlib import Path

from prover_assets.store.champion import ChampionRecord, Decision, Evidence, write_champion
from prover_assets.store.layout import DataFolder, IterationFolder


def crown(
    data: DataFolder, iteration: IterationFolder, decision: Decision, evidence: Evidence, old: ChampionRecord
) -> ChampionRecord:
    """Record the champion of the next iteration: this iteration's model if promoted, else the old one carried on.

    The data folder's own champion (`champion.json`, what `--ebm-path champion` means) follows the newest report only:
    running an old iteration again does not undo what later ones decided.
    """
    following = data.iteration(iteration.number + 1)
    newest = not any(other.number > iteration.number and other.report_file.exists() for other in data.iterations())
    if decision.promoted:
        kept = keep_checkpoint(data, iteration, evidence.ebm_id)
        record = ChampionRecord(
            evidence.ebm_id, os.fspath(kept.relative_to(data.root)), iteration.key, decision.reason, evidence
        )
        if newest:
            from ebm.champion import promote

            promote(data.root, kept, iteration=iteration.number, evidence=asdict(evidence))
    else:
        record = ChampionRecord(old.ebm_id, old.checkpoint, old.decided_by, decision.reason, old.evidence)
    write_champion(following, record)
    return record


def keep_checkpoint(data: DataFolder, iteration: IterationFolder, ebm_id: str) -> Path:
    """Copy an iteration's checkpoint to `champions/`, whole or not at all."""
    target = data.champions / ebm_id
    temporary = data.champions / f".{ebm_id}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(iteration.checkpoint, temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    return target
