"""How many states go through the model at once: by memory and padding, not by a fixed number.

A batch is limited by tokens. `Budget` measures once what memory is free and turns it into tokens; `plan` cuts sorted
lengths into batches so that little is padding; `run` halves a batch that the memory did not hold, says so, and keeps
to the smaller size from then on.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch

from prover.policy.base import PolicyError
from prover.policy.memory import Shape, free_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

Result = TypeVar("Result")

FREE_SHARE = {"cpu": 0.25, "gpu": 0.8}
"""Share of the free memory that batches may take; on a CPU, Lean and others live in the same memory."""
CPU_TOKENS = 4096
"""On a CPU larger batches leave its caches and are no faster."""
GPU_TOKENS = 65536
CPU_OVERHEAD = 16
"""What a batch costs beside its tokens, in tokens: little on a CPU, whose work grows with each token."""
GPU_OVERHEAD = 512
"""A GPU takes about as long for one token as for hundreds."""
STEPS = 16
"""Steps of a usual tactic: proposing tactics runs the model this often for each batch."""


class BatchTooLargeError(PolicyError):
    """One state alone does not fit into the memory."""


@dataclass(slots=True)
class Budget:
    """Tokens of a batch, padding included. Halved for good by each batch that did not fit."""

    encode_tokens: int
    generate_tokens: int
    """Cache slots: prompts, and all tokens that beams try."""
    logits_rows: int
    """Beams of one step, whose logits exist at the same time."""
    overhead: int = CPU_OVERHEAD
    halved: int = 0
    """How often a batch did not fit."""

    def halve(self, what: str) -> None:
        """Take half of that kind of batch from now on."""
        if what == "encode":
            self.encode_tokens = max(1, self.encode_tokens // 2)
        else:
            self.generate_tokens = max(1, self.generate_tokens // 2)
            self.logits_rows = max(1, self.logits_rows // 2)
        self.halved += 1


def measured_budget(model: "PreTrainedModel", given: int | None = None) -> Budget:
    """The budget for a loaded model. given: tokens of a batch, instead of what memory allows."""
    gpu = model.device.type == "cuda"
    most = GPU_TOKENS if gpu else CPU_TOKENS
    shape = Shape.of(model.config)
    memory = int(free_bytes(model.device) * FREE_SHARE["gpu" if gpu else "cpu"])
    width = torch.finfo(model.dtype).bits // 8
    encode = min(most, memory // shape.encode_bytes_per_token(width))
    generate = min(2 * most, memory // 2 // shape.generate_bytes_per_token(width))
    rows = min(4096 if gpu else 1024, memory // 2 // shape.logits_bytes())
    overhead = GPU_OVERHEAD if gpu else CPU_OVERHEAD
    if given is not None:
        encode = generate = given
    return Budget(max(1, encode), max(1, generate), max(1, rows), overhead)


def plan(lengths: Sequence[int], budget: int, overhead: int, most: int | None = None) -> list[range]:
    """Cut sequences, sorted by length, into batches of neighbours. Returns ranges over the sorted sequence.

    lengths: ascending. budget: tokens of a batch, padding included. overhead: cost of a batch in tokens. most:
    sequences of a batch. Of all ways to cut, the one with the least cost is taken: tokens, padding and overheads. A
    sequence longer than the budget is a batch of its own.
    """
    n = len(lengths)
    best = [0.0] + [float("inf")] * n  # least cost of the first i sequences
    cut = [0] * (n + 1)
    for end in range(1, n + 1):
        longest = lengths[end - 1]
        at_once = max(1, min(budget // max(longest, 1), most or n))
        for start in range(end - 1, max(-1, end - 1 - at_once), -1):
            if longest - lengths[start] > overhead:  # it would be better off alone
                break
            cost = best[start] + longest * (end - start) + overhead
            if cost < best[end]:
                best[end], cut[end] = cost, start
    batches = []
    end = n
    while end > 0:
        batches.append(range(cut[end], end))
        end = cut[end]
    return batches[::-1]


def run(what: str, batch: Sequence[int], work: Callable[[Sequence[int]], Result], budget: Budget) -> list[Result]:
    """`work` over a batch of places; in halves where the memory does not hold it, over and over.

    Raises BatchTooLargeError when not even one fits.
    """
    try:
        return [work(batch)]
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).split("\n")[0]
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(batch) == 1:
        raise BatchTooLargeError(
            f"one state alone does not fit into the memory ({what}: {reason}); use fewer candidates or beams, a "
            "smaller max_prompt_tokens, a smaller dtype, or a device with more memory"
        )
    budget.halve(what)
    half = (len(batch) + 1) // 2
    log.warning(
        "out of memory: %s of %d states at once; going on with %d, and with smaller batches from now on",
        "encoding" if what == "encode" else "proposing tactics for",
        len(batch),
        half,
    )
    return [*run(what, batch[:half], work, budget), *run(what, batch[half:], work, budget)]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is the memory's: CUDA's own, Python's, or that of torch's CPU allocator."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return any(sign in text for sign in ("out of memory", "can't allocate memory", "not enough memory"))
