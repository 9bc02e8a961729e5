"""How many GPUs, cores and GiB of memory a night's theorems need, and what saturates first, from measured costs.

    python benchmarks/what_to_buy.py --theorems 1000 --hours 8 --expansions 128 --candidates 8 \\
        --prompt-tokens 400 --tactic-tokens 24 --gpu-prompt-tokens-per-s 20000 --gpu-new-tokens-per-s 2500 \\
        --lean-ms-per-tactic 60 --lean-gib 5 --driver-ms-per-theorem 20

No cost has a default. Tokens per second: benchmark your server or card with your model. Lean's milliseconds per
tactic: `benchmarks/lean_step.py` in your project. The driver's milliseconds per theorem: `benchmarks/scale_out.py`.
Expansions per theorem: the mean of `prover summary` over a first search. Waiting is left out, because a search batches
well: buy a fifth more than this says.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Costs:
    """What a night costs, in seconds of each thing."""

    gpu_s: float
    lean_s: float
    driver_s: float


def costs(
    theorems: int,
    expansions: float,
    candidates: int,
    prompt_tokens: float,
    tactic_tokens: float,
    gpu_prompt_tokens_per_s: float,
    gpu_new_tokens_per_s: float,
    lean_ms_per_tactic: float,
    driver_ms_per_theorem: float,
) -> Costs:
    """Seconds of one GPU, one Lean process and the driver. An expansion is one prompt and `candidates` tactics."""
    asked = theorems * expansions
    gpu = asked * (prompt_tokens / gpu_prompt_tokens_per_s + candidates * tactic_tokens / gpu_new_tokens_per_s)
    return Costs(gpu, asked * candidates * lean_ms_per_tactic / 1000, theorems * driver_ms_per_theorem / 1000)


def main(
    theorems: Annotated[int, typer.Option(help="Theorems per night.")],
    hours: Annotated[float, typer.Option(help="Length of the night (hours).")],
    expansions: Annotated[float, typer.Option(help="Expansions per theorem, mean.")],
    candidates: Annotated[int, typer.Option(help="Tactics per expansion.")],
    prompt_tokens: Annotated[float, typer.Option(help="Tokens of a prompt, mean.")],
    tactic_tokens: Annotated[float, typer.Option(help="Tokens of a tactic, mean.")],
    gpu_prompt_tokens_per_s: Annotated[float, typer.Option(help="Prompt tokens that one GPU reads per second.")],
    gpu_new_tokens_per_s: Annotated[float, typer.Option(help="Tokens that one GPU writes per second, in batches.")],
    lean_ms_per_tactic: Annotated[float, typer.Option(help="Time of one Lean process per tactic (ms).")],
    lean_gib: Annotated[float, typer.Option(help="Memory of one Lean process with its imports (GiB).")],
    driver_ms_per_theorem: Annotated[float, typer.Option(help="CPU time of the driver per theorem (ms).")],
) -> None:
    """Print what the night takes."""
    found = costs(
        theorems,
        expansions,
        candidates,
        prompt_tokens,
        tactic_tokens,
        gpu_prompt_tokens_per_s,
        gpu_new_tokens_per_s,
        lean_ms_per_tactic,
        driver_ms_per_theorem,
    )
    night = hours * 3600
    lean, gpus = math.ceil(found.lean_s / night), math.ceil(found.gpu_s / night)
    table = Table("what", "busy hours of one", "needed", "busy share of what is needed")
    table.add_row("GPU with the policy", f"{found.gpu_s / 3600:.1f}", f"{gpus}", f"{found.gpu_s / night / gpus:.0%}")
    cores = f"{lean} cores, {lean * lean_gib:.0f} GiB"
    table.add_row(
        "Lean process (a core each)", f"{found.lean_s / 3600:.1f}", cores, f"{found.lean_s / night / lean:.0%}"
    )
    table.add_row("driver", f"{found.driver_s / 3600:.2f}", "1", f"{found.driver_s / night:.1%}")
    console = Console()
    console.print(table)
    first = "the GPU" if found.gpu_s >= found.lean_s else "Lean"
    console.print(
        f"With one of each, {first} saturates first. A GPU keeps {found.lean_s / found.gpu_s:.1f} Lean processes busy. "
        f"One driver is enough for {night / (driver_ms_per_theorem / 1000):,.0f} theorems per night."
    )


if __name__ == "__main__":
    typer.run(main)
