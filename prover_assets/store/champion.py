"""The champion: the energy model that an iteration searches with, and what validation said of a checkpoint."""

from dataclasses import asdict, dataclass

from prover.json_types import JsonObject
from prover_assets.store.files import DamagedFile, read_json, write_json
from prover_assets.store.layout import IterationFolder


@dataclass(frozen=True, slots=True)
class Evidence:
    """What validation says of a checkpoint.

    area, policy_area: area under the solve curve of the validation theorems, in [0, 1], in the order chosen and with
    the policy alone. beta: the best weight of a mix. order: the order chosen, by name. conditions: digest of the
    theorems, budget and policy, so that areas of different checkpoints are compared only where they mean the same.
    The last three are `prover.evaluation.gate.Measured` as plain values, None in files of release 0.1.0.
    """

    ebm_id: str
    beta: float
    area: float
    policy_area: float
    conditions: str
    order: str = "mix"
    gain: JsonObject | None = None
    """Of this checkpoint over the policy alone, paired by theorem."""
    over_champion: JsonObject | None = None
    """Of this checkpoint over the champion that the iteration searched with. None where that one cannot be searched
    with any more: it reads the vectors of another policy, or there is none."""
    champion_gain: JsonObject | None = None
    """Of that champion over the policy alone, measured again on the present validation theorems."""

    @property
    def policy_alone(self) -> bool:
        """Whether validation preferred the policy alone."""
        return self.order == "policy-mean" or (self.order == "mix" and self.beta == 0)

    @property
    def words(self) -> str:
        """The order chosen, for people."""
        return f"beta {self.beta:g}" if self.order == "mix" else f"order {self.order}"


@dataclass(frozen=True, slots=True)
class ChampionRecord:
    """The champion that an iteration starts from. All None: the policy alone."""

    ebm_id: str | None
    checkpoint: str | None
    """Path from the data folder."""
    decided_by: str | None
    """The iteration whose report decided it."""
    reason: str
    evidence: Evidence | None = None
    chance_wrong: float | None = None
    """Chance, as validation sees it, that this champion is no better than the policy alone."""
    measured_again: tuple[JsonObject, ...] = ()
    """Its gain over the policy alone in later rounds, as `Evidence.champion_gain` had it."""

    @property
    def data_version(self) -> str:
        """What Dagster compares to see that the champion changed."""
        return self.ebm_id or "policy-alone"


POLICY_ALONE = ChampionRecord(None, None, None, "the first iteration searches with the policy alone")


def evidence_of(iteration: IterationFolder) -> Evidence:
    """What validation said of an iteration's checkpoint. Raises FileNotFoundError before calibration, DamagedFile."""
    content = read_json(iteration.evidence)
    if content is None:
        raise FileNotFoundError(f"{iteration.evidence} is missing; materialize ebm_checkpoint of {iteration.key} first")
    try:
        return Evidence(**content)
    except TypeError as error:
        raise DamagedFile(iteration.evidence, f"it is no evidence of a validation ({error})") from error


def write_champion(iteration: IterationFolder, record: ChampionRecord) -> None:
    """Say which champion `iteration` searches with."""
    write_json(iteration.champion, asdict(record))


def read_champion_of(iteration: IterationFolder) -> ChampionRecord | None:
    """The champion that `iteration` searches with, None where nothing was decided. Raises DamagedFile."""
    content: JsonObject | None = read_json(iteration.champion)
    if content is None:
        return None
    evidence = content.get("evidence")
    try:
        return ChampionRecord(
            ebm_id=content["ebm_id"],
            checkpoint=content["checkpoint"],
            decided_by=content["decided_by"],
            reason=content["reason"],
            evidence=Evidence(**evidence) if evidence is not None else None,
            chance_wrong=content.get("chance_wrong"),
            measured_again=tuple(content.get("measured_again") or ()),
        )
    except (KeyError, TypeError) as error:
        raise DamagedFile(iteration.champion, f"it is no record of a champion ({error!r})") from error


def starting_champion(iteration: IterationFolder) -> ChampionRecord:
    """The champion of an iteration; the policy alone for the first. Raises ValueError where it is undecided."""
    record = read_champion_of(iteration)
    if record is not None:
        return record
    if iteration.number == 0:
        return POLICY_ALONE
    raise ValueError(
        f"nothing says which champion {iteration.key} searches with: materialize iteration_report of the iteration "
        "before it first"
    )
