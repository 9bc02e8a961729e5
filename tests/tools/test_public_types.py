"""`Any` says nothing to a reader and hides mistakes from mypy, so public signatures do without it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("prover", "ebm", "prover_assets")

EXCEPTIONS = {
    "prover/json_types.py JsonValue": "JSON that was parsed can be anything",
    "prover/environments/recheck/olean.py Level": "the parts of a term depend on its kind",
    "prover/environments/recheck/olean.py Expr": "the same",
    "prover/environments/recheck/olean.py Declaration": "the same",
    "prover/search/best_first.py Answer": "a generator has one type for all that it is sent",
    "prover/search/searcher.py SearchOptions.on_result": "it takes what `reduce` returns",
    "prover/scale/connect.py answer": "Ray does not know what the method of an actor returns",
    "prover_assets/defs/resources.py LeanResource.ray": "Dagster makes a kind of configuration of this type",
    "prover_assets/operate/terminal.py TerminalInstance.create_run_for_job": "Dagster's own arguments, passed on",
}
"""Public names whose type names `Any`, and why."""


def _names_any(annotation: ast.expr | None) -> bool:
    """Whether an annotation, or the value of an alias, names `Any`. Annotations in quotes are looked into."""
    if annotation is None:
        return False
    for part in ast.walk(annotation):
        if isinstance(part, ast.Name) and part.id == "Any":
            return True
        if isinstance(part, ast.Attribute) and part.attr == "Any":
            return True
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and "Any" in part.value:
            return _names_any(ast.parse(part.value, mode="eval").body)
    return False


def _annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr | None]:
    arguments = function.args
    for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        yield None if each is None else each.annotation
    yield function.returns


def _is_alias(assigned: ast.Assign | ast.AnnAssign) -> bool:
    """`Name: TypeAlias = ...`, or `Name = kind[...]`, which is a type too."""
    if isinstance(assigned, ast.AnnAssign):
        return ast.unparse(assigned.annotation).endswith("TypeAlias")
    return isinstance(assigned.value, ast.Subscript | ast.BinOp)


def _with_any(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Public functions, methods, fields, variables and aliases whose type names `Any`."""
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                public = not name.startswith("_") or name.endswith("__")
                if public and any(map(_names_any, _annotations(statement))):
                    yield prefix + name
            case ast.ClassDef(name=name) if not name.startswith("_"):
                yield from _with_any(statement.body, f"{prefix}{name}.")
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                if name.startswith("_"):
                    continue
                annotation = statement.annotation if isinstance(statement, ast.AnnAssign) else None
                if _names_any(annotation) or (_is_alias(statement) and _names_any(statement.value)):
                    yield prefix + name


@pytest.mark.parametrize("package", PACKAGES)
def test_public_types_do_without_any(package):
    found = {
        f"{path.relative_to(ROOT).as_posix()} {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in _with_any(ast.parse(path.read_text(encoding="utf-8")).body)
    }
    assert found == {name for name in EXCEPTIONS if name.startswith(f"{package}/")}


def test_any_is_found_wherever_a_public_type_names_it():
    source = """
def open_it(path: str, **options: Any) -> None: ...
def _private(path: Any) -> None: ...
class Box:
    content: "dict[str, Any]"
    _kept: Any
    async def take(self) -> typing.Any: ...
    def __getattr__(self, name: str) -> list[Any]: ...
class _Hidden:
    content: Any
Pair: TypeAlias = tuple[Any, Any]
Table = dict[str, Any]
TEXT = "Any"
"""
    found = list(_with_any(ast.parse(source).body))
    assert found == ["open_it", "Box.content", "Box.take", "Box.__getattr__", "Pair", "Table"]
