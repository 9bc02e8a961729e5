"""Do the tests notice a fault?  Puts one small fault after another into the code, and counts those that fail no test.

    make mutants [ARGS="--per-file 20 --only ebm/model"]
    python tools/mutants.py [--per-file 12] [--workers 2] [--only PREFIX] [--seed 0] [--list]

A mutant is a file with one fault: a comparison turned around, a condition negated, a number changed, a call left out.
Each is loaded instead of the file in a process of its own, and the tests that belong to the file run until the first
fails. Torch and the other large libraries are loaded once, before the processes branch off: loading them costs more
than most of the tests. `--per-file` mutants of each file are drawn with `--seed`; `--per-file 0` tries all.

A mutant that behaves like the original cannot be noticed; it is listed in tools/equivalent_mutants.txt with the reason.
The exit code is 1 if fewer than 90% of the mutants are killed. Listed mutants do not count as killed.
"""

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENT = ROOT / "tools" / "equivalent_mutants.txt"
WANTED = 0.9
TIMEOUT_S = 240.0
"""A mutant that runs longer is ended, and counts as noticed."""

TRAINING = "tests/ebm/training"
TESTS: dict[str, Sequence[str]] = {
    "ebm/training/config.py": (f"{TRAINING}/test_trainer.py", f"{TRAINING}/test_optimisation.py"),
    "ebm/training/data.py": (f"{TRAINING}/test_data.py", TRAINING),
    "ebm/training/index.py": (f"{TRAINING}/test_data.py", TRAINING),
    "ebm/training/examples.py": (f"{TRAINING}/test_optimisation.py", f"{TRAINING}/test_trainer.py"),
    "ebm/training/features.py": (f"{TRAINING}/test_features.py", TRAINING),
    "ebm/training/from_files.py": (f"{TRAINING}/test_from_files.py", f"{TRAINING}/test_optimisation.py"),
    "ebm/training/held_out.py": (f"{TRAINING}/test_optimisation.py", f"{TRAINING}/test_trainer.py"),
    "ebm/training/interrupt.py": (f"{TRAINING}/test_trainer.py",),
    "ebm/training/loss.py": (f"{TRAINING}/test_loss.py",),
    "ebm/training/metrics.py": (f"{TRAINING}/test_metrics.py", f"{TRAINING}/test_trainer.py"),
    "ebm/training/records.py": (f"{TRAINING}/test_data.py",),
    "ebm/training/resume.py": (f"{TRAINING}/test_trainer.py", f"{TRAINING}/test_from_files.py"),
    "ebm/training/starting.py": (f"{TRAINING}/test_from_files.py",),
    "ebm/training/step.py": (f"{TRAINING}/test_optimisation.py", f"{TRAINING}/test_trainer.py"),
    "ebm/training/trainer.py": (f"{TRAINING}/test_trainer.py", f"{TRAINING}/test_optimisation.py"),
    "ebm/training/window.py": (f"{TRAINING}/test_optimisation.py", f"{TRAINING}/test_trainer.py"),
    "ebm/training/writer.py": (f"{TRAINING}/test_trainer.py", f"{TRAINING}/test_from_files.py"),
    "ebm/model/bridge.py": ("tests/ebm/model/test_bridge.py",),
    "ebm/model/encoder.py": ("tests/ebm/model/test_encoder.py",),
    "ebm/model/energy_head.py": ("tests/ebm/model/test_energy_head.py", f"{TRAINING}/test_trainer.py"),
    "ebm/model/spectral_norm.py": ("tests/ebm/model/test_spectral_norm.py",),
    "ebm/inference.py": ("tests/ebm/test_inference.py", f"{TRAINING}/test_from_files.py"),
    "ebm/calibration.py": ("tests/ebm/test_calibration_evaluation.py",),
    "prover/search/guidance.py": (
        "tests/prover/search/test_config_and_guidance.py",
        "tests/prover/search/test_best_first.py",
        "tests/ebm/test_calibration_evaluation.py",
    ),
    "prover/trajectory/labels.py": ("tests/prover/trajectory/test_labels.py",),
    "prover/environments/certify.py": ("tests/prover/environments/test_certify.py",),
}
"""Mutated file -> tests that should notice, the likeliest first."""

LIBRARIES = ("pytest", "hypothesis", "numpy", "polars", "torch", "scipy.stats", "safetensors.torch", "typer", "rich")


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    path: str
    line: int
    text: str
    """The line as it stands."""
    change: str
    source: str
    """The whole file with the fault."""

    @property
    def name(self) -> str:
        """Without the line's number, which other changes move."""
        return f"{self.path} | {self.text} | {self.change}"


_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}


def variants(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The faults that can be put in place of a node: what they change, and the new node."""
    changed = copy.deepcopy(node)
    if isinstance(changed, ast.Compare) and len(changed.ops) == 1:
        old = type(changed.ops[0])
        changed.ops = [_COMPARISONS[old]()]
        yield f"{old.__name__} -> {type(changed.ops[0]).__name__}", changed
    elif isinstance(changed, ast.BinOp) and type(changed.op) in _ARITHMETIC:
        if not any(isinstance(side, ast.JoinedStr) for side in (changed.left, changed.right)):
            old_op = type(changed.op)
            changed.op = _ARITHMETIC[old_op]()
            yield f"{old_op.__name__} -> {type(changed.op).__name__}", changed
    elif isinstance(changed, ast.BoolOp):
        changed.op = ast.And() if isinstance(changed.op, ast.Or) else ast.Or()
        yield "and <-> or", changed
    elif isinstance(changed, ast.UnaryOp) and isinstance(changed.op, ast.USub | ast.Not | ast.Invert):
        yield "sign or negation dropped", changed.operand
    elif isinstance(changed, ast.IfExp | ast.If | ast.While) and not isinstance(changed.test, ast.Constant):
        changed.test = ast.UnaryOp(ast.Not(), changed.test)
        yield "condition negated", changed
    elif isinstance(changed, ast.Constant) and isinstance(changed.value, bool):
        yield f"{changed.value} -> {not changed.value}", ast.Constant(not changed.value)
    elif isinstance(changed, ast.Constant) and isinstance(changed.value, int | float):
        new = changed.value + 1 if isinstance(changed.value, int) else changed.value * 2 + 0.5
        yield f"{changed.value} -> {new}", ast.Constant(new)
    elif isinstance(changed, ast.Call) and isinstance(changed.func, ast.Name) and changed.func.id in _CALLS:
        old_name = changed.func.id
        changed.func.id = _CALLS[old_name]
        yield f"{old_name} -> {changed.func.id}", changed
    elif isinstance(changed, ast.Expr) and isinstance(changed.value, ast.Call):
        yield "call left out", ast.Pass()
    elif isinstance(changed, ast.AugAssign):
        yield "assignment left out", ast.Pass()


def skipped(node: ast.AST, parent: ast.AST) -> bool:
    """Parts that tests need not check: the words of messages, logging, types, and the layout of classes."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert | ast.arg):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        return node.func.value.id in ("logger", "warnings")
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return True
    if isinstance(parent, ast.ClassDef | ast.FunctionDef) and node in parent.decorator_list:
        return True
    if isinstance(parent, ast.FunctionDef) and node is parent.returns:
        return True
    return isinstance(parent, ast.AnnAssign) and node is parent.annotation


def mutants_of(path: str) -> list[Mutant]:
    """All faults that can be put into a file, in order of place."""
    source = (ROOT / path).read_text(encoding="utf-8")
    lines = source.splitlines()
    tree = ast.parse(source)
    found: list[Mutant] = []

    def visit(parent: ast.AST) -> None:
        for name, value in ast.iter_fields(parent):
            for place, node in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(node, ast.AST) or skipped(node, parent):
                    continue
                for change, new in variants(node):
                    if isinstance(value, list):
                        value[place] = new
                    else:
                        setattr(parent, name, new)
                    text = ast.unparse(ast.fix_missing_locations(tree))
                    if isinstance(value, list):
                        value[place] = node
                    else:
                        setattr(parent, name, node)
                    line = getattr(node, "lineno", 1)
                    found.append(Mutant(path, line, lines[line - 1].strip(), change, text))
                visit(node)

    visit(tree)
    return found


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from the text of a mutant instead of from its file."""

    def __init__(self, mutant: Mutant) -> None:
        self.module = mutant.path.removesuffix(".py").replace("/", ".")
        self.path = str(ROOT / mutant.path)
        self.code: CodeType = compile(mutant.source, self.path, "exec")

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.module:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, module.__dict__)


def run_tests(mutant: Mutant | None, tests: Sequence[str]) -> None:
    """Run the tests with the mutant in place, in a process of its own. Exits with 0 if all pass."""
    import pytest

    os.setsid()  # what the tests start is ended with them
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    sys.dont_write_bytecode = True
    if mutant is not None:
        sys.meta_path.insert(0, _Finder(mutant))
    arguments = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly", *tests]
    os._exit(int(pytest.main([f"--rootdir={ROOT}", *arguments])))


def survives(mutant: Mutant | None, tests: Sequence[str]) -> bool:
    """Whether no test fails. If a process does not end in time, it is ended, and its mutant counts as noticed."""
    process = multiprocessing.get_context("fork").Process(target=run_tests, args=(mutant, tests))
    process.start()
    process.join(TIMEOUT_S)
    if process.is_alive():
        assert process.pid is not None
        os.killpg(process.pid, 9)
        process.join()
    return process.exitcode == 0


def equivalents() -> dict[str, str]:
    """Name of each listed mutant -> why no test can notice it."""
    if not EQUIVALENT.is_file():
        return {}
    lines = [line for line in EQUIVALENT.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    pairs = [line.rsplit(" | ", 1) for line in lines]
    return {name: reason for name, reason in pairs}


def chosen(args: argparse.Namespace) -> list[Mutant]:
    """The mutants to try: a draw from each file that depends on the seed and the file alone."""
    found: list[Mutant] = []
    for path in TESTS:
        if path.startswith(args.only):
            mutants = mutants_of(path)
            if args.per_file and len(mutants) > args.per_file:
                mutants = random.Random(f"{args.seed} {path}").sample(mutants, args.per_file)
            found += sorted(mutants, key=lambda mutant: mutant.line)
    return found


def existing(tests: Sequence[str]) -> list[str]:
    return [test for test in tests if (ROOT / test).exists()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-file", type=int, default=12, help="mutants per file; 0: all")
    parser.add_argument("--workers", type=int, default=2, help="mutants tried at a time")
    parser.add_argument("--only", default="", help="only files whose path begins with this")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw")
    parser.add_argument("--list", action="store_true", help="print the mutants, and try none")
    args = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))  # the code of this folder, wherever the package is installed from
    mutants = chosen(args)
    if args.list:
        for mutant in mutants:
            print(f"{mutant.path}:{mutant.line}: {mutant.change}: {mutant.text}")
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for library in LIBRARIES:
        importlib.import_module(library)
    files = sorted({mutant.path for mutant in mutants})
    for path in files:
        if not survives(None, existing(TESTS[path])):
            print(f"the tests of {path} fail without a fault: mend them first, or run them to see why")
            return 2
    known, began = equivalents(), time.perf_counter()
    counts = {path: [0, 0, 0] for path in files}  # tried, killed, listed

    def attempt(mutant: Mutant) -> None:
        survived = survives(mutant, existing(TESTS[mutant.path]))
        listed = survived and mutant.name in known
        counts[mutant.path][0] += 1
        counts[mutant.path][1] += not survived
        counts[mutant.path][2] += listed
        if survived and not listed:
            print(f"survived: {mutant.path}:{mutant.line}: {mutant.change}: {mutant.text}", flush=True)

    with ThreadPoolExecutor(args.workers) as pool:
        list(pool.map(attempt, mutants))
    print(f"{'file':<34} {'mutants':>8} {'killed':>8} {'listed':>8}")
    for path, row in counts.items():
        print(f"{path:<34} {row[0]:>8} {row[1]:>8} {row[2]:>8}")
    tried, killed, listed = (sum(row[i] for row in counts.values()) for i in range(3))
    share = killed / max(1, tried)
    print(
        f"{killed} of {tried} killed ({share:.1%}), {listed} more are equivalent and listed, "
        f"{tried - killed - listed} survived, in {time.perf_counter() - began:.0f} s"
    )
    return 0 if share >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
