"""Prompt templates as files: a head with settings, and the prompt in Jinja.

    {#
    name = "my-model/1"
    stop = ["```"]
    #}
    [GOAL]{{ goal }}[PROOFSTEP]

A template file may come from anywhere, so it is untrusted input. It is read with a small part of Jinja: text, values,
conditions, loops and a few filters, no calls of Python beyond some methods of texts, no files, no macros. Its size, its
loops and the length of its prompt are bounded.
"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import StrictUndefined, TemplateError, nodes, pass_context
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from prover.policy.context import in_context
from prover.policy.goals import conclusion_of, drop_first_line, goal_as_example, hypotheses_of, main_goal
from prover.settings import nearest
from prover.states import goals_of, normalise

SUFFIX = ".jinja"
MAX_FILE_BYTES = 64 * 1024
MAX_PROMPT_CHARACTERS = 1_000_000
_MAX_RANGE = 1000
_MAX_NUMBER = 10_000
_MAX_JOINS = 12  # each can double a text that the template builds
_MAX_LOOP_DEPTH = 2
_MAX_WORK = 1_000_000  # of one prompt, in loop steps over a short state; a step costs more the longer the state is
_WORK_PER_STEP = 10_000  # characters of the state times parts of the template that count as one more step
_LEFT = "_work_left"
_COUNTED = "_counted"

GOAL_VARIABLES = frozenset({"goal", "hypotheses", "conclusion", "statement"})
"""Made of the main goal alone."""
STATE_VARIABLES = frozenset({"state", "goals"})
CONTEXT_VARIABLES = frozenset({"header", "name", "history"})
VARIABLES = GOAL_VARIABLES | STATE_VARIABLES | CONTEXT_VARIABLES

_FILTERS = frozenset(
    {"trim", "replace", "join", "length", "first", "last", "default", "lower", "upper", "list", "reverse"}
)
_METHODS = frozenset({"split", "splitlines", "strip", "lstrip", "rstrip", "startswith", "endswith", "removeprefix"})
_NODES: tuple[type[nodes.Node], ...] = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For, nodes.Assign),
    *(nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Call, nodes.Compare, nodes.Operand, nodes.And, nodes.Or),
    *(nodes.Not, nodes.Concat, nodes.Add, nodes.CondExpr, nodes.List, nodes.Tuple, nodes.Test, nodes.Slice, nodes.Neg),
)


class TemplateFileError(ValueError):
    """A template file that cannot be used. The message names the file, what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class TemplateHead:
    """The settings of a template file."""

    name: str
    """Name and version, e.g. `my-model/1`. Part of every fingerprint, together with the whole file."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer, beside the model's end-of-sequence token."""
    add_special_tokens: bool = True
    """Whether the tokenizer puts its own first token (BOS) before the prompt. False where the prompt has it."""
    several_tactics: bool = False
    """False: the answer's first line is the tactic. True: the whole answer is one step, of as many lines as it has."""
    answer_after: str = ""
    """If the answer holds this text, what stands behind its last occurrence is read."""
    answer_before: str = ""
    """If what is read holds this text, only what stands before its first occurrence counts."""
    indent: str = ""
    """What stands before the tactic on its line, in training."""
    end: str = "\n"
    """What an answer ends with in training; "" for the tokenizer's end-of-sequence token."""
    models: tuple[str, ...] = ()
    """Parts of model names, in small letters, that this template is for."""
    source: str = ""
    """Where the format is documented."""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja without its globals and most of its filters; attributes that begin with an underscore are not there."""

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=False, trim_blocks=True, lstrip_blocks=True)
        self.globals = {"range": _short_range}
        self.filters = {name: self.filters[name] for name in _FILTERS}
        self.filters |= {"replace": _short_replace, "join": _short_join, _COUNTED: _counted}
        self.tests = {name: self.tests[name] for name in ("defined", "none", "string", "in", "equalto")}


def _short_range(*bounds: int) -> range:
    made = range(*bounds)
    if len(made) > _MAX_RANGE:
        raise TemplateError(f"range of {len(made)}: at most {_MAX_RANGE} is allowed")
    return made


def _short_replace(text: object, old: str, new: str) -> str:
    text = str(text)
    _bounded(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _short_join(parts: Iterable[object], between: str = "") -> str:
    texts = [str(part) for part in parts]
    _bounded(sum(map(len, texts)) + len(texts) * len(between))
    return between.join(texts)


@dataclass
class _Work:
    """What one prompt may still cost."""

    left: int
    per_step: int


T = TypeVar("T")


@pass_context
def _counted(context: Context, items: Iterable[T]) -> Iterator[T]:
    """The items of a loop, as long as the prompt's work lasts. Loops inside loops over a long state are the danger."""
    work: _Work = context.parent[_LEFT]  # what a template sets itself is not in `parent`
    for item in items:
        work.left -= work.per_step
        if work.left < 0:
            raise TemplateError("its loops take too many steps for a state of this length")
        yield item


def _work_for(values: Mapping[str, str | list[str]], parts: int) -> _Work:
    """parts: of the template, each of which a step may run."""
    texts = [text for value in values.values() for text in ([value] if isinstance(value, str) else value)]
    return _Work(_MAX_WORK, 1 + sum(map(len, texts)) * parts // _WORK_PER_STEP)


def _bounded(length: int) -> None:
    if length > MAX_PROMPT_CHARACTERS:
        raise TemplateError(f"a text of {length:,} characters; at most {MAX_PROMPT_CHARACTERS:,} are allowed")


@dataclass(frozen=True)
class FileTemplate:
    """A `prover.policy.prompts.PromptTemplate` that was read from a file."""

    head: TemplateHead
    text: str
    """The whole file: its digest is part of the fingerprint of who uses it."""
    variables: frozenset[str]
    """Those of `VARIABLES` that the prompt uses."""
    _render: Callable[[Mapping[str, str | list[str]]], str] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Name and version."""
        return self.head.name

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        return self.head.stop

    @property
    def add_special_tokens(self) -> bool:
        """Whether the tokenizer adds its own first token."""
        return self.head.add_special_tokens

    @property
    def several_tactics(self) -> bool:
        """Whether the whole answer is one step."""
        return self.head.several_tactics

    @property
    def end(self) -> str | None:
        """What an answer ends with in training; None: the end-of-sequence token."""
        return self.head.end or None

    def prompt(self, state: str) -> str:
        """What stands before the tactic."""
        return self._render(_values(state, self.variables))

    def tactic(self, completion: str, state: str) -> str | None:
        """The tactic in a completion; None if there is none in it."""
        head = self.head
        if head.answer_after and head.answer_after in completion:
            completion = completion.rpartition(head.answer_after)[2]
        if head.answer_before:
            completion = completion.partition(head.answer_before)[0]
        if head.several_tactics:
            return _whole_answer(completion, head.stop)
        line = completion.strip().split("\n", 1)[0].strip()
        return None if not line or line.startswith(("--", "/-", "```")) else line

    def completion(self, tactic: str, state: str) -> str:
        """The completion that means `tactic`, without its end."""
        return self.head.indent + tactic

    def encoding_text(self, state: str) -> str:
        """The text whose hidden vectors stand for the state: all goals."""
        return normalise(state)

    def shorten(self, state: str) -> str | None:
        """Without the goals behind the main one, where the prompt shows them; else without the oldest hypothesis."""
        goal = main_goal(state)
        several = bool(self.variables & STATE_VARIABLES) and len(goals_of(state)) > 1
        shorter = goal if several else drop_first_line(goal)
        return None if shorter is None else in_context(state).with_text(shorter)


def _whole_answer(completion: str, stop: tuple[str, ...]) -> str | None:
    """All lines of an answer, moved left by the first one's indentation; None if no line says anything to Lean."""
    for text in stop:
        completion = completion.partition(text)[0]
    lines = [line.rstrip() for line in completion.split("\n")]
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    if not any(line.strip() and not line.strip().startswith(("--", "```")) for line in lines):
        return None
    margin = len(lines[0]) - len(lines[0].lstrip(" "))
    return "\n".join(line[margin:] if not line[:margin].strip() else line for line in lines)


def _values(state: str, wanted: frozenset[str]) -> dict[str, str | list[str]]:
    """The values of a prompt's variables."""
    place, goal = in_context(state), main_goal(state)
    known: dict[str, Callable[[], str | list[str]]] = {
        "state": lambda: normalise(state),
        "goals": lambda: goals_of(state),
        "goal": lambda: goal,
        "hypotheses": lambda: hypotheses_of(goal),
        "conclusion": lambda: conclusion_of(goal),
        "statement": lambda: goal_as_example(goal),
        "header": lambda: place.header.strip(),
        "name": lambda: place.name,
        "history": lambda: list(place.history),
    }
    return {name: known[name]() for name in wanted}


def read_template(path: str | Path) -> FileTemplate:
    """The template in a file. TemplateFileError names what is wrong with it."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise TemplateFileError(
                f"{path}: larger than {MAX_FILE_BYTES // 1024} KiB, too large for a prompt template"
            )
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise TemplateFileError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise TemplateFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse_template(text.replace("\r\n", "\n"), str(path))


def parse_template(text: str, where: str) -> FileTemplate:
    """The template in the text of a file. where: its name in messages."""
    parts = re.match(r"\s*\{#-?\n(.*?)\n-?#\}\n?(.*)", text, re.DOTALL)
    if parts is None:
        raise TemplateFileError(
            f'{where}: expected a head between {{# and #}}, on lines of their own, with at least name = "my-model/1"'
        )
    head = _read_head(parts[1], where)
    sandbox = _Sandbox()
    try:
        tree = sandbox.parse(parts[2])
        _check(tree, where)
        variables = find_undeclared_variables(tree) - {"range"}
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = nodes.Filter(loop.iter, _COUNTED, [], [], None, None, lineno=loop.lineno)
        compiled = sandbox.from_string(tree)
        n_parts = sum(1 for _ in tree.find_all(nodes.Node))
    except RecursionError as error:
        raise TemplateFileError(f"{where}: nested too deeply") from error
    except TemplateError as error:
        raise TemplateFileError(f"{where}: not a template: {error}") from error
    if unknown := sorted(variables - VARIABLES):
        raise TemplateFileError(f"{where}: {_unknown('variable', unknown[0], VARIABLES)}")
    if not variables & (GOAL_VARIABLES | STATE_VARIABLES):
        raise TemplateFileError(f"{where}: the prompt does not show the state; write {{{{ state }}}} where it belongs")

    def render(values: Mapping[str, str | list[str]]) -> str:
        made: list[str] = []
        length = 0
        try:
            for piece in compiled.generate(**values, **{_LEFT: _work_for(values, n_parts)}):
                length += len(piece)
                if length > MAX_PROMPT_CHARACTERS:
                    raise TemplateFileError(f"{where}: a prompt of more than {MAX_PROMPT_CHARACTERS:,} characters")
                made.append(piece)
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
            if isinstance(error, TemplateFileError):
                raise
            raise TemplateFileError(f"{where}: the prompt cannot be made: {error}") from error
        return "".join(made)

    template = FileTemplate(head, text, frozenset(variables), render)
    template.prompt("p : Prop\nh : p\n⊢ p")  # what fails on every state is said now
    return template


def _read_head(text: str, where: str) -> TemplateHead:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TemplateFileError(f"{where}: the head is not TOML: {error}") from error
    expected = {one.name: one for one in fields(TemplateHead)}
    for key, value in values.items():
        if key not in expected:
            raise TemplateFileError(f"{where}: {_unknown('setting', key, expected)}")
        wanted = expected[key].type
        if wanted is bool or wanted is str:
            if not isinstance(value, wanted):
                raise TemplateFileError(
                    f"{where}: {key} = {value!r} must be {'true or false' if wanted is bool else 'a text'}"
                )
        elif not isinstance(value, list) or not all(isinstance(part, str) and part for part in value):
            raise TemplateFileError(f"{where}: {key} = {value!r} must be a list of texts that are not empty")
    if not re.fullmatch(r"[\w.+-]+/\d+", values.get("name", "")):
        raise TemplateFileError(
            f'{where}: name = {values.get("name", "")!r} must be a name and a version number, such as "my-model/1"'
        )
    settings: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    return TemplateHead(**settings)


def _unknown(what: str, given: str, known: Collection[str]) -> str:
    return f"unknown {what} {given!r}; {nearest(given, known)}"


def _check(tree: nodes.Template, where: str) -> None:
    """Refuse what a prompt does not need: it could reach for Python, or go on for ever."""
    joins = 0
    for node in tree.find_all(nodes.Node):
        refused = _refused(node)
        joins += len(node.nodes) - 1 if isinstance(node, nodes.Concat) else isinstance(node, nodes.Add)
        if refused:
            line = getattr(node, "lineno", None)
            at = f", line {line} of the prompt" if line else ""
            raise TemplateFileError(f"{where}{at}: {refused} is not allowed in a prompt template")
    if joins > _MAX_JOINS:
        raise TemplateFileError(f"{where}: {joins} joins of texts (~ and +); at most {_MAX_JOINS} are allowed")
    if _loop_depth(tree) > _MAX_LOOP_DEPTH:
        raise TemplateFileError(
            f"{where}: loops inside loops inside loops; at most {_MAX_LOOP_DEPTH} levels are allowed"
        )


def _refused(node: nodes.Node) -> str:
    """What is wrong with one part of a template; "" where nothing is."""
    match node:
        case nodes.Keyword():
            return type(node).__name__
        case nodes.Const(value=int() as number) if not isinstance(number, bool) and abs(number) > _MAX_NUMBER:
            return f"the number {number}"
        case nodes.Getattr(attr=name) if name.startswith("_"):
            return f"the attribute {name}"
        case nodes.Filter(name=name) if name not in _FILTERS:
            return f"the filter {name}"
        case nodes.For(recursive=True):
            return "a recursive loop"
        case nodes.Call():
            called = node.node
            if isinstance(called, nodes.Name) and called.name == "range":
                return ""
            if isinstance(called, nodes.Getattr) and called.attr in _METHODS:
                return ""
            return "this call"
        case _ if not isinstance(node, _NODES):
            return type(node).__name__
    return ""


def _loop_depth(node: nodes.Node) -> int:
    inner = max((_loop_depth(child) for child in node.iter_child_nodes()), default=0)
    return inner + isinstance(node, nodes.For)
