"""Time and peak memory against rows, with the fitted slope: `python benchmarks/scale.py [--rows 10000 100000 ...]`.

Each step runs in a process of its own, so that its peak memory is its own: writing trajectories, the scan of a resumed
search, reading, reading with labels merged, the sampler of training examples, the summary, and the embedding cache
(append, look up, gather). The slope is that of log(processor seconds) against log(rows) over the two largest sizes: 1
is linear. A step whose slope is above 1.05 is marked, and the exit code is 1. `write` includes making the rows; how
much of it that is, is printed as `make_rows`.

`--vectors 1000000x512 ...` measures the embedding cache at full size instead (scale_vectors.py). `--iterations N` adds
finding the next of N iterations in one Dagster instance. `--width` is that of the vectors: ten million of them take
20 GB of disk at the default width, and 2.5 GB at 64. `--steps write,summary` chooses steps: those that read need
`write`, or `write_columns`, which makes the same files in less time and is left out otherwise.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

LARGEST_SLOPE = 1.05
NODES_PER_THEOREM = 50
FINGERPRINT = "ef" * 32


def theorem(i: int, n_nodes: int):
    """Rows of one searched theorem with `n_nodes` nodes, two tactics each. One state in ten is met in others too."""
    from prover.trajectory.schema import AttemptRecord, SummaryRecord, TheoremRows, TrajectoryRecord

    first, name = i * n_nodes, f"t{i}"
    nodes = [
        TrajectoryRecord(
            theorem_name=name, state_id=first + j, state_pp=f"h : p{first + j} ∧ q\n⊢ p{j % 9}",
            tactic_applied="exact h", parent_state_id=None if j == 0 else first + j // 2,
            label="positive" if j % 3 else "negative", depth_from_root=j.bit_length(),
            remaining_depth=8 - j.bit_length() if j % 3 else -1, llm_log_prob=-0.1 * j, ebm_score=None,
            is_proof_complete=False, timestamp_ms=1_790_000_000_000, iteration=0, search_id="scale",
            state_key=f"{(first + j) // 16 if j % 10 == 9 else first + j:032x}", n_goals=1, expanded=j % 2 == 0,
            environment="none", policy_id="none", ebm_id=None, seed=0,
        )
        for j in range(n_nodes)
    ]  # fmt: skip
    attempts = [
        AttemptRecord(
            theorem_name=name, search_id="scale", parent_state_id=first + j // 2, expansion=j // 8, rank=j % 8,
            tactic=f"tactic {j}", log_prob=-0.1 * j, outcome="progress", message="", elapsed_ms=1.5,
            child_state_id=None, new_node=False,
        )
        for j in range(2 * n_nodes)
    ]  # fmt: skip
    summary = SummaryRecord(
        theorem_name=name, statement=": p", header="", split="train", difficulty=1, search_id="scale", iteration=0,
        proved=True, claimed=True, certified=True, ended="proved", reason="", proof=("exact h",),
        expansions_to_proof=9, nodes=n_nodes, expansions=n_nodes // 2, tactics=2 * n_nodes, claims=1,
        max_expansions=64, n_candidates=8, mode="policy-mean", wall_ms=9.0, model_ms=3.0, lean_ms=5.0, own_ms=1.0,
        environment="none", policy_id="none", ebm_id=None, seed=0, timestamp_ms=1_790_000_000_000,
    )  # fmt: skip
    return TheoremRows(nodes, attempts, summary)


def make_rows(folder: Path, n: int) -> None:
    """What `write` spends on its own made-up rows."""
    for i in range(max(1, n // NODES_PER_THEOREM)):
        theorem(i, NODES_PER_THEOREM)


def write(folder: Path, n: int) -> None:
    from prover.trajectory import TrajectoryWriter

    count = max(1, n // NODES_PER_THEOREM)
    with TrajectoryWriter(folder / "t.parquet", search_id="scale", order=[f"t{i}" for i in range(count)]) as writer:
        for i in range(count):
            writer.add(theorem(i, NODES_PER_THEOREM))
        writer.finish()


def write_columns(folder: Path, n: int) -> None:
    """Files such as `write` leaves, made in columns: ten million rows in a minute or so, to measure what reads them."""
    import polars as pl

    from prover.trajectory.part_files import write_parquet
    from prover.trajectory.schema import KINDS, sibling_path

    per, chunk = NODES_PER_THEOREM, 1000 * NODES_PER_THEOREM

    def common(names: pl.Expr) -> list[pl.Expr]:
        words = {"environment": "none", "policy_id": "none", "search_id": "scale"}
        return [names.alias("theorem_name"), *(pl.lit(word).alias(name) for name, word in words.items())]

    def nodes(first: int, count: int) -> pl.DataFrame:
        i, j = pl.col("i"), pl.col("i") % per
        known = j % 3 != 0
        depth = (j + 1).log(2).ceil().cast(pl.UInt32)
        key = pl.when(j % 10 == 9).then(i // 16).otherwise(i).cast(pl.String).str.zfill(32)
        return pl.DataFrame({"i": np.arange(first, first + count)}).select(
            *common(pl.format("t{}", i // per)),
            state_id=i, state_pp=pl.format("h : p{} ∧ q\n⊢ p{}", i, j % 9), tactic_applied=pl.lit("exact h"),
            parent_state_id=pl.when(j > 0).then(i - j + j // 2), depth_from_root=depth,
            label=pl.when(known).then(pl.lit("positive")).otherwise(pl.lit("negative")),
            remaining_depth=pl.when(known).then(8 - depth.cast(pl.Int32)).otherwise(-1), llm_log_prob=-0.1 * j,
            ebm_score=None, is_proof_complete=False, timestamp_ms=1_790_000_000_000, iteration=0, state_key=key,
            n_goals=1, expanded=j % 2 == 0, ebm_id=None, seed=0,
        )  # fmt: skip

    def attempts(first: int, count: int) -> pl.DataFrame:
        i, j = pl.col("i"), pl.col("i") % (2 * per)
        return pl.DataFrame({"i": np.arange(2 * first, 2 * (first + count))}).select(
            *common(pl.format("t{}", i // (2 * per))), parent_state_id=i // 2, expansion=j // 8, rank=j % 8,
            tactic=pl.format("tactic {}", j), log_prob=-0.1 * j, outcome=pl.lit("progress"), message=pl.lit(""),
            elapsed_ms=1.5, child_state_id=None, new_node=False,
        )  # fmt: skip

    def summaries(first: int, count: int) -> pl.DataFrame:
        row = theorem(0, per).summary
        values = {name: getattr(row, name) for name in KINDS["summary"].names if name != "theorem_name"}
        ids = np.arange(first // per, (first + count) // per)
        frame = pl.DataFrame({"i": ids}).select(pl.format("t{}", "i").alias("theorem_name"))
        columns = [pl.lit(value).alias(name) for name, value in values.items() if name != "proof"]
        return frame.with_columns(*columns, pl.lit(pl.Series([list(values["proof"])])).first().alias("proof"))

    made = {"nodes": nodes, "attempts": attempts, "summary": summaries}
    for kind, schema in KINDS.items():
        tables = (
            made[kind](first, min(chunk, n - first)).select(schema.names).to_arrow().cast(schema)
            for first in range(0, n, chunk)
        )
        write_parquet(sibling_path(folder / "t.parquet", kind), tables, schema)


def resume(folder: Path, n: int) -> None:
    from prover.trajectory import TrajectoryWriter

    count = max(1, n // NODES_PER_THEOREM)
    order = [f"t{i}" for i in range(count)]  # as a search gives it
    writer = TrajectoryWriter(folder / "t.parquet", search_id="scale", order=order, resume=True)
    assert len(writer.finished) == count
    writer.finish()


def read(folder: Path, n: int) -> None:
    from ebm.training.records import load_states

    assert len(load_states([folder / "t.parquet"])) >= n - NODES_PER_THEOREM


def merge_labels(folder: Path, n: int) -> None:
    from ebm.training.records import load_states, merge_labels

    merged = merge_labels(load_states([folder / "t.parquet"]))
    assert set(merged["label"].unique()) == {"positive", "negative"}


def sampler(folder: Path, n: int) -> None:
    """The index of all states, and batches of examples drawn from it: one example for each hundred states."""
    from ebm.training.data import ContrastiveIndex, ContrastiveSampler
    from ebm.training.records import load_states

    drawn = ContrastiveSampler(ContrastiveIndex.from_states(load_states([folder / "t.parquet"])))
    for stream in range(max(1, n // 25_600)):
        assert drawn.draw(256, stream).negatives.shape == (256, 4)


def summary(folder: Path, n: int) -> None:
    from prover.trajectory import summarize

    assert summarize(folder / "t.parquet")["nodes"] >= n - NODES_PER_THEOREM


def _keys(first: int, last: int) -> list[str]:
    return [f"{i:032x}" for i in range(first, last)]


def _batches(n: int) -> Iterator[tuple[int, int]]:
    for first in range(0, n, 4096):
        yield first, min(first + 4096, n)


def append(folder: Path, n: int, width: int) -> None:
    from ebm.embeddings import EmbeddingCache

    draw = np.random.default_rng(0)
    with EmbeddingCache(folder, FINGERPRINT, width, flush_rows=16_384) as cache:
        for first, last in _batches(n):
            cache.add(_keys(first, last), draw.random((last - first, width), dtype=np.float32) + 0.1)


def look_up(folder: Path, n: int, width: int) -> None:
    from ebm.embeddings import EmbeddingCache

    cache = EmbeddingCache(folder, FINGERPRINT, width)
    for first, last in _batches(n):
        assert cache.rows_of(_keys(first, last))[-1] == last - 1


def gather(folder: Path, n: int, width: int) -> None:
    from ebm.embeddings import EmbeddingCache

    cache = EmbeddingCache(folder, FINGERPRINT, width)
    draw, out = np.random.default_rng(1), np.empty((4096, width), dtype=np.float32)
    for _ in _batches(n):
        cache.gather(draw.integers(0, n, 4096), out)


def next_of_many(folder: Path, n: int) -> None:
    """The next of n finished iterations; n counts iterations here."""
    import dagster as dg

    from prover_assets.operate.next import _files, next_iteration
    from prover_assets.store.iterations import iteration_key
    from prover_assets.store.layout import DataFolder

    data = DataFolder(folder / "data")
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        if not (folder / "made").exists():
            for i in range(n):
                key = iteration_key(i)
                instance.add_dynamic_partitions("iteration", [key])
                for name, path in _files(data, data.iteration(key)).items():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch()
                    instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=key))
            (folder / "made").touch()
        began = time.perf_counter()
        assert next_iteration(instance, data).key == iteration_key(n)
        print(f"finding the next of {n} iterations: {1000 * (time.perf_counter() - began):.0f} ms")


STEPS: dict[str, Callable[[Path, int], None]] = {
    "make_rows": make_rows,
    "write": write,
    "write_columns": write_columns,
    "resume": resume,
    "read": read,
    "merge_labels": merge_labels,
    "sampler": sampler,
    "summary": summary,
}
VECTOR_STEPS: dict[str, Callable[[Path, int, int], None]] = {"append": append, "look_up": look_up, "gather": gather}
ALL_STEPS = [*STEPS, *VECTOR_STEPS]


def measured(step: str, folder: Path, n: int, width: int) -> dict[str, float]:
    """Run one step in a process of its own: wall and processor seconds beyond an empty run, peak memory in MiB."""
    span = ["--folder", str(folder), "--rows", str(n), "--width", str(width)]
    command = [sys.executable, __file__, "--step", step, *span]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run_step(step: str, folder: Path, n: int, width: int) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    if step in VECTOR_STEPS:
        VECTOR_STEPS[step](folder, n, width)
    else:
        STEPS[step](folder, n)
    figures = {
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(figures))


def table_of(rows: list[int], steps: list[str], width: int) -> bool:
    """Print the table of steps against rows; returns whether one of them is steeper than linear."""
    table: dict[str, list[dict[str, float]]] = {step: [] for step in steps}
    for n in rows:
        with tempfile.TemporaryDirectory(prefix="scale-") as name:
            for step in steps:
                table[step].append(measured(step, Path(name), n, width))
                figures = table[step][-1]
                print(f"{n:,} {step}: {figures['cpu_s']:.2f} s, {figures['peak_mib']:.0f} MiB", file=sys.stderr)
    print(f"{'step':14}" + "".join(f"{n:>24,}" for n in rows) + "   slope")
    steep = False
    for step, found in table.items():
        slope = math.nan
        if len(found) > 1 and min(row["cpu_s"] for row in found[-2:]) > 0:
            grown = math.log(found[-1]["cpu_s"] / found[-2]["cpu_s"])
            slope = grown / math.log(rows[-1] / rows[-2])
        steep = steep or slope > LARGEST_SLOPE
        cells = "".join(f"{row['cpu_s']:>11.2f} s {row['peak_mib']:>7.0f} MiB" for row in found)
        print(f"{step:14}{cells}{slope:8.2f}{' too steep' if slope > LARGEST_SLOPE else ''}", flush=True)
    return steep


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--steps", type=lambda text: text.split(","), default=[step for step in ALL_STEPS if step != "write_columns"]
    )
    parser.add_argument("--width", type=int, default=512, help="of the embedding cache's vectors")
    parser.add_argument("--vectors", nargs="+", metavar="ROWSxWIDTH")
    parser.add_argument("--iterations", type=int, default=0)
    parser.add_argument("--step", choices=ALL_STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        run_step(options.step, options.folder, options.rows[0], options.width)
        return 0
    if options.vectors:
        import scale_vectors

        return scale_vectors.run(options.vectors)
    unknown = set(options.steps) - set(ALL_STEPS)
    if unknown:
        parser.error(f"unknown steps {', '.join(sorted(unknown))}; expected some of {', '.join(ALL_STEPS)}")
    steep = table_of(options.rows, options.steps, options.width)
    if options.iterations:
        with tempfile.TemporaryDirectory(prefix="scale-") as name:
            next_of_many(Path(name), options.iterations)
    return int(steep)


if __name__ == "__main__":
    sys.exit(main())
