"""How much memory a model needs, from its folder alone, against what is free: said before anything is loaded.

    python -m prover.policy.memory [FOLDER]     a table per size and dtype, or the estimate for one folder

Weights are exact (the tensors' shapes stand in the files' headers); what a batch takes is an estimate from the model's
shape: keys and values of a token, activations of a layer, logits of a beam.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from prover.json_types import JsonObject
from prover.policy.weights import PolicyLoadError, base_folder, read_object, safetensors_header, weight_files

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

GIB = 2**30
BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.05, "int4": 0.56}
"""Bytes of a weight; quantised ones with their scales."""
_STORED = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "I16": 2}  # others are one byte


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model's configuration decides how much memory a token takes."""

    hidden: int
    layers: int
    heads: int
    kv_width: int
    """Width of the keys, and of the values, of one token in one layer: heads times their size."""
    intermediate: int
    vocabulary: int

    @classmethod
    def of(cls, config: "PretrainedConfig | JsonObject") -> Self:
        """From a transformers configuration, or from the object in a config.json."""
        whole: JsonObject = config if isinstance(config, Mapping) else config.get_text_config().to_dict()
        inner = whole.get("text_config")
        text: JsonObject = inner if isinstance(inner, dict) else whole

        def number(*names: str, default: int) -> int:
            for name in names:
                value = text.get(name)
                if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                    return value
            return default

        hidden = number("hidden_size", "n_embd", "d_model", default=1024)
        heads = number("num_attention_heads", "n_head", "num_heads", default=16)
        size = number("head_dim", default=max(1, hidden // heads))
        return cls(
            hidden=hidden,
            layers=number("num_hidden_layers", "n_layer", "num_layers", default=24),
            heads=heads,
            kv_width=number("num_key_value_heads", default=heads) * size,
            intermediate=number("intermediate_size", "n_inner", "ffn_dim", default=4 * hidden),
            vocabulary=number("vocab_size", default=32000),
        )

    def cache_bytes_per_token(self, width: int) -> int:
        """Keys and values of one token in all layers. width: bytes of a number."""
        return 2 * self.layers * self.kv_width * width

    def encode_bytes_per_token(self, width: int) -> int:
        """Activations of one token while a layer works, and its last hidden state in float32."""
        return (6 * self.hidden + 3 * self.intermediate) * width + 8 * self.hidden

    def generate_bytes_per_token(self, width: int) -> int:
        """A cache slot, with its share of the activations while the prompt is read."""
        return self.cache_bytes_per_token(width) + self.encode_bytes_per_token(width) // 2

    def logits_bytes(self) -> int:
        """Logits of one beam: float32, with the copies that a step of beam search makes."""
        return 6 * 4 * self.vocabulary


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a model is going to need, bytes. `free`: of the device's memory, before loading."""

    parameters: int
    dtype: str
    weights: int
    cache: int
    """Keys and values of one batch: states x (prompt + candidates x tactic) tokens."""
    logits: int
    activations: int
    free: int
    states: int
    candidates: int
    prompt_tokens: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.weights + self.cache + self.logits + self.activations

    @property
    def weights_fit(self) -> bool:
        """Whether the weights alone fit."""
        return self.weights <= self.free

    @property
    def fits(self) -> bool:
        """Whether all of it fits."""
        return self.total <= self.free

    def sentence(self) -> str:
        """One line: the parts, against what is free."""
        return (
            f"{self.parameters / 1e9:.2f}B parameters in {self.dtype}: weights {_size(self.weights)}; for "
            f"{self.states} states x {self.candidates} candidates with prompts of {self.prompt_tokens} tokens: keys "
            f"and values {_size(self.cache)}, logits {_size(self.logits)}, activations {_size(self.activations)}; free "
            f"{_size(self.free)}"
        )


def estimate(
    folder: Path,
    dtype: str,
    device: str = "cpu",
    *,
    states: int = 32,
    candidates: int = 8,
    prompt_tokens: int = 512,
    tactic_tokens: int = 48,
    free: int | None = None,
) -> Estimate:
    """The estimate for a model's folder (checked before: `prover.policy.weights.checked`). free: not to be measured."""
    import torch

    base = base_folder(folder)
    config = read_object(base / "config.json")
    stored = [entry for file in weight_files(base) for entry in safetensors_header(file).values()]
    parameters = sum(math.prod(entry["shape"]) for entry in stored)
    quantised = config.get("quantization_config") is not None
    if quantised:  # loaded in the form in which it is stored
        weights = sum(math.prod(entry["shape"]) * _STORED.get(entry["dtype"], 1) for entry in stored)
        weights = int(weights)
    else:
        weights = int(parameters * BYTES[dtype])
    return _with_batch(
        parameters,
        "its quantised form" if quantised else dtype,
        weights,
        Shape.of(config),
        free_bytes(torch.device(device)) if free is None else free,
        (states, candidates, prompt_tokens, tactic_tokens),
    )


def _with_batch(
    parameters: int, dtype: str, weights: int, shape: Shape, free: int, batch: tuple[int, int, int, int]
) -> Estimate:
    states, candidates, prompt_tokens, tactic_tokens = batch
    width = 4 if dtype == "float32" else 2
    slots = states * (prompt_tokens + candidates * tactic_tokens)
    return Estimate(
        parameters=parameters,
        dtype=dtype,
        weights=weights,
        cache=slots * shape.cache_bytes_per_token(width),
        logits=states * candidates * shape.logits_bytes(),
        activations=states * prompt_tokens * shape.encode_bytes_per_token(width),
        free=free,
        states=states,
        candidates=candidates,
        prompt_tokens=prompt_tokens,
    )


def what_would_fit(wanted: Estimate, shape: Shape, tactic_tokens: int = 48) -> list[str]:
    """Changes that make it fit, each alone: a smaller dtype, quantised weights, smaller batches, fewer candidates."""
    found = []
    batch = (wanted.states, wanted.candidates, wanted.prompt_tokens, tactic_tokens)
    for dtype in ("bfloat16", "int8", "int4"):
        if wanted.dtype in BYTES and BYTES[dtype] < BYTES[wanted.dtype]:
            other = _with_batch(
                wanted.parameters, dtype, int(wanted.parameters * BYTES[dtype]), shape, wanted.free, batch
            )
            smallest = replace(other, cache=other.cache // wanted.states, logits=other.logits // wanted.states)
            if replace(smallest, activations=other.activations // wanted.states).fits:
                found.append(f"dtype {dtype} (weights {_size(other.weights)})")
    if wanted.weights_fit:
        for share in (2, 4, 8, 16, 32):
            part = _with_batch(
                wanted.parameters,
                wanted.dtype,
                wanted.weights,
                shape,
                wanted.free,
                (max(1, wanted.states // share), wanted.candidates, wanted.prompt_tokens, tactic_tokens),
            )
            if part.fits:
                found.append(f"batches of {part.states} states")
                break
        for candidates in (4, 2):
            batch = (wanted.states, candidates, wanted.prompt_tokens, tactic_tokens)
            part = _with_batch(wanted.parameters, wanted.dtype, wanted.weights, shape, wanted.free, batch)
            if candidates < wanted.candidates and part.fits:
                found.append(f"{candidates} candidates")
                break
    return found


def require_weights_fit(folder: Path, dtype: str, device: str) -> Estimate:
    """The estimate; PolicyLoadError where the weights alone do not fit, with what would."""
    wanted = estimate(folder, dtype, device)
    if not wanted.weights_fit:
        fitting = what_would_fit(wanted, Shape.of(read_object(base_folder(folder) / "config.json")))
        advice = f"what would fit: {'; '.join(fitting)}" if fitting else "nothing that can be set here makes it fit"
        raise PolicyLoadError(
            f"{folder} does not fit into the memory of {device}: {wanted.sentence()}; {advice}; or serve the model "
            "elsewhere and give its address"
        )
    return wanted


def free_bytes(device: "torch.device") -> int:
    """Free memory of a device, bytes; of the machine's, what this process's control group leaves, where it limits."""
    import psutil
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    root = Path("/sys/fs/cgroup")
    try:
        limit = (root / "memory.max").read_text("ascii").strip()
        used = int((root / "memory.current").read_text("ascii"))
        for line in (root / "memory.stat").read_text("ascii").splitlines():
            if line.startswith("inactive_file "):  # cached files, which give way
                used -= int(line.split()[1])
    except (OSError, ValueError, IndexError):
        return free
    return min(free, max(0, int(limit) - used)) if limit.isdigit() else free


def _size(number: int) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB / 10 else f"{number / 2**20:.0f} MiB"


_SIZES = {
    "0.135B (SmolLM2)": (134_515_008, Shape(576, 30, 9, 192, 1536, 49152)),
    "1.5B (Qwen2.5)": (1_543_714_304, Shape(1536, 28, 12, 256, 8960, 151936)),
    "7B (DeepSeek-Prover-V2)": (6_910_365_696, Shape(4096, 30, 32, 4096, 11008, 102400)),
    "8B (Llama 3.1)": (8_030_261_248, Shape(4096, 32, 32, 1024, 14336, 128256)),
    "32B (Qwen2.5)": (32_763_876_352, Shape(5120, 64, 40, 1024, 27648, 152064)),
}
"""Parameters and shapes as the models' config.json files say."""


def table(dtypes: Sequence[str] = ("float32", "bfloat16", "int8", "int4")) -> str:
    """Markdown: memory per size and dtype, GiB, for 32 states x 8 candidates with prompts of 512 tokens."""
    lines = [
        "| model | dtype | weights | keys and values | logits | activations | together |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (parameters, shape) in _SIZES.items():
        for dtype in dtypes:
            made = _with_batch(parameters, dtype, int(parameters * BYTES[dtype]), shape, 0, (32, 8, 512, 48))
            parts = (made.weights, made.cache, made.logits, made.activations, made.total)
            lines.append(f"| {name} | {dtype} | " + " | ".join(f"{part / GIB:.1f}" for part in parts) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, or the estimate for one folder."""
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--dtype", default="bfloat16", choices=sorted(BYTES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.folder is None:
        print(table())
        return
    made = estimate(options.folder, options.dtype, options.device)
    if options.json:
        print(json.dumps({"weights": made.weights, "total": made.total, "free": made.free, "fits": made.fits}))
        return
    print(made.sentence())
    fitting = what_would_fit(made, Shape.of(read_object(base_folder(options.folder) / "config.json")))
    if not made.fits:
        print(f"does not fit; what would: {'; '.join(fitting) or 'nothing that can be set here'}")


if __name__ == "__main__":
    main()
