"""Fine-tunes a policy on the tactics of newly found proofs: the policy's half of expert iteration.

    python -m prover.policy.finetune --trajectories A.parquet,B.parquet --output DIR [--llm-path DIR] [--steps N]

A small model is tuned whole; a large one through LoRA (the `peft` package), merged before it is written, so that the
result is an ordinary folder that `load_policy` reads. Its weights are new, so its fingerprints are: no candidate and no
vector of the old policy is ever taken for one of the new.
"""

import copy
import dataclasses
import hashlib
import json
import logging
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from prover.policy.separation import Separation, measure_separation, separation_warnings

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)

_LORA_ABOVE = 100_000_000  # parameters; a larger model is tuned through LoRA unless told otherwise


class FineTuneError(Exception):
    """Fine-tuning cannot be done. The message says what was given, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class ProvedStep:
    """A tactic of a certified proof, at the state where it was used."""

    theorem: str
    state: str
    tactic: str


@dataclass(frozen=True, slots=True)
class FineTuneConfig:
    """How a policy is tuned."""

    method: Literal["auto", "full", "lora"] = "auto"
    """auto: full up to 100M parameters, else LoRA."""
    steps: int = 300
    """Optimizer steps; fewer when `epochs` are over before."""
    epochs: float = 4.0
    """Most passes over the steps of proofs."""
    batch_size: int = 32
    """Steps of proofs an optimizer step."""
    learning_rate: float = 3e-4
    """Peak; warm-up over a tenth of the steps, then a cosine to zero."""
    weight_decay: float = 0.01
    anchor_weight: float = 0.2
    """Weight of the divergence (nats a token) from the policy as it was, on the same texts: it keeps what was learnt
    before, in the tactics and in the vectors. 0 = none."""
    grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    lora_rank: int = 16
    lora_alpha: int = 32
    max_tokens: int = 1024
    """Longer examples are left out."""
    seed: int = 0
    log_interval: int = 20
    """Steps between calls of `on_metrics`."""

    def __post_init__(self) -> None:
        if self.method not in ("auto", "full", "lora"):
            raise ValueError(f"method {self.method!r} is not known; expected auto, full or lora")
        for name in ("steps", "epochs", "batch_size", "learning_rate", "lora_rank"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be above 0")
        if self.anchor_weight < 0:
            raise ValueError(f"anchor_weight = {self.anchor_weight} must not be negative")


@dataclass(frozen=True, slots=True)
class FineTuneResult:
    """What came of it. Losses are nats a token on the steps tuned on, before and after."""

    output: Path
    method: str
    n_steps: int
    n_examples: int
    n_theorems: int
    loss_before: float
    loss_after: float
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
    found: dict[ProvedStep, None] = {}
    columns = ("theorem_name", "state_id", "state_pp", "tactic_applied", "parent_state_id", "is_proof_complete")
    rows = nodes.select(columns).rows()
    by_id = {(row[0], row[1]): row for row in rows}
    for row in rows:
        if not row[5]:
            continue
        theorem, node, seen = row[0], row, set()
        while node[4] is not None and node[1] not in seen:
            seen.add(node[1])
            parent = by_id.get((theorem, node[4]))
            if parent is None:
                break  # a file without this theorem's beginning
            found[ProvedStep(theorem, parent[2], node[3])] = None
            node = parent
    return sorted(found, key=lambda step: (step.theorem, step.state, step.tactic))


def fine_tune_from_files(
    trajectories: Iterable[str | Path],
    policy: str | Path | None,
    output: str | Path,
    config: FineTuneConfig | None = None,
    *,
    on_metrics: Callable[[int, dict[str, float]], None] | None = None,
) -> FineTuneResult:
    """Tune the policy in folder `policy` (None: the shipped one) on the proofs in trajectory files; see `fine_tune`."""
    from prover.trajectory import read_trajectories

    nodes = read_trajectories(list(trajectories))
    steps = proved_steps(nodes)
    if not steps:
        raise FineTuneError(
            f"no certified proof among {nodes.height} nodes: there is nothing to tune on. Prove something first, "
            "with a larger budget or easier theorems."
        )
    labelled = nodes.filter((nodes["label"] != "unknown") & (nodes["state_pp"] != "")).unique("state_key")
    labelled = labelled.sort("state_key").head(4000)
    probe = (
        labelled["state_pp"].to_list(),
        (labelled["label"] == "positive").to_list(),
        labelled["theorem_name"].to_list(),
    )
    return fine_tune(steps, policy, output, config, probe=probe, on_metrics=on_metrics)


def fine_tune(
    steps: Sequence[ProvedStep],
    policy: str | Path | None,
    output: str | Path,
    config: FineTuneConfig | None = None,
    *,
    probe: tuple[Sequence[str], Sequence[bool], Sequence[str]] | None = None,
    on_metrics: Callable[[int, dict[str, float]], None] | None = None,
) -> FineTuneResult:
    """Write a tuned copy of a policy to the folder `output`, which appears whole or not at all.
    A policy tuned before in that folder is replaced; anything else there is an error.

    probe: (states, whether each is on the way to a proof, theorem of each) for the separation probe, which runs before
    and after; None, or too few states, leaves it out. on_metrics(step, metrics): every `log_interval` steps.
    Raises FineTuneError, PolicyLoadError.
    """
    import torch

    from prover.policy import load_policy

    config = config or FineTuneConfig()
    started = time.perf_counter()
    destination = Path(output)
    if destination.exists() and not (destination / "finetune.json").is_file():
        raise FineTuneError(
            f"{destination} exists and is not a policy tuned before: it is left alone; name a new folder"
        )
    before = load_policy(policy)
    model, device = before._loaded.model, before._loaded.model.device
    examples = _examples(before, steps, config.max_tokens)
    if not examples:
        raise FineTuneError(f"none of the {len(steps)} steps given can be used: all are empty or too long")
    method = config.method
    if method == "auto":
        method = "full" if model.num_parameters() <= _LORA_ABOVE else "lora"
    separation_before = _probe(before, probe)
    loss_before = _mean_loss(model, examples, before._loaded.pad_id, config.batch_size)

    torch.manual_seed(config.seed)
    anchor = copy.deepcopy(model) if method == "full" and config.anchor_weight else None
    tuned = _with_lora(model, config) if method == "lora" else model
    n_steps = max(1, min(config.steps, math.ceil(config.epochs * len(examples) / config.batch_size)))
    _optimize(tuned, anchor, examples, before._loaded.pad_id, n_steps, config, on_metrics)
    if method == "lora":
        tuned = tuned.merge_and_unload()
    tuned.eval()
    loss_after = _mean_loss(tuned, examples, before._loaded.pad_id, config.batch_size)

    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}.") as scratch:
        folder = Path(scratch) / "policy"
        if anchor is not None:
            del anchor
        tuned.config.prover_template = before.template.name
        tuned.save_pretrained(folder)
        before._loaded.tokenizer.save_pretrained(folder)
        after = load_policy(folder, device=str(device), dtype=before.dtype)
        separation_after = _probe(after, probe)
        warnings = (
            separation_warnings(separation_before, separation_after) if separation_before and separation_after else []
        )
        result = FineTuneResult(
            destination,
            method,
            n_steps,
            len(examples),
            len({step.theorem for step in steps}),
            loss_before,
            loss_after,
            before.fingerprint,
            after.fingerprint,
            separation_before,
            separation_after,
            tuple(warnings),
            time.perf_counter() - started,
        )
        (folder / "finetune.json").write_text(_record(result, config, steps), encoding="utf-8")
        if destination.exists():
            shutil.rmtree(destination)
        folder.rename(destination)
    for warning in result.warnings:
        log.warning("%s", warning)
    return result


def _record(result: FineTuneResult, config: FineTuneConfig, steps: Sequence[ProvedStep]) -> str:
    """What was done, for people and for reports; the folder's own name is not part of it."""
    content = dataclasses.asdict(result)
    del content["output"]
    content["config"] = dataclasses.asdict(config)
    data = "\n".join(f"{step.theorem}\t{step.state}\t{step.tactic}" for step in steps)
    content["data_digest"] = hashlib.sha256(data.encode()).hexdigest()
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _probe(encoder: Any, probe: tuple[Sequence[str], Sequence[bool], Sequence[str]] | None) -> Separation | None:
    if probe is None:
        return None
    try:
        return measure_separation(encoder, *probe)
    except ValueError as error:
        log.info("no separation probe: %s", error)
        return None


Example = tuple[list[int], int]
"""Token ids of prompt, completion and end; and the length of the prompt."""


def _examples(policy: Any, steps: Sequence[ProvedStep], max_tokens: int) -> list[Example]:
    template, tokenizer = policy.template, policy._loaded.tokenizer
    usable = [step for step in steps if step.state and step.tactic.strip() and "\n" not in step.tactic.strip()]
    if not usable:
        return []
    prompts = policy._tokenize([template.prompt(step.state) for step in usable])
    ending = [tokenizer.eos_token_id] if template.end is None else []
    texts = [template.completion(step.tactic.strip(), step.state) + (template.end or "") for step in usable]
    completions = tokenizer(texts, add_special_tokens=False)["input_ids"]
    examples = [(p + c + ending, len(p)) for p, c in zip(prompts, completions, strict=True)]
    return [example for example in examples if len(example[0]) <= max_tokens]


def _batch(examples: Sequence[Example], pad_id: int, device: Any) -> tuple[Any, Any]:
    """ids (B, L) right-padded; targets (B, L), -100 where nothing is learnt; targets[i, j] follows ids[i, j]."""
    import torch

    longest = max(len(ids) for ids, _ in examples) - 1
    ids = torch.full((len(examples), longest), pad_id, dtype=torch.int64)
    targets = torch.full((len(examples), longest), -100, dtype=torch.int64)
    for row, (tokens, start) in enumerate(examples):
        ids[row, : len(tokens) - 1] = torch.tensor(tokens[:-1])
        targets[row, start - 1 : len(tokens) - 1] = torch.tensor(tokens[start:])
    return ids.to(device), targets.to(device)


def _log_probs(model: Any, ids: Any, wanted: Any) -> Any:
    """(tokens to learn, V) float32 log-probabilities."""
    import torch

    return torch.log_softmax(model(input_ids=ids, use_cache=False).logits[wanted].float(), dim=-1)


def _mean_loss(model: Any, examples: Sequence[Example], pad_id: int, batch_size: int) -> float:
    import torch

    ordered = sorted(examples, key=lambda example: len(example[0]))
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(ordered), batch_size):
            ids, targets = _batch(ordered[start : start + batch_size], pad_id, model.device)
            wanted = targets != -100
            found = _log_probs(model, ids, wanted).gather(1, targets[wanted][:, None])
            total -= float(found.sum())
            tokens += int(wanted.sum())
    return total / tokens


def _with_lora(model: Any, config: FineTuneConfig) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise FineTuneError(
            f"a model of {model.num_parameters() / 1e6:.0f}M parameters is tuned through LoRA, which needs the package "
            "peft: pip install peft. (method='full' tunes all weights, if they and their gradients fit.)"
        ) from error
    adapter = LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, adapter)


def _optimize(
    model: Any,
    anchor: Any | None,
    examples: Sequence[Example],
    pad_id: int,
    n_steps: int,
    config: FineTuneConfig,
    on_metrics: Callable[[int, dict[str, float]], None] | None,
) -> None:
    import torch

    rng = np.random.default_rng(config.seed)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    order: list[int] = []
    is_adapted = anchor is None and config.anchor_weight > 0 and hasattr(model, "disable_adapter")
    model.train()
    for step in range(n_steps):
        while len(order) < config.batch_size:
            order += rng.permutation(len(examples)).tolist()
        chosen, order = order[: config.batch_size], order[config.batch_size :]
        ids, targets = _batch([examples[i] for i in chosen], pad_id, model.device)
        wanted = targets != -100
        log_probs = _log_probs(model, ids, wanted)
        loss = torch.nn.functional.nll_loss(log_probs, targets[wanted])
        divergence = log_probs.new_zeros(())
        if anchor is not None or is_adapted:
            with torch.no_grad():
                if anchor is not None:
                    reference = _log_probs(anchor, ids, wanted)
                else:
                    with model.disable_adapter():
                        reference = _log_probs(model, ids, wanted)
            divergence = torch.nn.functional.kl_div(log_probs, reference, reduction="batchmean", log_target=True)
        total = loss + config.anchor_weight * divergence
        if not bool(torch.isfinite(total)):
            raise FineTuneError(
                f"the loss is {float(total)} at step {step} (learning rate {config.learning_rate}): nothing was "
                "written. Use a lower learning_rate."
            )
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, n_steps)
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_metrics and (step % config.log_interval == 0 or step == n_steps - 1):
            on_metrics(step, {"loss": loss.item(), "divergence": divergence.item()})
    model.eval()


def _schedule(step: int, n_steps: int) -> float:
    """Share of the peak learning rate: linear over the first tenth, then a cosine to zero."""
    warmup = max(1, n_steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, n_steps - warmup)))


def main() -> None:
    """The command line."""
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", required=True, help="comma-separated trajectory files or folders")
    parser.add_argument("--output", required=True, help="folder of the tuned policy")
    parser.add_argument("--llm-path", default=None, help="policy to start from (default: the shipped one)")
    for field in dataclasses.fields(FineTuneConfig):
        kind = type(field.default)
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    arguments = vars(parser.parse_args())
    trajectories, output, start = (arguments.pop(name) for name in ("trajectories", "output", "llm_path"))
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    def show(step: int, metrics: dict[str, float]) -> None:
        log.info("step %4d  %s", step, "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))

    result = fine_tune_from_files(trajectories.split(","), start, output, FineTuneConfig(**arguments), on_metrics=show)
    print(f"{result.method}: {result.n_examples} steps of {result.n_theorems} proved theorems, {result.seconds:.0f} s")
    print(f"loss {result.loss_before:.4f} -> {result.loss_after:.4f} nats a token")
    for name, separation in (("before", result.separation_before), ("after", result.separation_after)):
        if separation:
            print(f"separation {name}: {separation.centroid_distance:.3f}, probe AUC {separation.probe_auc:.3f}")
    print(f"{result.fingerprint_before[:12]} -> {result.fingerprint_after[:12]}  {result.output}")


if __name__ == "__main__":
    main()
