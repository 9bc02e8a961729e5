"""Speed of the policy: states generated for and encoded a CPU-second, against transformers' own beam search.

    python benchmarks/policy_generate.py [--policy DIR] [--states 320] [--candidates 8]

States are those along shortest proofs of the test theorems. Both decoders are given the same prompts, the same model
and one thread, in the same run; CPU seconds are the process's own, so other work on the machine counts little.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch

from prover.logic.formulas import parse_statement
from prover.logic.generate import SHIPPED_FILE
from prover.logic.proofs import find_script
from prover.logic.tactics import trace
from prover.policy import HuggingFacePolicy, load_policy


def test_states(n: int) -> list[str]:
    """`n` different states along shortest proofs of the shipped test theorems."""
    states: dict[str, None] = {}
    with SHIPPED_FILE.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["split"] != "test" or len(states) >= n:
                continue
            sequent = parse_statement(row["statement"])
            script = find_script(sequent)
            if script is not None:
                states.update((state, None) for state, _ in trace(sequent, script))
    return list(states)[:n]


def cpu_seconds(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the CPU seconds it took."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def transformers_beam(policy: HuggingFacePolicy, states: list[str], k: int, batch_size: int) -> list[list[str]]:
    """The same task with `model.generate`: `k` beams, `k` sequences, left padding."""
    model, tokenizer = policy._loaded.model, policy._loaded.tokenizer
    tokenizer.padding_side = "left"
    prompts = [policy.template.prompt(state) for state in states]
    order = sorted(range(len(states)), key=lambda i: len(prompts[i]))
    results: list[list[str]] = [[] for _ in states]
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            inputs = tokenizer([prompts[i] for i in batch], return_tensors="pt", padding=True, add_special_tokens=False)
            output = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                num_beams=k,
                num_return_sequences=k,
                do_sample=False,
                max_new_tokens=24,
                length_penalty=0.0,
            )
            texts = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            for place, index in enumerate(batch):
                tactics = [policy.template.tactic(text, states[index]) for text in texts[place * k : (place + 1) * k]]
                results[index] = [tactic for tactic in tactics if tactic is not None]
    return results


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default=None, help="folder of a policy (default: the shipped one)")
    parser.add_argument("--states", type=int, default=320)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    policy = load_policy(options.policy, threads=options.threads, device="cpu")
    states, k = test_states(options.states), options.candidates
    lengths = [len(ids) for ids in policy._prompt_tokens(states)]
    print(f"{policy.policy_id}: {len(states)} states, prompts of {min(lengths)} to {max(lengths)} tokens, k = {k}")
    policy.generate(states[:8], k)
    print(f"{'':34}{'states / CPU s':>15}")
    rates = {}
    for batch_size in (8, 16, 32, 64):
        ours, seconds = cpu_seconds(lambda size=batch_size: policy.generate(states, k, batch_size=size))
        rates[batch_size] = len(states) / seconds
        print(f"{f'generate, batches of {batch_size}':34}{rates[batch_size]:15.0f}")
    sample = states[: max(32, len(states) // 5)]
    theirs, seconds = cpu_seconds(lambda: transformers_beam(policy, sample, k, 32))
    reference = len(sample) / seconds
    print(f"{'transformers generate, 32':34}{reference:15.0f}")
    print(f"ratio at batches of 32: {rates[32] / reference:.1f}")
    mine = [{candidate.tactic for candidate in candidates} for candidates in ours[: len(sample)]]
    shared = sum(len(a & set(b)) for a, b in zip(mine, theirs, strict=True)) / sum(map(len, mine))
    print(f"tactics of ours that theirs has too: {shared:.1%}")
    policy.encode_only(states[:8])
    for batch_size in (16, 64, 256):
        _, seconds = cpu_seconds(lambda size=batch_size: policy.encode_only(states, batch_size=size))
        print(f"{f'encode, batches of {batch_size}':34}{len(states) / seconds:15.0f}")


if __name__ == "__main__":
    main()
