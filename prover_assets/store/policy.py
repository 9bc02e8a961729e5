"""Which policy an iteration searches with: the one as configured, or one that an earlier iteration tuned and adopted.

`iterations/iter_001/policy.json` says what iter_001 and, where nothing else is said, the iterations after it search
with. Everything that depends on a policy follows from it: memo and embeddings by its fingerprints, the baseline by its
own folder, the energy model by whether it fits the policy's vectors.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prover.json_types import JsonObject
from prover_assets.store.champion import ChampionRecord
from prover_assets.store.files import read_json, write_json
from prover_assets.store.layout import DataFolder, IterationFolder, SearchFiles

if TYPE_CHECKING:
    from prover_assets.protocols import PolicySource


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """The policy that an iteration searches with, as the tuning of an earlier one decided it."""

    policy: str | None
    """Folder, from the data folder; None: the policy as configured."""
    encoder_fingerprint: str
    """Of its hidden vectors, with the pooling in use: what an energy model must have been trained on."""
    configured: str
    """Identity of the configured policy that it was tuned from (`PolicySource.identity`)."""
    tuned_by: str | None
    """The iteration that tuned it."""
    decided_by: str
    """The iteration whose tuning decided that it is used."""
    reason: str
    chance_wrong: float | None = None
    """Chance, as validation sees it, that an adopted policy is no better than the one before it."""
    gave_up: str | None = None
    """Folder of the adopted policy that later rounds found to be worse than the one before it, and that is left."""


@dataclass(frozen=True, slots=True)
class PolicyInUse:
    """The policy of an iteration: the resource to load it with, the record behind it, and what a person should know."""

    resource: "PolicySource"
    record: PolicyRecord | None
    note: str = ""

    @property
    def tuned(self) -> bool:
        """Whether it was tuned here."""
        return self.record is not None and self.record.policy is not None

    @property
    def name(self) -> str | None:
        """Folder name of a tuned policy, None for the policy as configured."""
        return Path(self.record.policy).name if self.record is not None and self.record.policy else None


def write_policy(iteration: IterationFolder, record: PolicyRecord) -> None:
    """Say which policy `iteration` searches with."""
    write_json(iteration.policy_record, asdict(record))


def read_policy(iteration: IterationFolder) -> PolicyRecord | None:
    """What was decided for `iteration` itself, None where nothing was. Raises ValueError for what is no record."""
    content: JsonObject | None = read_json(iteration.policy_record)
    if content is None:
        return None
    try:
        return PolicyRecord(**content)
    except TypeError as error:
        raise ValueError(
            f"{iteration.policy_record} is no record of a policy ({error}); materialize policy_checkpoint of the "
            "iteration before, or delete the file to search with the policy as configured"
        ) from error


def record_in_force(data: DataFolder, iteration: IterationFolder) -> PolicyRecord | None:
    """The newest decision up to `iteration`, None where no tuning ever decided anything."""
    for number in range(iteration.number, -1, -1):
        record = read_policy(data.iteration(number))
        if record is not None:
            return record
    return None


def policy_of(data: DataFolder, iteration: IterationFolder, configured: "PolicySource") -> PolicyInUse:
    """The policy of an iteration.

    A tuned policy is used only while the one it was tuned from is still the one configured: whoever configures another
    model means that model. Raises FileNotFoundError where an adopted policy's folder is gone.
    """
    record = record_in_force(data, iteration)
    if record is None or record.policy is None:
        return PolicyInUse(configured, record)
    if record.configured != configured.identity():
        note = (
            f"{Path(record.policy).name}, adopted by {record.decided_by}, was tuned from another policy than the one "
            "that is configured now, and is not used"
        )
        return PolicyInUse(configured, None, note)
    folder = data.root / record.policy
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{iteration.key} searches with the tuned policy {folder}, which is gone: restore it, or delete "
            f"{data.iteration(record.decided_by).following.policy_record} to search with the policy as configured"
        )
    return PolicyInUse(configured.at(folder), record)


def newest_policy(data: DataFolder, configured: "PolicySource") -> PolicyInUse:
    """The policy of the newest iteration that there is."""
    known = data.iterations()
    return policy_of(data, known[-1] if known else data.iteration(0), configured)


def baseline_files(data: DataFolder, policy: PolicyInUse) -> SearchFiles:
    """Where the baseline of a policy lies: every tuned policy has one of its own, never taken for another's."""
    if policy.name is None:
        return data.baseline
    return SearchFiles(data.baseline.nodes.parent / policy.name / data.baseline.nodes.name)


def fitting(data: DataFolder, champion: ChampionRecord, encoder_fingerprint: str | None) -> ChampionRecord:
    """The champion, if it reads the vectors of this encoder; else the policy alone, with the reason.

    An energy model of another policy's vectors gives energies that mean nothing, whatever the width.
    """
    if champion.checkpoint is None:
        return champion
    encoder = (read_json(data.root / champion.checkpoint / "config.json") or {}).get("encoder") or {}
    trained_on = encoder.get("fingerprint")
    if trained_on is None or encoder_fingerprint is None or trained_on == encoder_fingerprint:
        return champion
    reason = (
        f"the champion {champion.ebm_id} of {champion.decided_by} is left out: it was trained on the hidden vectors of "
        f"{encoder.get('policy_id') or 'another policy'} (encoder {trained_on[:12]}), and this policy's encoder is "
        f"{encoder_fingerprint[:12]}. The policy searches alone until an energy model is trained on its own vectors"
    )
    return replace(champion, ebm_id=None, checkpoint=None, evidence=None, reason=reason)
