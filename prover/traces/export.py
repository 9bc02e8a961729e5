"""`prover export`: trajectories written in the layouts of others.

| layout | a line per | fields |
|---|---|---|
| leandojo | proof | as LeanDojo's benchmark, with `theorem_statement` and `header` added |
| leantree | proof | as leantree: a file with one theorem and its proof tree |
| pairs | pair of states | theorem, parent, state, better, worse: two states reached from one |
| sft | step of a proof | theorem, prompt (the state), completion (the tactic), remaining_depth |
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from prover.files import write_atomic
from prover.json_types import JsonList, JsonObject
from prover.states import state_key
from prover.traces.model import goals
from prover.trajectory.labels import merge_labels
from prover.trajectory.reader import Paths, read_attempts, read_summaries, read_trajectories

LAYOUTS = ("leandojo", "leantree", "pairs", "sft")


@dataclass(slots=True)
class ExportReport:
    """What was written. `to_dict` is what `--json` prints."""

    layout: str
    output: str
    lines: int
    theorems: int

    def to_dict(self) -> dict[str, object]:
        """What `--json` prints."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Path:
    """A proof in trajectory rows: its states from the root on, and the tactics between them."""

    theorem: str
    statement: str
    header: str
    states: tuple[str, ...]
    tactics: tuple[str, ...]


def export_trajectories(paths: Paths, output: str | Path, layout: str) -> ExportReport:
    """Write what trajectory files hold to `output` (JSON Lines; `leandojo` to a `.json` file is one list).

    `leandojo`, `leantree` and `sft` take the steps of every finished proof; `pairs` takes labels merged over the files.
    Raises `TrajectoryError`, ValueError for an unknown layout, OSError.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}: expected one of {', '.join(LAYOUTS)}")
    target = Path(output)
    nodes = read_trajectories(paths)
    lines: Iterator[dict[str, object]]
    if layout == "pairs":
        lines = pairs(nodes, read_attempts(paths))
    else:
        proofs = proof_paths(nodes, read_summaries(paths))
        makers: dict[str, Callable[[_Path], list[dict[str, object]]]] = {
            "leandojo": lambda proof: [leandojo_entry(proof)],
            "leantree": lambda proof: [leantree_entry(proof)],
            "sft": sft_lines,
        }
        lines = (line for proof in proofs for line in makers[layout](proof))
    count = 0
    theorems: set[str] = set()

    def counted() -> Iterator[str]:
        nonlocal count
        for line in lines:
            count += 1
            theorems.add(_theorem_of(line))
            yield json.dumps(line, ensure_ascii=False)

    write = _write_list if target.suffix == ".json" else _write_lines
    write_atomic(target, lambda temporary: write(temporary, counted()))
    return ExportReport(layout, str(target), count, len(theorems))


def _write_lines(file: Path, entries: Iterator[str]) -> None:
    with file.open("w", encoding="utf-8") as out:
        out.writelines(f"{entry}\n" for entry in entries)


def _write_list(file: Path, entries: Iterator[str]) -> None:
    """One JSON list, an entry per line, without holding all of them."""
    before = "["
    with file.open("w", encoding="utf-8") as out:
        for entry in entries:
            out.write(f"{before}\n{entry}")
            before = ","
        out.write("[]\n" if before == "[" else "\n]\n")


def _theorem_of(line: JsonObject) -> str:
    if "theorems" in line:
        return str(line["theorems"][0]["name"])
    return str(line.get("full_name") or line["theorem"])


def proof_paths(nodes: pl.DataFrame, summaries: pl.DataFrame) -> list[_Path]:
    """Every finished proof: the path by `parent_state_id` to each node without goals; each script of a theorem once."""
    statements = {
        (row["search_id"], row["theorem_name"]): (row["statement"], row["header"])
        for row in summaries.select("search_id", "theorem_name", "statement", "header").iter_rows(named=True)
    }
    columns = ("search_id", "theorem_name", "state_id", "parent_state_id", "state_pp", "tactic_applied")
    rows = {(row[0], row[1], row[2]): row for row in nodes.select(columns).iter_rows()}
    found: dict[_Path, None] = {}
    finished = nodes.filter(pl.col("is_proof_complete")).select(columns)
    for row in finished.iter_rows():
        states, tactics = [row[4]], []
        seen = {row[2]}
        node = row
        while node[3] is not None and (node[0], node[1], node[3]) in rows and node[3] not in seen:
            tactics.append(node[5])
            node = rows[node[0], node[1], node[3]]
            seen.add(node[2])
            states.append(node[4])
        if node[3] is not None or not tactics:
            continue  # a file without this proof's beginning
        statement, header = statements.get((row[0], row[1]), ("", ""))
        found[_Path(row[1], statement, header, tuple(reversed(states)), tuple(reversed(tactics)))] = None
    return list(found)


def leandojo_entry(proof: _Path) -> dict[str, object]:
    """A theorem of LeanDojo's benchmark. What LeanDojo knows of repositories and files is empty here."""
    steps = zip(proof.states, proof.tactics, proof.states[1:], strict=False)
    return {
        "url": "",
        "commit": "",
        "file_path": "",
        "full_name": proof.theorem,
        "start": [1, 1],
        "end": [1, 1],
        "theorem_statement": proof.statement,
        "header": proof.header,
        "traced_tactics": [
            {
                "tactic": tactic,
                "annotated_tactic": [tactic, []],
                "state_before": before,
                "state_after": after or "no goals",
            }
            for before, tactic, after in steps
        ],
    }


def leantree_entry(proof: _Path) -> dict[str, object]:
    """A leantree file with one theorem. Its nodes are whole states, each with one child: nothing is factorised."""
    nodes: list[dict[str, object]] = []
    size = len(proof.tactics)
    for number, (state, tactic) in enumerate(zip(proof.states, proof.tactics, strict=False)):
        child = [] if number + 1 == size else [f"node_{number + 1}"]
        nodes.append(
            {
                "id": f"node_{number}",
                "state": {"goals": [_goal(goal) for goal in goals(state)]},
                "tactic": {
                    "tactic_string": tactic,
                    "span": None,
                    "parent": f"node_{number}",
                    "children": child,
                    "tactic_depends_on": [],
                },
                "proof_size": size - number,
                "proof_depth": size - number,
            }
        )
    theorem = {
        "name": proof.theorem,
        "span": None,
        "context": {"header": proof.header, "statement": proof.statement},
        "by_blocks": [{"tree": {"root_id": "node_0", "nodes": nodes}}],
    }
    return {"path": "", "imports": [], "theorems": [theorem]}


def _goal(text: str) -> dict[str, object]:
    """A goal in leantree's parts. What hypotheses stand on one line stay apart by name, of one type."""
    lines = text.split("\n")
    hypotheses: list[dict[str, str]] = []
    goal: dict[str, object] = {"type": "", "hypotheses": hypotheses}
    if lines[0].startswith("case "):
        goal["tag"] = lines.pop(0).removeprefix("case ")
    entries: list[str] = []
    target: list[str] = []
    for line in lines:
        if target or line.startswith("⊢"):
            target.append(line)
        elif line.startswith(" ") and entries:
            entries[-1] += "\n" + line
        else:
            entries.append(line)
    for entry in entries:
        names, _, kind = entry.partition(" :")
        kind, assigned, value = kind.removeprefix(" ").partition(" := ")
        for name in names.split():
            hypothesis = {"type": kind, "user_name": name}
            if assigned:
                hypothesis["value"] = value
            hypotheses.append(hypothesis)
    goal["type"] = "\n".join(target).removeprefix("⊢ ")
    return goal


def sft_lines(proof: _Path) -> list[dict[str, object]]:
    """A prompt and completion for each step of a proof, for supervised fine-tuning."""
    left = len(proof.tactics)
    return [
        {"theorem": proof.theorem, "prompt": state, "completion": tactic, "remaining_depth": left - number}
        for number, (state, tactic) in enumerate(zip(proof.states, proof.tactics, strict=False))
    ]


def pairs(nodes: pl.DataFrame, attempts: pl.DataFrame) -> Iterator[dict[str, object]]:
    """Pairs of states reached from one state, the first of which is better: positive against negative, or nearer to
    the end by at least one tactic, both positive.

    Labels are merged over all rows. A finished proof is no state to compare. Each pair once, in the order of the rows.
    """
    merged = merge_labels(nodes)
    columns = ("search_id", "theorem_name", "state_id", "parent_state_id", "state_pp", "label", "remaining_depth")
    rows = {(row[0], row[1], row[2]): row for row in merged.select(columns).iter_rows()}
    children: dict[tuple[str, str, int], dict[int, None]] = {}
    for row in rows.values():
        if row[3] is not None:
            children.setdefault((row[0], row[1], row[3]), {})[row[2]] = None
    edges = attempts.filter(pl.col("child_state_id").is_not_null())
    for search, theorem, parent, child in edges.select(
        "search_id", "theorem_name", "parent_state_id", "child_state_id"
    ).iter_rows():
        children.setdefault((search, theorem, parent), {})[child] = None
    seen: set[bytes] = set()
    for (search, theorem, parent), below in children.items():
        above = rows.get((search, theorem, parent))
        states = [rows[search, theorem, child] for child in below if (search, theorem, child) in rows]
        states = [row for row in states if row[4] and row[5] != "unknown"]
        for better in states:
            for worse in states:
                if above is None or not _is_better(better, worse):
                    continue
                key = "\n".join(state_key(text) for text in (above[4], better[4], worse[4]))
                digest = hashlib.blake2b(key.encode(), digest_size=12).digest()
                if digest not in seen:
                    seen.add(digest)
                    yield {"theorem": theorem, "state": above[4], "better": better[4], "worse": worse[4]}


def _is_better(better: JsonList, worse: JsonList) -> bool:
    if better[5] != "positive":
        return False
    return worse[5] == "negative" or (worse[5] == "positive" and 0 <= better[6] < worse[6])
