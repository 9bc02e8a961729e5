"""Fine-tunes a policy on the tactics of newly found proofs: the policy's half of expert iteration.

    python -m prover.policy.finetune --trajectories A.parquet,B.parquet --output DIR [--llm-path DIR] [--steps N]

A small model is tuned whole; a large one through LoRA (the `peft` package), merged before it is written, so that the
result is an ordinary folder that `load_policy` reads. Its weights are new, so its fingerprints are: no candidate and no
vector of the old policy is ever taken for one of the new.
"""

import contextlib
import copy
import dataclasses
import hashlib
import json
import logging
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from prover.policy.finetune_config import FineTuneConfig, ProvedStep
from prover.policy.separation import Separation, measure_separation, separation_warnings

if TYPE_CHECKING:
    import polars as pl
    from peft import PeftModel
    from transformers import PreTrainedModel

    from prover.policy.huggingface import HuggingFacePolicy

log = logging.getLogger(__name__)

_LORA_ABOVE = 100_000_000  # parameters; a larger model is tuned through LoRA unless told otherwise


class FineTuneError(Exception):
    """Fine-tuning cannot be done. The message says what was given, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class FineTuneResult:
    """What came of it. Losses are nats a token, before and after: on the steps tuned on, and on those kept back (NaN
    where there are none)."""

    output: Path
    method: str
    n_steps: int
    n_examples: int
    """Steps of proofs that were learnt, each once (see `deduplicate`)."""
    n_given: int
    """Steps of proofs given."""
    n_held_out: int
    n_replay: int
    n_theorems: int
    loss_before: float
    loss_after: float
    held_out_before: float
    held_out_after: float
    fingerprint_before: str
    fingerprint_after: str
    separation_before: Separation | None
    separation_after: Separation | None
    warnings: tuple[str, ...]
    seconds: float


def proved_steps(nodes: "pl.DataFrame") -> list[ProvedStep]:
    """The steps of every certified proof in trajectory rows (`prover.trajectory.read_trajectories`), each once.

    A proof is the path from the root to a node with `is_proof_complete`, by `parent_state_id`.
    """
    from prover.trajectory.proofs import proof_paths

    found = {ProvedStep(path.theorem, *step) for path in proof_paths(nodes) for step in path.steps}
    return sorted(found, key=lambda step: (step.theorem, step.state, step.tactic))


Probe = tuple[Sequence[str], Sequence[bool], Sequence[str]]
"""States, whether each is on the way to a proof, and the theorem of each: what the separation probe looks at."""


def separation_probe(nodes: "pl.DataFrame", most: int = 4000) -> Probe:
    """Labelled states of trajectory rows (labels merged), each once, at most `most`, in the order of their keys."""
    labelled = nodes.filter((nodes["label"] != "unknown") & (nodes["state_pp"] != "")).unique("state_key")
    labelled = labelled.sort("state_key").head(most)
    return (
        labelled["state_pp"].to_list(),
        (labelled["label"] == "positive").to_list(),
        labelled["theorem_name"].to_list(),
    )


class FineTuneOptions(TypedDict, total=False):
    """What `fine_tune` takes beside the data and the settings, and explains."""

    replay: Sequence[ProvedStep]
    name: str | None
    device: str | None
    dtype: str | None
    template: str | None


def fine_tune_from_files(
    trajectories: Iterable[str | Path],
    policy: str | Path | None,
    output: str | Path,
    config: FineTuneConfig | None = None,
    *,
    on_metrics: Callable[[int, dict[str, float]], None] | None = None,
    **options: Unpack[FineTuneOptions],
) -> FineTuneResult:
    """Tune the policy in folder `policy` (None: the shipped one) on the proofs in trajectory files; see `fine_tune`."""
    from prover.trajectory import read_trajectories
    from prover.trajectory.labels import merge_labels

    nodes = read_trajectories(list(trajectories))
    steps = proved_steps(nodes)
    if not steps:
        raise FineTuneError(
            f"no certified proof among {nodes.height} nodes: there is nothing to tune on. Prove something first, "
            "with a larger budget or easier theorems."
        )
    probe = separation_probe(merge_labels(nodes))
    return fine_tune(steps, policy, output, config, probe=probe, on_metrics=on_metrics, **options)


def fine_tune(
    steps: Sequence[ProvedStep],
    policy: str | Path | None,
    output: str | Path,
    config: FineTuneConfig | None = None,
    *,
    probe: Probe | None = None,
    replay: Sequence[ProvedStep] = (),
    name: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    template: str | None = None,
    on_metrics: Callable[[int, dict[str, float]], None] | None = None,
) -> FineTuneResult:
    """Write a tuned copy of a policy to the folder `output`, which appears whole or not at all.
    A policy tuned before in that folder is replaced; anything else there is an error.

    probe: see `separation_probe`; it runs before and after. None, or too few states, leaves it out. replay: older
    steps to mix in, see `replay_share`. name: what the policy calls itself from now on (default: its folder's name).
    device, dtype, template: as for `load_policy`. on_metrics(step, metrics): every `log_interval` steps; metrics are
    loss, divergence and held_out_loss (nats a token).
    Raises FineTuneError, PolicyLoadError.
    """
    import torch

    from prover.policy import load_policy
    from prover.policy.finetune_loop import DivergedError, make_examples, mean_loss, optimize

    config = config or FineTuneConfig()
    started = time.perf_counter()
    destination = Path(output)
    if destination.exists() and not (destination / "finetune.json").is_file():
        raise FineTuneError(
            f"{destination} exists and is not a policy tuned before: it is left alone; name a new folder"
        )
    before = load_policy(policy, device=device, dtype=dtype, template=template)
    model, pad_id = before._loaded.model, before._loaded.pad_id
    kept_back = _held_out({step.theorem for step in steps}, config.held_out_share)
    examples = make_examples(before, [step for step in steps if step.theorem not in kept_back], config.max_tokens)
    held_out = make_examples(before, [step for step in steps if step.theorem in kept_back], config.max_tokens)
    older = make_examples(before, replay, config.max_tokens) if config.replay_share else []
    if config.deduplicate:
        examples = list(dict.fromkeys(examples))
    if not examples:
        raise FineTuneError(f"none of the {len(steps)} steps given can be used: all are empty or too long")
    method = config.method
    if method == "auto":
        method = "full" if model.num_parameters() <= _LORA_ABOVE else "lora"
    separation_before = _probe(before, probe)
    loss_before, held_out_before = (mean_loss(model, some, pad_id, config.batch_size) for some in (examples, held_out))

    torch.manual_seed(config.seed)
    anchor = copy.deepcopy(model) if method == "full" and config.anchor_weight else None
    tuned: Any = _with_lora(model, config) if method == "lora" else model  # the members of a model that peft wraps
    new_in_a_batch = config.batch_size * (1 - (config.replay_share if older else 0.0))
    n_steps = max(1, min(config.steps, math.ceil(config.epochs * len(examples) / new_in_a_batch)))
    try:
        optimize(
            tuned, anchor, examples, n_steps, config, pad_id, replay=older, held_out=held_out, on_metrics=on_metrics
        )
    except DivergedError as error:
        raise FineTuneError(
            f"{error} (learning rate {config.learning_rate}): nothing was written. Use a lower learning_rate."
        ) from error
    del anchor
    if method == "lora":
        tuned = tuned.merge_and_unload()
    tuned.eval()
    loss_after, held_out_after = (mean_loss(tuned, some, pad_id, config.batch_size) for some in (examples, held_out))

    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}.", suffix=".tmp") as scratch:
        folder = Path(scratch) / "policy"
        tuned.config.prover_template = before.template.name
        tuned.config.prover_name = name or destination.name
        with _no_progress_bar():
            tuned.save_pretrained(folder)
        before._loaded.tokenizer.save_pretrained(folder)
        fingerprint_before, used_device, used_dtype = before.fingerprint, before.device, before.dtype
        del before, model, tuned  # a large model is in memory once
        after = load_policy(folder, device=used_device, dtype=used_dtype)
        separation_after = _probe(after, probe)
        warnings = (
            separation_warnings(separation_before, separation_after) if separation_before and separation_after else []
        )
        result = FineTuneResult(
            output=destination,
            method=method,
            n_steps=n_steps,
            n_examples=len(examples),
            n_given=len(steps),
            n_held_out=len(held_out),
            n_replay=len(older),
            n_theorems=len({step.theorem for step in steps} - kept_back),
            loss_before=loss_before,
            loss_after=loss_after,
            held_out_before=held_out_before,
            held_out_after=held_out_after,
            fingerprint_before=fingerprint_before,
            fingerprint_after=after.fingerprint,
            separation_before=separation_before,
            separation_after=separation_after,
            warnings=tuple(warnings),
            seconds=time.perf_counter() - started,
        )
        (folder / "finetune.json").write_text(_record(result, config, steps), encoding="utf-8")
        if destination.exists():
            shutil.rmtree(destination)
        folder.rename(destination)
    for warning in result.warnings:
        log.warning("%s", warning)
    return result


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Writing a model draws a bar of its own, into the middle of the caller's."""
    from transformers.utils import logging as transformers_logging

    was_on = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            transformers_logging.enable_progress_bar()


def _held_out(theorems: set[str], share: float) -> set[str]:
    """The theorems kept back: those whose names hash lowest, so that a theorem is kept back whatever the others are."""

    def place(theorem: str) -> float:
        return int.from_bytes(hashlib.blake2b(theorem.encode(), digest_size=4).digest(), "big") / 2**32

    found = {theorem for theorem in theorems if place(theorem) < share}
    return found if len(found) < len(theorems) else set()


def _with_lora(model: "PreTrainedModel", config: FineTuneConfig) -> "PeftModel":
    from prover.policy.finetune_loop import with_lora

    try:
        return with_lora(model, config.lora_rank, config.lora_alpha)
    except ImportError as error:
        raise FineTuneError(
            f"method 'lora' (the default above 100M parameters; this model has {model.num_parameters() / 1e6:.1f}M) "
            "needs the package peft: pip install -c constraints.txt -e '.[lora]'. (method='full' tunes all weights, if "
            "they and their gradients fit.)"
        ) from error


def _record(result: FineTuneResult, config: FineTuneConfig, steps: Sequence[ProvedStep]) -> str:
    """What was done, for people and for reports; the folder's own name is not part of it."""
    content = dataclasses.asdict(result)
    del content["output"]
    content = {key: None if value != value else value for key, value in content.items()}  # NaN is no JSON
    content["config"] = dataclasses.asdict(config)
    data = "\n".join(f"{step.theorem}\t{step.state}\t{step.tactic}" for step in steps)
    content["data_digest"] = hashlib.sha256(data.encode()).hexdigest()
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _probe(encoder: "HuggingFacePolicy", probe: Probe | None) -> Separation | None:
    if probe is None:
        return None
    try:
        return measure_separation(encoder, *probe)
    except ValueError as error:
        log.info("no separation probe: %s", error)
        return None


def main() -> None:
    """The command line."""
    import argparse

    from prover.policy.weights import PolicyLoadError

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", required=True, help="comma-separated trajectory files or folders")
    parser.add_argument("--output", required=True, help="folder of the tuned policy")
    parser.add_argument("--llm-path", default=None, help="policy to start from (default: the shipped one)")
    for field in dataclasses.fields(FineTuneConfig):
        option = f"--{field.name.replace('_', '-')}"
        if isinstance(field.default, bool):
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=field.default)
        else:
            parser.add_argument(option, type=type(field.default), default=field.default)
    arguments = vars(parser.parse_args())
    trajectories, output, start = (arguments.pop(name) for name in ("trajectories", "output", "llm_path"))
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    def show(step: int, metrics: dict[str, float]) -> None:
        log.info("step %4d  %s", step, "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))

    try:
        config = FineTuneConfig(**arguments)
        result = fine_tune_from_files(trajectories.split(","), start, output, config, on_metrics=show)
    except (FineTuneError, PolicyLoadError, OSError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    print(
        f"{result.method}: {result.n_examples} of {result.n_given} steps, of {result.n_theorems} proved theorems, "
        f"{result.seconds:.0f} s"
    )
    print(f"loss {result.loss_before:.4f} -> {result.loss_after:.4f} nats a token")
    print(f"loss on theorems kept back {result.held_out_before:.4f} -> {result.held_out_after:.4f}")
    for name, separation in (("before", result.separation_before), ("after", result.separation_after)):
        if separation:
            print(f"separation {name}: {separation.centroid_distance:.3f}, probe AUC {separation.probe_auc:.3f}")
    print(f"{result.fingerprint_before[:12]} -> {result.fingerprint_after[:12]}  {result.output}")


if __name__ == "__main__":
    main()
