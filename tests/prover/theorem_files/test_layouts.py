"""The layouts of published theorem sets load as they are (tests/data/theorem_layouts: samples of our own making)."""

import gzip
import json
import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from prover.environments import ProofState, open_environment
from prover.theorem_files.layouts import LAYOUTS
from prover.theorem_files.rows import files_in
from prover.theorems import Theorem, TheoremFileError, TheoremSet

SAMPLES = Path(__file__).parents[2] / "data/theorem_layouts"
HEADER = "import Mathlib\nimport Aesop\n\nset_option maxHeartbeats 400000\n\nopen Nat"
ONE = "(n : Nat) (h : n = 1) : 1 = n"
SWAP = Theorem("Project.swap", "(p q : Prop) : p ∧ q → q ∧ p", file_path="Project/Logic.lean")

EXPECTED = {
    "minif2f": [
        Theorem("sym_one", ONE, HEADER, "valid"),
        Theorem("sym_two", "(n : Nat) (h : n = 2) : 2 = n", HEADER, "test"),
    ],
    "minif2f-v2": [Theorem("sym_one", ONE, HEADER)],
    "minif2f-aimo": [Theorem("sym_one", ONE, HEADER)],
    "minif2f-udaca": [Theorem("sym_one", ONE, HEADER, "test")],
    "proofnet": [
        Theorem("exercise_1_1", ONE, "import Mathlib\n\nopen Fintype", "valid"),
        Theorem(
            "exercise_1_2",
            "(n : Nat) : twice n = twice n",
            "import Mathlib\n\ndef twice (n : Nat) := n + n",
            "valid",
        ),
    ],
    "proofnet-sharp": [Theorem("exercise_1_1", ONE, "import Mathlib\n\nopen Nat")],
    "putnam-hub": [Theorem("putnam_3000_a1", ONE, "import Mathlib\nopen Nat", "test")],
    "combibench": [Theorem("count_one", ONE, "import Mathlib")],
    "formalmath": [Theorem("algebra_1", ONE, "import Mathlib")],
    "lean-workbook": [Theorem("workbook_1", "(p : Prop) : p → p"), Theorem("workbook_2", "(q : Prop) (h : q) : q")],
    "numina": [Theorem("algebra_7", ONE, "import Mathlib\n\nopen Nat")],
    "deepseek-prover-v1": [Theorem("thm_1", ONE)],
    "goedel": [Theorem("lean_workbook_7", ONE, HEADER)],
    "leandojo": [SWAP],
    "lean-github": [SWAP],
    "leantree": [Theorem("Project.swap", "(p : Prop) (q : Prop) (h : p ∧ q) : q ∧ p", file_path="Project/Logic.lean")],
    "nanoproof": [Theorem("sym_one", ONE)],
}
REFUSED = {
    "putnam-hub": "line 2, field `lean4_statement`: has a `sorry` above the theorem `putnam_3000_b1`",
    "combibench": "line 2, field `formal_statement`: has a `sorry` above the theorem `count_two`",
    "leandojo": "line 2, field `traced_tactics`: is empty",
    "dojo-list": "line 1, field `full_name`: names a theorem of a repository",
}


def _layout(name: str) -> str:
    return "minif2f" if name == "proofnet" else name  # the same fields


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_of_each_layout_loads_as_it_is(name: str) -> None:
    loaded = TheoremSet.load(SAMPLES / f"{name}.jsonl", skip_invalid=True)
    assert list(loaded) == EXPECTED[name]
    assert loaded.layout == _layout(name)
    assert len(loaded.skipped) == (name in REFUSED)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named(name: str) -> None:
    with pytest.raises(TheoremFileError, match=REFUSED[name]):
        TheoremSet.load(SAMPLES / f"{name}.jsonl")


def test_every_layout_has_a_sample_and_the_docs_name_it() -> None:
    docs = (Path(__file__).parents[3] / "docs/formats.md").read_text("utf-8")
    for layout in LAYOUTS:
        assert f"`{layout.name}`" in docs
        assert layout.name in ("own", "lean") or (SAMPLES / f"{layout.name}.jsonl").is_file()


def test_a_format_that_is_asked_for_overrules_the_guess() -> None:
    sample = SAMPLES / "lean-workbook.jsonl"
    assert TheoremSet.load(sample, layout="lean-workbook").layout == "lean-workbook"
    with pytest.raises(TheoremFileError, match="occurs before"):
        TheoremSet.load(sample, layout="own")
    with pytest.raises(ValueError, match="did you mean 'numina'"):
        TheoremSet.load(sample, layout="nummina")


@pytest.mark.parametrize("name", [name for name in EXPECTED if name not in REFUSED])
def test_the_same_rows_in_other_files(tmp_path: Path, name: str) -> None:
    data = (SAMPLES / f"{name}.jsonl").read_bytes()
    (tmp_path / "lines.json").write_bytes(data)
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(data))
    with pa.output_stream(tmp_path / "x.jsonl.zst", compression="zstd") as stream:
        stream.write(data)
    rows = [json.loads(line) for line in data.splitlines()]
    (tmp_path / "list.json").write_text(json.dumps(rows), "utf-8")
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(tmp_path / "x.parquet")
    for file in sorted(tmp_path.iterdir()):
        assert list(TheoremSet.load(file)) == EXPECTED[name], file.name


def test_a_folder_of_shards_is_one_set(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "train", "test")):
        rows = [{"name": f"t{number}_{i}", "statement": "True"} for i in range(2)]
        pl.DataFrame(rows).write_parquet(tmp_path / f"{split}-0000{number}-of-00003.parquet")
    loaded = TheoremSet.load(tmp_path)
    assert loaded.splits == {"test": 2, "train": 4}
    pl.DataFrame(rows).write_parquet(tmp_path / "again.parquet")
    with pytest.raises(TheoremFileError, match=r"`t2_0` occurs before, at row 1 of .*again\.parquet"):
        TheoremSet.load(tmp_path)


def test_lean_files_give_each_theorem_what_stands_above_it() -> None:
    loaded = TheoremSet.load(SAMPLES / "lean")
    above = "import Mathlib\nset_option maxHeartbeats 400000\nopen Nat"
    assert [(t.name, t.line_number, t.split) for t in loaded] == [
        ("first_one", 10, "valid"),
        ("second_one", 13, "valid"),
        ("Outer.third", 21, "valid"),
        ("Outer.fourth", 26, "valid"),
        ("Outer.Inner.fifth", 30, "valid"),
        ("last", 34, "valid"),
    ]
    assert loaded["first_one"].header == loaded["last"].header == above
    assert loaded["Outer.third"].header == f"{above}\nnamespace Outer\nsection\nvariable (p : Prop)"
    assert loaded["Outer.fourth"].header == f"{above}\nnamespace Outer\nopen Classical"
    assert loaded["Outer.Inner.fifth"].header == f"{above}\nnamespace Outer\nnamespace Inner"
    assert loaded["Outer.Inner.fifth"].declaration == "theorem fifth (q : Prop) (h : q) : q"
    assert loaded.layout == "lean"


def test_theorems_of_a_lean_file_are_stated_in_lean() -> None:
    theorems = [
        Theorem(t.name, t.statement, t.header.replace("import Mathlib\n", ""))
        for t in TheoremSet.load(SAMPLES / "lean/Valid.lean")
    ]
    with open_environment() as lean:
        roots = lean.start(theorems)
    assert [root for root in roots if not isinstance(root, ProofState)] == []


def test_a_folder_of_lean_files_with_answers_to_fill_in() -> None:
    with pytest.raises(TheoremFileError, match=r"putnam_3000_b1\.lean, line 9: .*a `sorry` above the theorem"):
        TheoremSet.load(SAMPLES / "putnam")
    loaded = TheoremSet.load(SAMPLES / "putnam", skip_invalid=True)
    assert list(loaded) == [Theorem("putnam_3000_a1", ONE, "import Mathlib\nopen Nat", line_number=7)]
    assert [problem.line for problem in loaded.skipped] == [9]


def test_what_a_lean_file_defines_stays_above_its_theorems(tmp_path: Path) -> None:
    text = "namespace A\ndef two := 2\ntheorem a : two = 2 := rfl\nend A\n#eval 1\ntheorem b : A.two = 2 := rfl\n"
    (tmp_path / "x.lean").write_text(text)
    a, b = TheoremSet.load(tmp_path / "x.lean")
    assert a.header == "namespace A\ndef two := 2"
    assert b.header == "namespace A\ndef two := 2\nend A"


def test_invalid_entries_are_left_out_counted_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"name": "a", "statement": "True"}\n{"name": "1", "statement": "True"}\nnot JSON\n', "utf-8")
    loaded = TheoremSet.load(path, skip_invalid=True)
    assert loaded.names == ("a",)
    assert [(problem.line, problem.field) for problem in loaded.skipped] == [(2, "name"), (3, None)]
    path.write_text('{"name": "1", "statement": "True"}\n', "utf-8")
    with pytest.raises(TheoremFileError):  # nothing is left
        TheoremSet.load(path, skip_invalid=True)


def test_a_damaged_compressed_file_is_named(tmp_path: Path) -> None:
    data = gzip.compress((SAMPLES / "numina.jsonl").read_bytes())
    (tmp_path / "x.jsonl.gz").write_bytes(data[: len(data) // 2])
    (tmp_path / "y.jsonl.zst").write_bytes(b"not zstd")
    for name in ("x.jsonl.gz", "y.jsonl.zst"):
        with pytest.raises(TheoremFileError, match=rf"{name}: cannot be read"):
            TheoremSet.load(tmp_path / name)


def test_hidden_folders_are_left_out(tmp_path: Path) -> None:
    (tmp_path / ".lake").mkdir()
    shutil.copy(SAMPLES / "lean/Valid.lean", tmp_path / ".lake/Valid.lean")
    with pytest.raises(TheoremFileError, match="a folder without any file"):
        files_in(tmp_path)


def test_the_hub_is_asked_only_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def download(repository: str, *, repo_type: str, allow_patterns: list[str]) -> str:
        asked.append((repository, repo_type, allow_patterns))
        return str(SAMPLES / "lean")

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert len(TheoremSet.load("hf://someone/some-set:valid")) == 6
    assert asked[0][:2] == ("someone/some-set", "dataset")
    assert "downloaded" in caplog.text
    with pytest.raises(FileNotFoundError):
        TheoremSet.load("someone/some-set")
    assert len(asked) == 1
