"""A search spread over a Ray cluster: connects, opens policy and Lean on the actors, and offers `search`."""

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from prover.environments.base import ProofEnvironment
from prover.policy.base import FingerprintedPolicy, TacticGenerator
from prover.policy.settings import OpenOptions
from prover.scale.config import RayConfig, ScaleError
from prover.scale.connect import (
    Needs,
    answer,
    answers,
    code_digest,
    connected,
    fitting_actors,
    head_answers,
    import_ray,
    require_nodes,
    shared_token,
)
from prover.scale.messages import PolicyFacts, WorkerFacts
from prover.scale.pool import SearchPool
from prover.scale.remote import RemoteEnvironment, RemotePolicy, RemoteScorer
from prover.scale.specs import EnvironmentSpec, PolicySpec, ScorerSpec
from prover.scale.workers import MemoKeeper, PolicyWorker, RemoteMemo, SearchWorker
from prover.search.config import SearchConfig
from prover.search.memo import MemoCounts
from prover.search.place import SearchPlace
from prover.search.searcher import SearchOptions, SearchReport, check_options
from prover.theorems import Theorem

if TYPE_CHECKING:
    from ray.actor import ActorHandle

_REQUESTS_PER_POLICY = 256
"""Requests that may wait in a policy actor to be joined."""
_CLOSE_S = 10.0
_THREADS_PER_ACTOR = 16
"""Calls that an actor answers at a time: one job, the driver's polls, single questions."""


class _SearchActor(SearchWorker):
    """A `SearchWorker` whose memo, and whose policy where it has policy actors, are reached through Ray."""

    def __init__(
        self,
        environment: EnvironmentSpec,
        policy: PolicySpec,
        memo_name: str,
        policy_names: Sequence[str],
        facts: PolicyFacts | None,
    ) -> None:
        """The other actors are given by name: a handle would have to outlive every restart of this one."""
        ray = import_ray()
        known = None
        if memo_name:
            memo = ray.get_actor(memo_name)
            known = RemoteMemo(
                lambda table, keys: ray.get(memo.read.remote(table, keys)),
                lambda table, rows: ray.get(memo.write.remote(table, rows)),
            )
        policies = [ray.get_actor(name) for name in policy_names]
        super().__init__(environment, policy if facts is None else RemotePolicy(policies, facts), known)


class RayCluster:
    """Search actors on a Ray cluster, with one policy and one kind of Lean. A context manager.

    Attributes, once entered: `environment` and `policy`, stand-ins that answer what callers ask beside searching
    (names, fingerprints, single calls); `n_actors`; `resources` of the cluster.
    """

    def __init__(
        self,
        config: RayConfig,
        environment: EnvironmentSpec,
        policy: PolicySpec,
        *,
        memo: Path | None = None,
        data: Path | None = None,
    ) -> None:
        """memo: file of remembered answers, kept by this machine; None remembers nothing. data: the data folder, which
        all nodes must share where an energy model guides the search; None: not needed."""
        self.config = config
        self._environment_spec = environment
        self._policy_spec = policy
        self._memo_path = memo
        self._data = data
        self._name = f"prover-{secrets.token_hex(4)}"
        self._stack = ExitStack()
        self._actors: list[ActorHandle] = []
        self._policies: list[ActorHandle] = []
        self._memo: ActorHandle | None = None
        self._ray: Any = None
        self._head = self._node = ""
        self._head_lost = False
        self.environment: ProofEnvironment
        self.policy: FingerprintedPolicy
        self.n_actors = 0
        self.messages = 0
        """Questions that finished searches have asked the actors (count)."""
        self.resources: Mapping[str, float] = {}

    def __enter__(self) -> Self:
        """Raises ScaleError, before any work, for whatever of the cluster is not ready."""
        with ExitStack() as stack:
            self._ray = stack.enter_context(connected(self.config))
            context = self._ray.get_runtime_context()
            self._head, self._node = context.gcs_address, context.get_node_id()
            self._require_nodes()
            stack.callback(self._stop_actors)
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def scorer(self, checkpoint: str | Path, data: str | Path) -> RemoteScorer:
        """The energy model of a checkpoint, scored by the actors. Raises what loading it there raises."""
        spec = ScorerSpec(os.fspath(Path(checkpoint).resolve()), os.fspath(Path(data).resolve()))
        calibration, ebm_id = answer(self._ray, self._actors[0].scorer_facts.remote(spec))
        return RemoteScorer(self._actors[0], spec, calibration, ebm_id)

    def search(
        self,
        theorems: Iterable[Theorem],
        environment: ProofEnvironment,
        policy: TacticGenerator,
        config: SearchConfig,
        **options: Unpack[SearchOptions],
    ) -> SearchReport:
        """As `prover.search.search`, on the actors. The results are the same, but for the order in which they come.

        environment, policy: the cluster's own. Of the options, `scorer` is one that `RayCluster.scorer` made; `memo` is
        not used, as the cluster has its own; `reduce` runs on the actors, and then no results are kept.
        Raises ScaleError when Ray is lost or no actor is left, and whatever the search raises on an actor.
        """
        check_options(options)
        scorer, calibration = options.get("scorer"), options.get("calibration")
        if scorer is not None and not isinstance(scorer, RemoteScorer):
            raise ScaleError(f"a {type(scorer).__name__} cannot travel to Ray's actors; make it with RayCluster.scorer")
        pool = SearchPool(
            self._ray, self._actors, self.config, partial(head_answers, self._ray, self._head, self._node)
        )
        try:
            return pool.run(
                list(theorems),
                config,
                None if scorer is None else scorer.spec,
                calibration if calibration is not None or scorer is None else scorer.calibration,
                options,
            )
        finally:
            self.messages += pool.messages
            self._head_lost = pool.head_lost

    def memo_counts(self) -> MemoCounts:
        """What the actors have asked of the memo. What an actor had asked before it died is not counted."""
        counts = answer(self._ray, [actor.memo_counts.remote() for actor in self._actors])
        return MemoCounts(*(sum(column) for column in zip(*map(astuple, counts), strict=True)))

    def place(self) -> SearchPlace:
        """The cluster as a place to search in."""
        return SearchPlace(self.environment, self.policy, None, self.search, self.scorer, self.memo_counts)

    def _require_nodes(self) -> None:
        folders = [self._policy_spec.where if self._policy_spec.folder else None, self._environment_spec.lean_project]
        with shared_token(self._data) as token:
            needs = Needs(
                code_digest(), self._environment_spec.kind, tuple(folder for folder in folders if folder), token
            )
            require_nodes(self._ray, needs, self.config.start_timeout_s)

    def _start(self) -> None:
        ray, config = self._ray, self.config
        self.resources = ray.cluster_resources()
        self.n_actors = fitting_actors(config, dict(self.resources), ray.nodes())
        policies = self._policies = self._policy_actors()
        policy_facts: PolicyFacts | None = self._first_facts(policies, "policy") if policies else None
        workers = config.lean_workers_per_actor or max(1, int(config.cpus_per_search_actor))
        environment = replace(self._environment_spec, workers=workers)
        threads: OpenOptions = {"threads": max(1, int(config.cpus_per_search_actor))}
        policy = replace(self._policy_spec, options={**threads, **self._policy_spec.options})
        actor = ray.remote(_SearchActor).options(
            num_cpus=config.cpus_per_search_actor,
            memory=int(config.memory_per_search_actor_gib * 2**30) or None,
            max_restarts=config.max_restarts,
            max_concurrency=_THREADS_PER_ACTOR,
        )
        memo_name = f"{self._name}-memo" if self._memo_path is not None else ""
        self._memo = self._memo_actor(memo_name)
        names = [f"{self._name}-policy-{i}" for i in range(len(policies))]
        self._actors = [actor.remote(environment, policy, memo_name, names, policy_facts) for _ in range(self.n_actors)]
        facts: WorkerFacts = self._first_facts(self._actors, "search")
        self.environment = RemoteEnvironment(self._actors[0], facts.environment_name, facts.environment_fingerprint)
        self.policy = RemotePolicy(policies or self._actors, facts.policy)

    def _policy_actors(self) -> "list[ActorHandle]":
        config = self.config
        actor = self._ray.remote(PolicyWorker)
        return [
            actor.options(
                name=f"{self._name}-policy-{i}",
                num_cpus=config.cpus_per_policy_actor,
                num_gpus=config.gpus_per_policy_actor,
                max_restarts=config.max_restarts,
                max_task_retries=config.max_restarts,
                max_concurrency=_REQUESTS_PER_POLICY,
            ).remote(self._policy_spec, config.policy_batch_states, config.policy_batch_wait_ms)
            for i in range(config.policy_actors)
        ]

    def _memo_actor(self, name: str) -> "ActorHandle | None":
        """The memo's keeper, on this machine, where its file is."""
        if self._memo_path is None:
            return None
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        keeper = self._ray.remote(MemoKeeper).options(
            name=name, num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here
        )
        return keeper.remote(os.fspath(self._memo_path.resolve()))

    def _first_facts(self, actors: "Sequence[ActorHandle]", kind: str) -> Any:  # noqa: ANN401 - facts of either kind of actor
        """The facts of the first actor, once all are up and say the same."""
        ray = self._ray
        try:
            facts = ray.get([actor.facts.remote() for actor in actors], timeout=self.config.start_timeout_s)
        except ray.exceptions.GetTimeoutError as error:
            raise ScaleError(
                f"{len(actors)} {kind} actors were not all up after {self.config.start_timeout_s:g} s; the cluster has "
                f"{dict(self.resources)}. Raise ray.start_timeout_s if models load slowly, or ask for fewer actors"
            ) from error
        except ray.exceptions.RayTaskError as error:
            raise error.cause or error from None
        except ray.exceptions.RayActorError as error:
            cause = str(error).strip().splitlines()[-1]
            raise ScaleError(f"a {kind} actor could not start: {cause}") from error
        first = facts[0]
        for other in facts[1:]:
            if kind == "search" and (
                other.environment_fingerprint != first.environment_fingerprint
                or other.policy.fingerprint != first.policy.fingerprint
            ):
                raise ScaleError(
                    f"the nodes {first.node} and {other.node} have different Leans or models: {first.environment_name} "
                    f"and {first.policy.policy_id}, {other.environment_name} and {other.policy.policy_id}; install the "
                    "same on both"
                )
        return first

    def _stop_actors(self) -> None:
        """Let each actor close its Lean, and end it. An actor that is gone already is no trouble."""
        ray = self._ray
        if self._head_lost or not answers(self._head):  # another head may listen there by now
            return
        if self._actors:
            ray.wait([actor.close.remote() for actor in self._actors], num_returns=len(self._actors), timeout=_CLOSE_S)
        for actor in (*self._actors, *self._policies, *([] if self._memo is None else [self._memo])):
            ray.kill(actor)
        self._actors, self._policies, self._memo = [], [], None
