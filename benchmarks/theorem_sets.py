"""How long a large theorem set takes to load: `python benchmarks/theorem_sets.py [--theorems N] [--json]`.

Written to a temporary folder and loaded from there, for each kind of file: statements of 50 to 350 characters under a
header, as statements taken from Mathlib are, and entries of 3 KB in the largest layout (NuminaMath-LEAN). Median wall
and processor seconds of three loads, and of three digests, the size of each file, and the peak resident memory of this
process, which also wrote the files.
"""

import argparse
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from prover.theorems import TheoremSet

HEADER = "import Mathlib\nset_option maxHeartbeats 400000\nopen BigOperators Real Nat Topology"
STATEMENTS = (
    "(p q r : Prop) (h : p ∧ (q ∨ r)) : (p ∧ q) ∨ (p ∧ r)",
    "theorem {name} (a b c : ℝ) (h₀ : 0 < a) (h₁ : 0 < b) (h₂ : 0 < c) (h₃ : a + b + c = 3) :\n"
    "    a / (b + c) + b / (c + a) + c / (a + b) ≥ 3 / 2 := by sorry",
    "theorem {name} {{α β : Type*}} [TopologicalSpace α] [TopologicalSpace β] [CompactSpace α] {{f : α → β}}\n"
    "    (hf : Continuous f) (hs : ∀ x, ∃ U ∈ nhds x, Set.InjOn f U) -- locally injective\n"
    "    (s : Finset α) (hsum : ∑ i ∈ s.attach, (1 : ℝ) / (s.card : ℝ) ≤ 1) : ∀ y, (f ⁻¹' {{y}}).Finite := by sorry",
    "∀ ε > (0 : ℝ), ∃ δ > 0, ∀ x : ℝ, |x - 2| < δ → |x ^ 2 - 4| < ε",
)


def rows(n: int) -> list[dict[str, object]]:
    return [
        {
            "name": f"Set.theorem_{i}",
            "statement": STATEMENTS[i % len(STATEMENTS)].format(name=f"Set.theorem_{i}"),
            "header": HEADER,
            "split": "train",
            "file_path": f"Mathlib/Part{i % 97}.lean",
            "line_number": i,
        }
        for i in range(n)
    ]


def numina_row(number: int) -> dict[str, object]:
    """An entry in NuminaMath-LEAN's layout: imports, opens and a comment within the statement, a proof beside it."""
    statement = STATEMENTS[1].format(name=f"algebra_{number}")
    return {
        "uuid": f"00000000-0000-5000-8000-{number:012d}",
        "problem": "Let $x$ be a real number. " * 25,
        "question_type": "proof",
        "formal_statement": f"import Mathlib\n\nopen Nat Real\n\n/- {'Let $x$ be real. ' * 25}-/\n{statement}",
        "formal_proof": "import Mathlib\n" + "  have h : a = a := by rfl\n" * 60,
        "rl_data": {"n_proofs": 0},
        "source": "olympiads",
        "problem_type": "Algebra",
    }


def write_files(folder: Path, n: int) -> dict[str, Path]:
    """The same theorems as JSON Lines, as one JSON document and as Parquet."""
    import polars

    theorems = rows(n)
    files = {kind: folder / f"theorems.{kind}" for kind in ("jsonl", "json", "parquet")}
    files["numina"] = folder / "numina.jsonl"
    with files["numina"].open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(numina_row(i), ensure_ascii=False) + "\n" for i in range(n))
    files["jsonl"].write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in theorems), "utf-8")
    files["json"].write_text(json.dumps({"theorems": theorems}, ensure_ascii=False, indent=1), "utf-8")
    polars.DataFrame(theorems).write_parquet(files["parquet"])
    return files


def seconds(work: Callable[[], object], repetitions: int = 3) -> dict[str, float]:
    """Median wall and processor seconds."""
    walls, processors = [], []
    for _ in range(repetitions):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return {"wall_s": round(statistics.median(walls), 2), "cpu_s": round(statistics.median(processors), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--theorems", type=int, default=100_000, help="theorems in each file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    figures: dict[str, object] = {"theorems": options.theorems, "python": platform.python_version()}
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), options.theorems)
        for kind, path in files.items():
            figures[kind] = seconds(lambda path=path: TheoremSet.load(path)) | {
                "mib": round(path.stat().st_size / 2**20, 1)
            }
        theorems = TheoremSet.load(files["jsonl"]).theorems
    figures["digest"] = seconds(lambda: TheoremSet("copy", theorems).digest)  # a set remembers its own
    unit = 1 if sys.platform == "darwin" else 1024
    figures["peak_memory_mib"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit) >> 20
    if options.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{name:16} {figure}")


if __name__ == "__main__":
    main()
