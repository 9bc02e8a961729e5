import json
from collections import Counter
from pathlib import Path

import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.environments import ProofClaim, ProofState, open_environment
from prover.environments.isolation.refusal import refuse_statement
from prover.environments.script.environment import LeanLimits
from prover.theorem_text import TheoremTextError, check_name, join_headers, read_header, read_source, read_statement
from prover.theorems import BUILTIN_FOLDER, BUILTIN_NAMES, Theorem, TheoremFileError, TheoremSet

PROOFS = Path(__file__).with_name("theorem_set_proofs.jsonl")


def _file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _jsonl(folder: Path, *rows: object) -> Path:
    return _file(folder, "set.jsonl", "\n".join(json.dumps(row) for row in rows))


# ---------------------------------------------------------------------------------------------------------- statements
@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("(p : Prop) : p → p", "(p : Prop) : p → p"),
        (": True", ": True"),
        ("True", ": True"),
        ("∀ p q : Prop, p → q → p", ": ∀ p q : Prop, p → q → p"),
        ("∀ (p : Prop), p → p", ": ∀ (p : Prop), p → p"),
        ("∃ n : Nat, n = n", ": ∃ n : Nat, n = n"),
        ("(True → False) → False", ": (True → False) → False"),
        ("(p : Prop) → p → p", ": (p : Prop) → p → p"),
        ("(2 : Nat) + 2 = 4", ": (2 : Nat) + 2 = 4"),
        ("∀ x, (x : Nat) = x", ": ∀ x, (x : Nat) = x"),
        ("{p : Prop} [Decidable p] (h : p) : p", "{p : Prop} [Decidable p] (h : p) : p"),
        ("n : n = n", "n : n = n"),
        (".{u} (α : Type u) (a : α) : a = a", "(α : Type u) (a : α) : a = a"),
        ("theorem foo (p : Prop) : p → p := by", "(p : Prop) : p → p"),
        ("theorem foo (p : Prop) : p → p := by sorry", "(p : Prop) : p → p"),
        ("lemma foo (p : Prop) : p → p := fun h => h", "(p : Prop) : p → p"),
        ("example (n : Nat := 3) : n = n := by\n  rfl", "(n : Nat := 3) : n = n"),
        ("theorem foo : let n := 3; n = n := by rfl", ": let n := 3; n = n"),
        ("theorem Nat.foo'.bar : True :=\n  trivial", ": True"),
        ("  (p : Prop)\n    (h : p) :   \r\n  p  ", "(p : Prop)\n    (h : p) :\n  p"),
        ("(p : Prop) : p -- said p\n → p /- and /- p -/ := -/", "(p : Prop) : p\n → p"),
        ('(s : String) (h : s = ":= (--") : s = s', '(s : String) (h : s = ":= (--") : s = s'),
        ('(s : String) (h : s = ")") : s = s', '(s : String) (h : s = ")") : s = s'),
        ("(c : Char) (h : c = '[') : c = c", "(c : Char) (h : c = '[') : c = c"),
        ("theorem foo : have n := 3; n = n := by rfl", ": have n := 3; n = n"),
        ("theorem foo (have' : Nat) : a.let = x.let := rfl", "(have' : Nat) : a.let = x.let"),
        ("theorem_like → True", ": theorem_like → True"),
    ],
)
def test_forms_of_statements(text: str, statement: str) -> None:
    assert read_statement(text).statement == statement


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("   \n", "is empty"),
        (":", "is empty"),
        ("theorem foo := by sorry", "is empty"),
        ("-- only a comment", "is empty"),
        ("theorem : True", "no Lean name after `theorem`"),
        ("(p : Prop) : p\naxiom bad : False", "the command `axiom`"),
        ("True\n#eval 1", "the command `#eval`"),
        ("True\nend Foo", "the command `end`"),
        ("True /- never closed", "comment that does not end"),
        ("(p : Prop) :\x00 p", "U\\+0000"),
        ("(p : Prop) : \u202ep", "U\\+202E"),
        ("(p : Prop) : \u200bp", "U\\+200B"),
    ],
)
def test_what_is_not_a_statement(text: str, complaint: str) -> None:
    with pytest.raises(TheoremTextError, match=complaint):
        read_statement(text)


@pytest.mark.parametrize("text", ["(p : Prop : p", "(p : Prop) : p)", "(p : Prop] : p", "(p : Prop) : (p"])
def test_brackets_that_do_not_pair_are_left_to_the_search(text: str) -> None:
    statement = read_statement(text).statement
    assert text in statement
    assert refuse_statement(statement) is not None  # reported by the theorem's name; its neighbours are searched


@pytest.mark.parametrize(
    ("header", "read"),
    [
        ("open Nat in", "open Nat"),
        (
            "import A\nopen Real in\nset_option autoImplicit false in",
            "import A\nopen Real\nset_option autoImplicit false",
        ),
        ("open A in open B in", "open A\nopen B"),
        ("open A\n  B in", "open A\n  B"),
        ("in", ""),
        ("open Main", "open Main"),
        ("open begin", "open begin"),
    ],
)
def test_what_is_opened_for_a_theorem_alone_is_opened(header: str, read: str) -> None:
    assert read_header(header) == read
    assert read_source(f"{header}\n@[simp] theorem t : True := by sorry").header == read


def test_a_universe_with_a_comment_is_one() -> None:
    assert join_headers("universe u -- of types", "universe u v") == "universe u -- of types\nuniverse v"


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        statement = read_statement(text).statement
    except TheoremTextError:
        return
    assert statement.strip()
    assert read_statement(statement).statement == statement


def test_deep_and_long_statements_are_read() -> None:
    deep = "(" * 100_000 + "True" + ")" * 100_000
    assert read_statement(deep).statement == f": {deep}"


@pytest.mark.parametrize(
    "name",
    ["and_comm", "Nat.add_comm'", "foo₁", "α_β", "x!", "h?", "_x", "«a b».c", "été", "ℝ.foo", "xⱼ", "foo.end", "«a/b»"],
)
def test_lean_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1a",
        "a b",
        "a-b",
        "a..b",
        ".a",
        "a.",
        "../evil",
        "a/b",
        "a\\b",
        "«a\nb»",
        "«a»b",
        "a\n",
        "a\x00",
        "theorem",
        "a.1",
        "x₊",
        "_",
        "λ",
        "_root_.x",
        "x" * 201,
        "a\u202e",
        "~",
        "$HOME",
        "con:",
    ],
)
def test_what_is_not_a_lean_name(name: str) -> None:
    with pytest.raises(TheoremTextError):
        check_name(name)


def test_source_gives_header_name_and_statement() -> None:
    source = """import Mathlib
set_option maxHeartbeats 400000
/- a comment about theorem foo : False -/
open Nat Real

/-- What it says. -/
@[simp] theorem foo.bar (x : ℝ) -- a real
    (h : 0 < x) : x ≠ 0 := by sorry
"""
    declaration = read_source(source)
    assert declaration.name == "foo.bar"
    assert declaration.statement == "(x : ℝ)\n    (h : 0 < x) : x ≠ 0"
    assert declaration.header == "import Mathlib\nset_option maxHeartbeats 400000\n\nopen Nat Real"


def test_source_takes_the_last_theorem_and_keeps_what_it_needs() -> None:
    declaration = read_source("def two := 2\ntheorem one : 1 = 1 := rfl\nprivate theorem t : two = 2 := by sorry")
    assert (declaration.name, declaration.statement) == ("t", ": two = 2")
    assert declaration.header == "def two := 2\ntheorem one : 1 = 1 := rfl"


def test_universe_parameters_go_to_the_header(tmp_path: Path) -> None:
    statement = "theorem foo.{u, v} (α : Type u) (β : Type v) (f : α → β) : f = f"
    path = _jsonl(tmp_path, {"statement": statement, "header": "open Nat\nuniverse v"})
    (theorem,) = TheoremSet.load(path)
    assert theorem == Theorem(
        "foo", "(α : Type u) (β : Type v) (f : α → β) : f = f", "open Nat\nuniverse v\nuniverse u"
    )
    with open_environment() as lean:
        (root,) = lean.start([Theorem("foo", theorem.statement, "universe u v")])
    assert isinstance(root, ProofState)
    assert root.text.endswith("⊢ f = f")


def test_source_without_a_theorem() -> None:
    with pytest.raises(TheoremTextError, match="has no `theorem`"):
        read_source("import Mathlib\ndef x := 1")


# --------------------------------------------------------------------------------------------------------------- files
def test_jsonl_with_all_fields(tmp_path: Path) -> None:
    path = _jsonl(
        tmp_path,
        {
            "name": "foo",
            "statement": "(p : Prop) : p → p",
            "header": "open Nat\n",
            "split": "test",
            "difficulty": 2,
            "file_path": "A/B.lean",
            "line_number": 7,
            "extra": [1],
        },
        {"name": "bar", "source": "import Mathlib\ntheorem bar : True := by sorry"},
        {"formal_statement": "theorem baz (p : Prop) : p → p := by\n"},
    )
    assert list(TheoremSet.load(path)) == [
        Theorem("foo", "(p : Prop) : p → p", "open Nat", "test", 2, "A/B.lean", 7),
        Theorem("bar", ": True", "import Mathlib"),
        Theorem("baz", "(p : Prop) : p → p"),
    ]


def test_json_and_parquet_say_the_same(tmp_path: Path) -> None:
    rows = [{"name": f"t{i}", "statement": f"(n : Nat) : n + {i} = n + {i}", "split": "train"} for i in range(5)]
    jsonl = TheoremSet.load(_jsonl(tmp_path, *rows))
    document = TheoremSet.load(_file(tmp_path, "a.json", json.dumps({"about": "[{", "theorems": rows}, indent=1)))
    bare = TheoremSet.load(_file(tmp_path, "b.json", json.dumps(rows)))
    polars.DataFrame(rows).with_columns(difficulty=polars.lit(None)).write_parquet(tmp_path / "c.parquet")
    table = TheoremSet.load(tmp_path / "c.parquet")
    assert jsonl.theorems == document.theorems == bare.theorems == table.theorems
    assert len({s.digest for s in (jsonl, document, bare, table)}) == 1


def _problems(path: Path) -> list[tuple[int | None, str | None]]:
    with pytest.raises(TheoremFileError) as error:
        TheoremSet.load(path)
    assert all(problem.file == str(path) for problem in error.value.problems)
    return [(problem.line, problem.field) for problem in error.value.problems]


def test_every_fault_is_named_by_file_line_and_field(tmp_path: Path) -> None:
    path = _jsonl(
        tmp_path,
        {"name": "good", "statement": "True"},
        {"name": "good", "statement": "True"},
        {"name": "../evil", "statement": "True"},
        {"name": "a", "statement": "  "},
        {"name": "b"},
        {"name": "c", "statement": "True", "source": "theorem c : True"},
        {"statement": "True"},
        {"name": 3, "statement": "True"},
        {"name": "d", "statement": ["True"]},
        {"name": "e", "statement": "True", "difficulty": "hard"},
        {"name": "f", "statement": "True", "line_number": -1},
        {"name": "g", "source": "def x := 1"},
        ["h", "True"],
        {"name": "i", "statement": "True", "file_path": "../../etc/passwd"},
        {"name": "j", "statement": "True", "header": "open Nat\0"},
        {"name": "k", "statement": "True", "header": "open Nat \u202e"},
        {"name": "l", "statement": "True", "split": "te\u200bst"},
        {"name": "m", "statement": "True", "line_number": 10**30},
    )
    assert _problems(path) == [
        (2, "name"),
        (3, "name"),
        (4, "statement"),
        (5, "statement"),
        (6, "statement"),
        (7, "name"),
        (8, "name"),
        (9, "statement"),
        (10, "difficulty"),
        (11, "line_number"),
        (12, "source"),
        (13, None),
        (14, "file_path"),
        (15, "header"),
        (16, "header"),
        (17, "split"),
        (18, "line_number"),
    ]


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "Mathlib/../../x.lean",
        "..",
        "/etc/passwd",
        "~/x.lean",
        "~root/x.lean",
        "C:\\x.lean",
        "C:x.lean",
        "\\\\host\\x",
        "Mathlib\\x.lean",
        "file:///etc/passwd",
        "a\0b",
        "a\nb",
        "a\u202eb",
    ],
)
def test_a_path_that_leads_out_of_the_project_is_named_and_refused(tmp_path: Path, path: str) -> None:
    file = _jsonl(tmp_path, {"name": "a", "statement": "True"}, {"name": "b", "statement": "True", "file_path": path})
    with pytest.raises(TheoremFileError, match=r"line 2, field `file_path`: is .*; expected a path inside a project"):
        TheoremSet.load(file)


@pytest.mark.parametrize("path", ["Mathlib/Logic/Basic.lean", ".lake/packages/x/A..b.lean", "Été/Δ.lean", "A.lean:12"])
def test_a_path_inside_a_project_is_kept(tmp_path: Path, path: str) -> None:
    (theorem,) = TheoremSet.load(_jsonl(tmp_path, {"name": "a", "statement": "True", "file_path": path}))
    assert theorem.file_path == path


def test_marks_and_line_ends_of_other_systems_are_read(tmp_path: Path) -> None:
    text = '{"name": "a", "statement": "True", "header": "import A\\r\\nopen Nat", "note": "\u2028"}\r\n\r\n'
    path = _file(tmp_path, "a.jsonl", b"\xef\xbb\xbf" + text.encode() + b'{"name": "a", "statement": ""}\r\n')
    assert _problems(path) == [(3, "statement")]
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert list(TheoremSet.load(path)) == [Theorem("a", ": True", "import A\nopen Nat")]


def test_faults_before_a_line_that_cannot_be_read_are_named_too(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.jsonl", '{"name": "1", "statement": "True"}\n{"name": "b", "statement": "True"}\n{')
    assert _problems(path) == [(1, "name"), (3, None)]


def test_the_first_of_two_equal_names_is_named(tmp_path: Path) -> None:
    rows = [{"name": name, "statement": "True"} for name in "aba"]
    with pytest.raises(TheoremFileError, match="line 3, field `name`: `a` occurs before, at line 1;"):
        TheoremSet.load(_jsonl(tmp_path, *rows))
    polars.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(TheoremFileError, match="row 3, field `name`: `a` occurs before, at row 1;"):
        TheoremSet.load(tmp_path / "a.parquet")


def test_the_message_tells_where_and_what_to_do(tmp_path: Path) -> None:
    path = _jsonl(tmp_path, {"name": "a b", "statement": "True"})
    with pytest.raises(TheoremFileError) as error:
        TheoremSet.load(path)
    assert str(error.value) == (
        f"{path}, line 1, field `name`: `a b` is not a Lean name; expected something like `and_comm` or `Nat.add_comm'`"
    )


def test_lines_of_a_json_document_are_those_of_its_theorems(tmp_path: Path) -> None:
    text = """{"note": "theorems: [",
 "theorems": [
  {"name": "a", "statement": "True"},

  {"name": "a",
   "statement": "True"}, {"name": "1", "statement": "True"}
 ]}"""
    assert _problems(_file(tmp_path, "x.json", text)) == [(5, "name"), (6, "name")]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.jsonl", '{"name": "a", "statement": "True"}\n{"name": ', 2),
        ("a.jsonl", b'{"name": "a", "statement": "True"}\n{"name": "\xff"}', 2),
        ("a.jsonl", "", None),
        ("a.json", '{"theorems": [\n{"name" "a"}]}', 2),
        ("a.json", '{"lemmas": []}', None),
        ("a.json", "[" * 100_000, None),
        ("a.jsonl", "[" * 100_000, 1),
        ("a.jsonl", '{"name": "a", "statement": "True", "difficulty": ' + "9" * 5000 + "}", 1),
        ("a.json", '[{"name": "a", "statement": "True", "difficulty": ' + "9" * 5000 + "}]", None),
        ("a.parquet", b"PAR1 is not what this is", None),
        ("a.csv", "name,statement\n", None),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: str | bytes, line: int | None) -> None:
    assert _problems(_file(tmp_path, name, content))[0][0] == line


def test_rows_of_a_table_are_named(tmp_path: Path) -> None:
    polars.DataFrame({"name": ["a", "b c"], "statement": ["True", "True"]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(TheoremFileError, match="row 2, field `name`"):
        TheoremSet.load(tmp_path / "t.parquet")


def test_many_faults_are_counted_not_listed(tmp_path: Path) -> None:
    path = _jsonl(tmp_path, *({"name": "1", "statement": "True"} for _ in range(500)))
    with pytest.raises(TheoremFileError, match="and 490 more") as error:
        TheoremSet.load(path)
    assert len(error.value.problems) == 500


@pytest.mark.parametrize("n", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_hundred_thousand_theorems_load(tmp_path: Path, n: int) -> None:
    line = '{{"name": "t{}", "statement": "(p q r : Prop) (h : p ∧ (q ∨ r)) : p ∧ q ∨ p ∧ r"}}\n'
    path = _file(tmp_path, "big.jsonl", "".join(line.format(i) for i in range(n)))
    assert len(TheoremSet.load(path)) == n


def test_unknown_sources(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="did you mean 'textbook'"):
        TheoremSet.load("textbok")
    with pytest.raises(FileNotFoundError, match="built-in set of that name; valid: "):
        TheoremSet.load(tmp_path / "missing.jsonl")


# ---------------------------------------------------------------------------------------------------------------- sets
def test_splits_and_limits(tmp_path: Path) -> None:
    rows = [{"name": f"t{i}", "statement": "True", "split": "train" if i % 2 else "test"} for i in range(10)]
    path = _jsonl(tmp_path, *rows)
    theorems = TheoremSet.load(path)
    assert theorems.splits == {"test": 5, "train": 5}
    assert theorems.split("train").names == ("t1", "t3", "t5", "t7", "t9")
    assert TheoremSet.load(f"{path}:test", limit=2).names == ("t0", "t2")
    assert TheoremSet.load(path, split="test").digest == TheoremSet.load(f"{path}:test").digest
    with pytest.raises(ValueError, match="no split `valid`; it has test, train"):
        theorems.split("valid")
    with pytest.raises(ValueError, match="give one of them"):
        TheoremSet.load(f"{path}:test", split="train")
    with pytest.raises(ValueError, match="limit = 0"):
        theorems.limit(0)


def test_lookup_by_name() -> None:
    textbook = TheoremSet.load("textbook")
    assert textbook["Textbook.and_comm"].statement == "(p q : Prop) : p ∧ q ↔ q ∧ p"
    assert "Textbook.and_comm" in textbook
    with pytest.raises(KeyError, match=r"the nearest are Textbook\.and_comm"):
        textbook["Textbook.and_com"]


def test_two_theorems_of_one_name_are_no_set() -> None:
    with pytest.raises(ValueError, match="two theorems named `a`"):
        TheoremSet("x", (Theorem("a", ": True"), Theorem("a", ": False")))


def test_the_digest_depends_on_what_is_proved_alone() -> None:
    base = TheoremSet("x", (Theorem("a", ": True"), Theorem("b", ": True")))
    assert base.digest == TheoremSet("y", (Theorem("a", ": True", split="test"), Theorem("b", ": True"))).digest
    others = [
        (Theorem("b", ": True"), Theorem("a", ": True")),
        (Theorem("a", ": True"), Theorem("b", ": False")),
        (Theorem("a", ": True"), Theorem("b", ": True", header="open Nat")),
        (Theorem("a", ": True"),),
    ]
    assert len({base.digest, *(TheoremSet("x", other).digest for other in others)}) == 5


def test_division_by_name_is_stable() -> None:
    theorems = TheoremSet.load("propositional")
    most, some = theorems.divide(0.25)
    assert {*most.names, *some.names} == set(theorems.names)
    assert 0.18 < len(some) / len(theorems) < 0.32
    fewer, few = theorems.limit(100).divide(0.25)
    assert set(few.names) <= set(some.names)
    assert set(fewer.names) <= set(most.names)
    assert theorems.divide(0.25, salt="2")[1].names != some.names


# ---------------------------------------------------------------------------------------------------- built-in, in Lean
PATIENT = LeanLimits(start_s=60.0, average_s=2.0)
"""For busy machines: no statement here takes long, and nothing is said of time."""

ALL_OR_SOME = pytest.mark.parametrize("one_in", [20, pytest.param(1, marks=pytest.mark.slow)])
"""Every twentieth theorem, and all of them behind the mark `slow`."""


@ALL_OR_SOME
def test_every_built_in_statement_elaborates(one_in: int) -> None:
    with open_environment(limits=PATIENT) as lean:
        for name in BUILTIN_NAMES:
            theorems = list(TheoremSet.load(name))[::one_in]
            roots = lean.start(theorems)
            failed = [(t.name, r) for t, r in zip(theorems, roots, strict=True) if not isinstance(r, ProofState)]
            assert failed == []


@ALL_OR_SOME
def test_every_theorem_written_by_hand_but_propositional_ones_has_a_certified_proof(one_in: int) -> None:
    scripts = {row["name"]: tuple(row["tactics"]) for row in map(json.loads, PROOFS.read_text("utf-8").splitlines())}
    theorems = [*TheoremSet.load("first_order_classic"), *TheoremSet.load("nng"), *TheoremSet.load("lists")]
    assert {theorem.name for theorem in theorems} == set(scripts)
    with open_environment() as lean:
        certificates = lean.certify([ProofClaim(theorem, scripts[theorem.name]) for theorem in theorems[::one_in]])
    assert [(c.claim.theorem.name, c.reason) for c in certificates if not c.certified] == []


def test_the_sets_readme_counts_right() -> None:
    readme = (BUILTIN_FOLDER / "README.md").read_text(encoding="utf-8")
    for name in BUILTIN_NAMES:
        assert f"| `{name}` | {len(TheoremSet.load(name))} " in readme


def test_the_open_game_is_the_game_without_its_limits() -> None:
    game, everything = TheoremSet.load("nng"), TheoremSet.load("nng:open")
    assert everything.name == "nng:open"
    assert [(t.name, t.statement) for t in game] == [(t.name, t.statement) for t in everything]
    assert {t.header for t in everything} == {""}
    assert all(t.header.startswith("import Prover.Nat.") for t in game)
    assert game.digest != everything.digest
    with pytest.raises(ValueError, match="no split `open`"):
        TheoremSet.load("textbook:open")


def test_a_mix_has_an_even_share_of_each_set_in_any_first_part(tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text("".join(f'{{"name": "own{i}", "statement": ": True"}}\n' for i in range(40)), encoding="utf-8")
    mix = TheoremSet.load(f"first_order:valid + arithmetic:valid + {own}")
    assert len(mix) == 160 + 160 + 40
    assert mix.name == "first_order:valid + arithmetic:valid + own"
    first = mix.limit(90)
    counts = Counter(first.origins[name] for name in first.names)
    assert counts == {"first_order": 40, "arithmetic": 40, "own": 10}
    assert TheoremSet.load("first_order + arithmetic", split="test").splits == {"test": 440}
    with pytest.raises(ValueError, match="two theorems named"):
        TheoremSet.load("nng + nng")
    with pytest.raises(FileNotFoundError, match="no theorem file 'arithmetik:valid'"):
        TheoremSet.load("first_order + arithmetik:valid")


def test_a_file_whose_name_looks_like_a_mix_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "algebra + order.jsonl"
    path.write_text('{"name": "a", "statement": ": True"}\n', encoding="utf-8")
    assert TheoremSet.load(path).names == ("a",)
