"""Recipes over the hash world, and a Ray of threads whose actors die when they are told to."""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from typing import Any

from search_fakes import HashPolicy, HashWorld

from prover.scale.specs import EnvironmentSpec, PolicySpec
from prover.search.best_first import TheoremResult

SHARES = {"complete": 0.006, "timed_out": 0.02, "crashed": 0.02, "uncertified": 0.3}


class FullHashPolicy(HashPolicy):
    """A `HashPolicy` with all that a fingerprinted policy says of itself."""

    pooling = "hash"
    encoding_width = 4
    encoder_fingerprint = "hash-encoder"


@dataclass(frozen=True, slots=True)
class HashWorldSpec(EnvironmentSpec):
    jitter_s: float = 0.0

    def open(self) -> HashWorld:  # type: ignore[override]
        return HashWorld(**SHARES, jitter_s=self.jitter_s)


@dataclass(frozen=True, slots=True)
class HashPolicySpec(PolicySpec):
    def open(self) -> FullHashPolicy:  # type: ignore[override]
        return FullHashPolicy()


def with_ballast(result: TheoremResult) -> tuple[str, bool, bytes]:
    """Name, whether it was proved, and a megabyte."""
    return result.theorem.name, result.proved, bytes(1 << 20)


class ThreadRay:
    """The part of Ray that `SearchPool` uses, over threads."""

    class exceptions:
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            def __init__(self, cause: Exception) -> None:
                super().__init__(str(cause))
                self.cause = cause

        class RayActorError(RayError):
            pass

        class ActorDiedError(RayActorError):
            pass

        class ActorUnavailableError(RayActorError):
            pass

    def wait(
        self, references: Sequence[Future[Any]], num_returns: int = 1, timeout: float | None = None
    ) -> tuple[list[Future[Any]], list[Future[Any]]]:
        done, rest = wait_for(references, timeout=timeout, return_when=FIRST_COMPLETED)
        return list(done), list(rest)

    def get(self, reference: Future[Any]) -> Any:
        try:
            return reference.result()
        except self.exceptions.RayError:
            raise
        except Exception as error:
            raise self.exceptions.RayTaskError(error) from error


class ThreadActor:
    """A handle on an object: each method call runs in a thread. `deaths`: after which of its answers it dies."""

    def __init__(self, make: Any, deaths: Sequence[int] = (), *, poison: str = "", for_good: bool = False) -> None:
        """poison: name of a theorem whose job kills the actor. for_good: it is not restarted."""
        self._make, self._deaths, self._poison, self._for_good = make, set(deaths), poison, for_good
        self._object = make()
        self._threads = ThreadPoolExecutor(4)
        self.answers = 0
        self.dead_until = 0.0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Method(self, name)

    def call(self, name: str, *arguments: Any) -> Any:
        if time.monotonic() < self.dead_until:
            raise ThreadRay.exceptions.ActorUnavailableError("the actor is restarting")
        if name == "begin" and self._poison in [theorem.name for theorem in arguments[0].theorems]:
            self._die()
        answer = getattr(self._object, name)(*arguments)
        if name in ("begin", "take"):
            self.answers += 1
            if self.answers in self._deaths:
                self._die()
        return answer

    def _die(self) -> None:
        self._object.close()
        self._object = self._make()
        self.dead_until = float("inf") if self._for_good else time.monotonic() + 0.05
        kind = ThreadRay.exceptions.ActorDiedError if self._for_good else ThreadRay.exceptions.ActorUnavailableError
        raise kind("the actor died")


class _Method:
    def __init__(self, actor: ThreadActor, name: str) -> None:
        self._actor, self._name = actor, name

    def remote(self, *arguments: Any) -> Future[Any]:
        return self._actor._threads.submit(self._actor.call, self._name, *arguments)
