"""Speed of the policy, generating and encoding, against other libraries, in one run.

    python benchmarks/policy.py [--policy DIR | --shape smollm2|deepseek-7b] [--states 64] [--candidates 8]

Encoding: ours, sentence-transformers' `encode` where it is installed, and the bare packed forward pass: the same number
of tokens through the model's layers without any padding, pooling or tokenizer. Generating: ours, transformers' beam
search and sampling, and vLLM's offline engine where it is installed. States are those along shortest proofs of the
test theorems. On a CPU figures are CPU seconds of one process (other work on the machine counts little), on a GPU wall
seconds; there the card's rate for matrix products is measured too, and what share of it encoding reaches.

--shape makes random weights of that shape, with a tokenizer of as many words. Their beams end by length alone.
"""

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from prover.logic.formulas import parse_statement
from prover.logic.generate import SHIPPED_FILE
from prover.logic.proofs import find_script
from prover.logic.tactics import trace
from prover.policy import DecodingConfig, HuggingFacePolicy, load_policy

SHAPES = {
    "smollm2": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
    "deepseek-7b": {
        "vocab_size": 102400,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 30,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
}
"""As the models' config.json files say."""


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


def seconds_of(work: Callable[[], Any], *, gpu: bool) -> tuple[Any, float]:
    """What `work` returns, and the seconds it took: of the CPU, or on a GPU by the clock."""
    if gpu:
        torch.cuda.synchronize()
    start = time.perf_counter() if gpu else time.process_time()
    result = work()
    if gpu:
        torch.cuda.synchronize()
    return result, (time.perf_counter() if gpu else time.process_time()) - start


def random_folder(shape: str, folder: Path, dtype: torch.dtype) -> Path:
    """A Llama with random weights of a known shape, and a word-level tokenizer of the same size."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from prover.policy.tiny.architecture import _PATTERN, END, PAD, UNKNOWN, vocabulary

    words = vocabulary()
    words += [f"word{number}" for number in range(SHAPES[shape]["vocab_size"] - len(words))]
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(_PATTERN), behavior="removed", invert=True)
    PreTrainedTokenizerFast(tokenizer_object=core, pad_token=PAD, unk_token=UNKNOWN, eos_token=END).save_pretrained(
        folder
    )
    config = LlamaConfig(**SHAPES[shape], max_position_embeddings=4096, bos_token_id=None, pad_token_id=0)
    config.eos_token_id = words.index(END)
    config.update({"prover_template": "state-tactic/1", "prover_name": shape})
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config).to(dtype)
    model.save_pretrained(folder)
    return folder


# ---- encoding


def padding_share(policy: HuggingFacePolicy, states: list[str]) -> float:
    """Share of the tokens that go through the model in `encode_only` and are padding."""
    tokens = policy._encoding_tokens(states)
    batches = policy._batches(tokens, range(len(states)), policy.budget.encode_tokens, len(states))
    read = sum(len(batch) * max(len(tokens[i]) for i in batch) for batch in batches)
    return 1 - sum(map(len, tokens)) / read


def shared_share(policy: HuggingFacePolicy, states: list[str]) -> float:
    """Share of the prompts' tokens that the encoder reads too, from the first on: they could be read once."""
    prompts, texts = policy._prompt_tokens(states), policy._encoding_tokens(states)
    shared = 0
    for prompt, text in zip(prompts, texts, strict=True):
        shared += next(
            (i for i, (a, b) in enumerate(zip(prompt, text, strict=False)) if a != b), min(len(prompt), len(text))
        )
    return shared / sum(map(len, prompts))


def packed_forward(policy: HuggingFacePolicy, states: list[str]) -> Callable[[], Any]:
    """The bare packed forward pass: the same tokens, cut into rows of their mean length, no padding."""
    tokens = policy._encoding_tokens(states)
    length = max(1, round(sum(map(len, tokens)) / len(tokens)))
    flat = torch.tensor([token for ids in tokens for token in ids])
    rows = flat[: len(flat) // length * length].view(-1, length).to(policy.device)
    at_once = max(1, policy.budget.encode_tokens // length)
    decoder = policy._loaded.model.get_decoder()

    def work() -> None:
        with torch.inference_mode():
            for start in range(0, len(rows), at_once):
                decoder(input_ids=rows[start : start + at_once], use_cache=False)

    return work


def sentence_transformers_encode(
    policy: HuggingFacePolicy, folder: Path, states: list[str]
) -> Callable[[], Any] | None:
    """The same texts and the same mean pooling by sentence-transformers; None where it is not installed."""
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    body = Transformer(str(folder))
    body.auto_model = body.auto_model.to(policy._loaded.model.dtype)
    encoder = SentenceTransformer(
        modules=[body, Pooling(policy.hidden_size, pooling_mode="mean")], device=policy.device
    )
    if encoder.tokenizer.pad_token is None:
        encoder.tokenizer.pad_token = encoder.tokenizer.eos_token
    texts = [policy.template.encoding_text(state) for state in states]
    return lambda: encoder.encode(texts, batch_size=32, show_progress_bar=False)


def matrix_rate(size: int = 8192) -> float:
    """Operations per second of the GPU in products of large bfloat16 matrices."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    a @ b
    _, seconds = seconds_of(lambda: [a @ b for _ in range(20)], gpu=True)
    return 20 * 2 * size**3 / seconds


# ---- generating


def transformers_generate(policy: HuggingFacePolicy, states: list[str], k: int, *, sample: bool) -> list[list[str]]:
    """The same task with `model.generate`: `k` beams or `k` samples, batches of 32, left padding."""
    model, tokenizer = policy._loaded.model, policy._loaded.tokenizer
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    prompts = [policy.template.prompt(state) for state in states]
    order = sorted(range(len(states)), key=lambda i: len(prompts[i]))
    how = {"do_sample": True} if sample else {"num_beams": k, "do_sample": False, "length_penalty": 0.0}
    results: list[list[str]] = [[] for _ in states]
    with torch.inference_mode():
        for start in range(0, len(order), 32):
            batch = order[start : start + 32]
            inputs = tokenizer(
                [prompts[i] for i in batch],
                return_tensors="pt",
                padding=True,
                add_special_tokens=policy.template.add_special_tokens,
            ).to(policy.device)
            output = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                num_return_sequences=k,
                max_new_tokens=policy.decoding.max_tactic_tokens,
                eos_token_id=policy._loaded.ending.stop.nonzero()[:, 0].tolist(),
                pad_token_id=policy._loaded.pad_id,
                **how,
            )
            texts = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            for place, index in enumerate(batch):
                tactics = [policy.template.tactic(text, states[index]) for text in texts[place * k : (place + 1) * k]]
                results[index] = [tactic for tactic in tactics if tactic is not None]
    return results


def vllm_generate(policy: HuggingFacePolicy, folder: Path, states: list[str], k: int) -> Callable[[], Any] | None:
    """The same prompts by vLLM's offline engine, `k` samples each; None where it is not installed."""
    if importlib.util.find_spec("vllm") is None:
        return None
    from vllm import LLM, SamplingParams

    engine = LLM(str(folder), dtype=policy.dtype, max_model_len=min(policy.context_tokens, 2048))
    settings = SamplingParams(n=k, max_tokens=policy.decoding.max_tactic_tokens, logprobs=1, stop=["\n"])
    prompts = [{"prompt_token_ids": ids} for ids in policy._prompt_tokens(states)]
    return lambda: engine.generate(prompts, settings, use_tqdm=False)


# ---- the tables


def encode_table(policy: HuggingFacePolicy, folder: Path, states: list[str], *, gpu: bool) -> None:
    """Print the encoding rates and their ratios."""
    mean = policy.with_pooling("mean")
    works = {"ours": lambda: mean.encode_only(states), "bare packed forward": packed_forward(mean, states)}
    theirs = sentence_transformers_encode(mean, folder, states)
    if theirs is not None:
        works["sentence-transformers"] = theirs
    best: dict[str, float] = {}
    for _ in range(3):  # in turns, so that a busy neighbour is no one's alone
        for name, work in works.items():
            _, seconds = seconds_of(work, gpu=gpu)
            best[name] = min(best.get(name, seconds), seconds)
    for name, seconds in best.items():
        print(f"encode, {name:32}{len(states) / seconds:12.1f} states / s")
    print(f"{'prompt tokens that the encoder reads too':40}{shared_share(mean, states):12.1%}")
    print(f"{'padding in our batches':40}{padding_share(mean, states):12.1%}    target: at most 5%")
    print(
        f"{'ours / bare packed forward':40}{best['bare packed forward'] / best['ours']:12.2f}    target: at least 0.85"
    )
    if theirs is None:
        print("sentence-transformers is not installed")
    else:
        ratio = best["sentence-transformers"] / best["ours"]
        print(f"{'ours / sentence-transformers':40}{ratio:12.2f}    target: at least 1.3")
    if gpu:
        n_tokens = sum(map(len, mean._encoding_tokens(states)))
        body = sum(p.numel() for p in mean._loaded.model.get_decoder().parameters())
        rate = matrix_rate()
        share = 2 * body * n_tokens / best["ours"] / rate
        print(f"{'matrix rate':40}{rate / 1e12:12.0f} T / s")
        print(f"{'encoding, share of it':40}{share:12.1%}    target: at least 50%")


def generate_table(policy: HuggingFacePolicy, folder: Path, states: list[str], k: int, *, gpu: bool) -> None:
    """Print the generating rates and their ratios."""
    some = states[: 32 if gpu else max(8, len(states) // 8)]
    policy.generate(some[:2], k)
    ours, seconds = seconds_of(lambda: policy.generate(states, k), gpu=gpu)
    print(f"{f'generate, ours, k = {k}':40}{len(states) / seconds:12.2f} states / s")
    rate = len(states) / seconds
    for name, sample in (("transformers beam search", False), ("transformers sampling", True)):
        theirs, seconds = seconds_of(lambda how=sample: transformers_generate(policy, some, k, sample=how), gpu=gpu)
        target = "" if sample else "    target: at least 4"
        print(f"{f'generate, {name}':40}{len(some) / seconds:12.2f} states / s")
        print(f"{f'ours / {name}':40}{rate * seconds / len(some):12.1f}{target}")
        if not sample:
            mine = [{candidate.tactic for candidate in candidates} for candidates in ours[: len(some)]]
            shared = sum(len(a & set(b)) for a, b in zip(mine, theirs, strict=True)) / max(1, sum(map(len, mine)))
            print(f"{'tactics of ours that it has too':40}{shared:12.1%}")
    engine = vllm_generate(policy, folder, states, k)
    if engine is None:
        print("vllm is not installed")
    else:
        _, seconds = seconds_of(engine, gpu=True)  # its work is in other processes, so by the clock
        print(f"{'generate, vLLM offline engine':40}{len(states) / seconds:12.2f} states / s by the clock")
    if gpu and len(states) >= 32:
        _, seconds = seconds_of(lambda: policy.generate(states[:32], 16), gpu=True)
        print(f"{'32 states x 16 candidates':40}{seconds:12.2f} s    target: at most 1.5 (7B in bfloat16)")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default=None, help="folder of a policy (default: the shipped one)")
    parser.add_argument("--shape", default=None, choices=sorted(SHAPES), help="random weights of this shape instead")
    parser.add_argument("--states", type=int, default=64)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--tactic-tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default=None)
    parser.add_argument("--skip", default="", choices=("", "encode", "generate"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        where: str | Path | None = options.policy
        if options.shape:
            dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
            where = random_folder(options.shape, Path(temporary), dtype)
        decoding = DecodingConfig(max_tactic_tokens=options.tactic_tokens)
        policy = load_policy(where, threads=options.threads, device=options.device, decoding=decoding)
        gpu = policy.device.startswith("cuda")
        states = test_states(options.states)
        lengths = [len(ids) for ids in policy._prompt_tokens(states)]
        print(f"{policy.policy_id} in {policy.dtype} on {policy.device}: {len(states)} states, prompts of", end=" ")
        print(f"{min(lengths)} to {max(lengths)} tokens; fast decoder: {policy.decodes_fast}")
        folder = Path(policy._loaded.tokenizer.name_or_path)
        if options.skip != "encode":
            encode_table(policy, folder, states, gpu=gpu)
        if options.skip != "generate":
            generate_table(policy, folder, states, options.candidates, gpu=gpu)


if __name__ == "__main__":
    main()
