"""What training the energy head costs, and what a plain training loop would cost. Prints tables; ratios are of one run.

    python benchmarks/ebm_train.py                          everything that this machine can do, a few minutes
    python benchmarks/ebm_train.py --only step,plain        some parts; --width, --threads, --cache-gib, ...
    python benchmarks/ebm_train.py --only gpu              the 50,000 steps of the seed configuration on a GPU

Parts:
    shapes    shapes in and out, parameters, size of a checkpoint, convergence on synthetic states
    step      a training step of the seed configuration against its bare matrix products, and where its time goes
    gather    sampling and gathering from a memory-mapped cache, as a share of the step
    memory    peak resident memory while training on a cache file of 10 GiB (sparse)
    plain     a plain training loop: examples drawn one by one in Python, `fresh` spectral norms, vectors
              kept state by state, as lists of floats (as the first specification passes them) or arrays;
              against ours with float32 and with bfloat16 matrix products
    score     states scored per second
    gpu       steps per second with and without a CUDA graph

Targets that are missed are marked, and the exit code is 1.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ebm_train_data import FINGERPRINT, SEED_CONFIG, synthetic_states, write_cache
from ebm_train_plain import run_plain
from ebm_train_timing import clock, console, interleaved, judged, missed, show
from torch import Tensor, nn

from ebm.embeddings import EmbeddingCache
from ebm.inference import EBMScorer
from ebm.model import EnergyHead, EnergyHeadConfig
from ebm.training import (
    ContrastiveIndex,
    ContrastiveSampler,
    EBMTrainingConfig,
    depth_regression_loss,
    info_nce_loss,
    train,
)
from ebm.training.features import BatchFeeder, features_of
from ebm.training.step import TrainingStep

PARTS = ("shapes", "step", "gather", "memory", "plain", "score", "gpu")
MAX_STEP_OVER_PRODUCTS = 1.43
MAX_GATHER_SHARE = 0.05
MAX_RESIDENT_GIB = 1.5
MAX_GPU_SECONDS = 30.0


# -- parts ---------------------------------------------------------------------------------------------------------


def run_shapes(arguments: argparse.Namespace) -> None:
    torch.manual_seed(0)
    head = EnergyHead(EnergyHeadConfig(arguments.width))
    batch = torch.randn(8, arguments.width)
    rows = [
        ("embeddings -> energies", f"{tuple(batch.shape)} -> {tuple(head(batch).shape)}"),
        ("parameters", f"{head.n_parameters:,}"),
    ]
    states = synthetic_states(2_000)
    vectors = np.random.default_rng(0).normal(size=(2_000, 384)).astype(np.float32)
    vectors[(states["label"] == "positive").to_numpy(), :8] += 1.0
    sampler = ContrastiveSampler(ContrastiveIndex.from_states(states), 4)
    with tempfile.TemporaryDirectory() as folder:
        config = EBMTrainingConfig(total_steps=400, lr=1e-3, warmup_steps=40)
        small, started = EnergyHead(EnergyHeadConfig(384)), clock()
        result = train(config, small, vectors, sampler, output=folder)
        taken = clock() - started
        for step, metrics in result.history:
            if step in (50, 200, 400):
                rows.append((f"synthetic states, width 384, step {step}", metrics.display()))
        rows.append(("synthetic states, steps per second", f"{result.step / taken:.0f}"))
        config = EBMTrainingConfig(total_steps=2, warmup_steps=1)
        table = np.random.default_rng(0).normal(size=(2_000, arguments.width)).astype(np.float32)
        train(config, head, table, sampler, output=folder)
        for name in ("model.safetensors", "optimizer.safetensors"):
            size = (Path(folder) / name).stat().st_size
            rows.append((f"checkpoint of width {arguments.width}: {name}", f"{size / 2**20:.1f} MiB"))
    show("Shapes, sizes, convergence", rows)


def bare_products(head: EnergyHead, n_rows: int) -> Callable[[], None]:
    """The matrix products that a step must do (forward, backward, power iteration), into outputs made before."""
    layers = [layer.weight.detach().clone() for layer in (head.sn_linear1, head.sn_linear2, head.sn_linear3)]
    inputs = [torch.randn(n_rows, weight.shape[1]) for weight in layers]
    grads = [torch.randn(n_rows, weight.shape[0]) for weight in layers]
    out_forward = [torch.empty_like(grad) for grad in grads]
    out_weight = [torch.empty_like(weight) for weight in layers]
    out_input = [torch.empty_like(x) for x in inputs]
    us = [torch.randn(weight.shape[0]) for weight in layers]
    vs = [torch.randn(weight.shape[1]) for weight in layers]
    n_power = head.config.n_power_iterations

    def run() -> None:
        for i, weight in enumerate(layers):
            for _ in range(n_power):
                torch.mv(weight, vs[i], out=us[i])
                us[i].mul_(0.01)
                torch.mv(weight.t(), us[i], out=vs[i])
            torch.mm(inputs[i], weight.t(), out=out_forward[i])
            torch.mm(grads[i].t(), inputs[i], out=out_weight[i])
            if i:  # nobody needs the gradient of the embeddings
                torch.mm(grads[i], weight, out=out_input[i])

    return run


def new_step(width: int, device: torch.device, config: EBMTrainingConfig = SEED_CONFIG) -> TrainingStep:
    torch.manual_seed(0)
    step = TrainingStep(EnergyHead(EnergyHeadConfig(width)).to(device).train(), config, config.k_negatives, device)
    step.inputs.normal_()
    step.remaining_depth.random_(0, 10)
    return step


def run_step(arguments: argparse.Namespace) -> None:
    step = new_step(arguments.width, torch.device("cpu"))
    products = bare_products(step.head, len(step.inputs))

    def forward_backward() -> None:
        energies = step.head(step.inputs).view(step.shape)
        loss = info_nce_loss(energies[:, 0], energies[:, 1:])
        (loss + 0.3 * depth_regression_loss(energies[:, 0], step.remaining_depth)).backward()

    def forward() -> Tensor:
        return step.head(step.inputs)

    times = interleaved(
        {
            "step": lambda: step.run(1e-5),
            "products": products,
            "forward": forward,
            "forward and backward": forward_backward,
            "clipping": lambda: nn.utils.clip_grad_norm_(step.head.parameters(), 1.0),
            "AdamW": step.optimizer.step,
        },
        arguments.rounds,
        arguments.repeats,
    )
    ratio = times["step"] / times["products"]
    show(
        f"A step on {torch.get_num_threads()} thread(s), width {arguments.width}, batch 32, K 4",
        [
            ("whole step", f"{times['step'] * 1e3:.2f} ms, {1 / times['step']:.0f} steps per second"),
            ("bare matrix products alone", f"{times['products'] * 1e3:.2f} ms"),
            ("step / bare products", judged("step", ratio, MAX_STEP_OVER_PRODUCTS, f"{ratio:.2f}")),
            ("forward (with graph)", f"{times['forward'] * 1e3:.2f} ms"),
            ("backward and losses", f"{(times['forward and backward'] - times['forward']) * 1e3:.2f} ms"),
            ("clipping", f"{times['clipping'] * 1e3:.2f} ms"),
            ("AdamW", f"{times['AdamW'] * 1e3:.2f} ms"),
        ],
    )


def run_gather(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as root:
        cache = write_cache(Path(root), arguments.vectors, arguments.width, sparse=False)
        sampler = ContrastiveSampler(ContrastiveIndex.from_states(synthetic_states(arguments.vectors)), 4)
        features = features_of(cache, sampler.index)
        feeder = BatchFeeder(features, torch.device("cpu"))
        step = new_step(arguments.width, torch.device("cpu"))
        block = 64
        for start in range(0, arguments.vectors, 4096):  # the file into the page cache
            cache.gather(np.arange(start, min(start + 4096, arguments.vectors)))
        counter = iter(range(10**9))

        def sample() -> None:
            sampler.draw(block * SEED_CONFIG.batch_size, next(counter))

        def gather() -> None:
            place = next(counter) % block
            if place == 0:
                feeder.load(sampler.draw(block * SEED_CONFIG.batch_size, next(counter)).rows.reshape(block, -1))
            feeder.batch(place, step.inputs)

        feeder.load(sampler.draw(block * SEED_CONFIG.batch_size, 0).rows.reshape(block, -1))
        times = interleaved(
            {"step": lambda: step.run(1e-5), "both": gather, "draw": sample},
            arguments.rounds,
            max(block, arguments.repeats),
        )
    share = times["both"] / (times["step"] + times["both"])
    show(
        f"Sampling and gathering, {arguments.vectors:,} memory-mapped vectors, page cache warm",
        [
            ("sampling and gathering, per step", f"{times['both'] * 1e3:.3f} ms"),
            ("of that sampling", f"{times['draw'] / block * 1e3:.3f} ms"),
            ("the step itself", f"{times['step'] * 1e3:.2f} ms"),
            ("share of a step", judged("gather", share, MAX_GATHER_SHARE, f"{share:.3f}")),
        ],
    )


def run_memory(arguments: argparse.Namespace) -> None:
    if not Path("/proc/self/status").exists():
        show("Resident memory", [("peak", "this system has no /proc: not measured")])
        return
    n = int(arguments.cache_gib * 2**30 / (arguments.width * 4))
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as root:
        write_cache(Path(root), n, arguments.width, sparse=True)
        command = [
            sys.executable,
            __file__,
            "--child-memory",
            root,
            "--vectors",
            str(n),
            "--width",
            str(arguments.width),
        ]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    peak, base, steps = int(answer[0]), int(answer[1]), int(answer[2])
    batch = SEED_CONFIG.batch_size * (1 + SEED_CONFIG.k_negatives) * arguments.width * 4
    above = (peak - batch) / 2**30
    show(
        f"Resident memory, training {steps} steps on a cache file of {arguments.cache_gib:g} GiB ({n:,} vectors)",
        [
            ("after the imports", f"{base / 2**30:.2f} GiB"),
            ("peak of the process", f"{peak / 2**30:.2f} GiB"),
            ("the batch's own data", f"{batch / 2**20:.1f} MiB"),
            ("peak above the batch's data", judged("memory", above, MAX_RESIDENT_GIB, f"{above:.2f} GiB")),
        ],
    )


def child_memory(root: str, n: int, width: int) -> None:
    """Train on the cache in `root` and print peak and starting resident memory, bytes."""

    def peak() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    base = peak()
    steps = 300
    cache = EmbeddingCache(root, FINGERPRINT, width)
    index = ContrastiveIndex(synthetic_states(n))
    config = replace(SEED_CONFIG, total_steps=steps, standardise_inputs=True)
    train(config, EnergyHead(EnergyHeadConfig(width)), cache, ContrastiveSampler(index, 4))
    print(peak(), base, steps)


class _Encoder:
    """Answers at once, so that only the head and the bookkeeping are timed."""

    def __init__(self, width: int) -> None:
        self.hidden_size = width
        self.table = np.random.default_rng(0).standard_normal((4096, width), dtype=np.float32)

    def generate(self, states: list[str], n_candidates: int) -> list:
        raise NotImplementedError

    def encode_only(self, states: list[str]) -> np.ndarray:
        return self.table[: len(states)]


def run_score(arguments: argparse.Namespace) -> None:
    rows = []
    for width in sorted({384, arguments.width}):
        head = EnergyHead(EnergyHeadConfig(width))
        scorer = EBMScorer(head, _Encoder(width), batch_size=256)
        vectors = scorer.encoder.generator.table  # type: ignore[attr-defined]
        counter = iter(range(10**9))
        times = interleaved(
            {
                "head": lambda scorer=scorer, vectors=vectors: scorer.energies_of_vectors(vectors),
                "new": lambda scorer=scorer, counter=counter: scorer.score_states(
                    [f"⊢ p{next(counter)}" for _ in range(256)]
                ),
                "known": lambda scorer=scorer: scorer.score_states([f"⊢ p{i}" for i in range(256)]),
            },
            arguments.rounds,
            2,
        )
        rows += [
            (f"width {width}: head alone, vectors at hand", f"{len(vectors) / times['head']:,.0f} states per second"),
            (
                f"width {width}: score_states, new states, encoder excluded",
                f"{256 / times['new']:,.0f} states per second",
            ),
            (f"width {width}: score_states, states seen before", f"{256 / times['known']:,.0f} states per second"),
        ]
    show(f"Scoring on {torch.get_num_threads()} thread(s)", rows)


def run_gpu(arguments: argparse.Namespace) -> None:
    if not torch.cuda.is_available():
        show("GPU", [("50,000 steps of the seed configuration", "no CUDA device on this machine: not measured")])
        return
    n = 20_000
    sampler = ContrastiveSampler(ContrastiveIndex.from_states(synthetic_states(n)), 4)
    table = np.random.default_rng(0).standard_normal((n, arguments.width), dtype=np.float32)
    rows = [("device", torch.cuda.get_device_name())]
    for graph in (False, True):
        config = replace(SEED_CONFIG, cuda_graph=graph, total_steps=arguments.gpu_steps)
        head = EnergyHead(EnergyHeadConfig(arguments.width))
        train(replace(config, total_steps=50), head, table, sampler, "cuda")
        torch.cuda.synchronize()
        started = time.perf_counter()
        train(config, head, table, sampler, "cuda")
        torch.cuda.synchronize()
        taken = time.perf_counter() - started
        whole = taken * 50_000 / arguments.gpu_steps
        text = f"{whole:.1f} s for 50,000 steps, {arguments.gpu_steps / taken:.0f} per second"
        rows.append(
            ("CUDA graph" if graph else "eager", judged("gpu", whole, MAX_GPU_SECONDS, text) if graph else text)
        )
    show("GPU, seed configuration", rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="comma-separated parts")
    parser.add_argument("--width", type=int, default=4096, help="width of an embedding")
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves them as they are")
    parser.add_argument(
        "--vectors", type=int, default=200_000, help="vectors in the memory-mapped cache of the gather part"
    )
    parser.add_argument("--cache-gib", type=float, default=10.0, help="size of the cache file of the memory part")
    parser.add_argument("--rounds", type=int, default=9, help="rounds; the least disturbed one counts")
    parser.add_argument("--repeats", type=int, default=10, help="calls per round")
    parser.add_argument("--gpu-steps", type=int, default=50_000)
    parser.add_argument("--scratch", default=None, help="folder for the cache files; default the temporary folder")
    parser.add_argument("--child-memory", default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child_memory:
        child_memory(arguments.child_memory, arguments.vectors, arguments.width)
        return 0
    parts = arguments.only.split(",")
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown parts {unknown}; known: {', '.join(PARTS)}")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    runs = {
        "shapes": run_shapes,
        "step": run_step,
        "gather": run_gather,
        "memory": run_memory,
        "plain": run_plain,
        "score": run_score,
        "gpu": run_gpu,
    }
    for part in parts:
        runs[part](arguments)
    for line in missed:
        console.print(f"missed: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
