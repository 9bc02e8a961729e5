"""Where the commands of a Lean text begin: as Lean would cut it, without knowing what is inside of them.

The text must be free of comments (`lexer.cleaned`). `theorem`, `end` and the like are tokens of Lean's, never names;
they begin a command wherever they stand. Words like `open` and `set_option` may also stand within a proof, so below a
declaration they begin a command in the first column only.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from prover.theorem_files.lexer import CHARACTER, RAW_STRING, STRING, without_comments
from prover.theorem_files.names import NAME, name_parts, words

THEOREMS = frozenset(("theorem", "lemma", "example"))
DEFINITIONS = words(
    """
    def abbrev axiom instance opaque inductive coinductive structure class mutual alias irreducible_def
    """
)
"""Commands that add something to Lean's environment which a later statement could be about."""
_HARD = frozenset(["theorem", "example", "def", "abbrev", "axiom", "opaque", "inductive", "coinductive", "structure"])
_OUTSIDE_TERMS = frozenset(["namespace", "section", "end", "variable", "universe", "mutual", "instance", "class"])
_SOFT = words(
    """
    open set_option import export attribute notation notation3 infix infixl infixr prefix postfix macro macro_rules
    syntax elab elab_rules include omit initialize builtin_initialize register_option declare_syntax_cat add_decl_doc
    suppress_compilation run_cmd run_elab run_meta deriving irreducible_def unif_hint binder_predicate seal unseal
    simproc dsimproc simproc_decl
    """
)
_MODIFIERS = frozenset(
    ["private", "protected", "noncomputable", "nonrec", "unsafe", "partial", "public", "meta", "local", "scoped"]
)
MODIFIERS_AT_END = re.compile(
    r"(?:(?:@\[[^\]]*\]|(?<![\w.])(?:private|protected|nonrec|noncomputable|public|unsafe|partial|meta))\s*)+\Z"
)

_TOKEN = re.compile(
    rf"{RAW_STRING}|(?P<name>{NAME})|(?P<hash>\#[A-Za-z_]\w*)|{STRING}|{CHARACTER}|(?P<attribute>@\[)"
    r"|(?P<open>[(\[{⟨⦃])|(?P<close>[)\]}⟩⦄])|(?P<assign>:=)",
    re.DOTALL,
)
_NAME_AFTER = re.compile(rf"\s+{NAME}")


@dataclass(frozen=True, slots=True)
class Command:
    """A command. `start`: of its modifiers; `word`: of its keyword; `end`: where the next one starts."""

    keyword: str
    start: int
    word: int
    end: int


def commands(text: str) -> list[Command]:
    """The commands of a comment-free Lean text, in order. What stands before the first is not among them."""
    starts = list(_starts(text))
    ends = [*(start for _, start, _ in starts), len(text)][1:]
    return [Command(keyword, start, word, end) for (keyword, start, word), end in zip(starts, ends, strict=True)]


def _starts(text: str) -> Iterator[tuple[str, int, int]]:
    """(keyword, where its modifiers start, where it stands) of each command."""
    depth = 0
    current = ""  # the keyword of the command at hand
    proving = False  # behind the `:=` of a declaration
    pending: int | None = None  # where modifiers of the next command started
    previous = ""
    is_name = re.search(r"[({⦃]\s*(?:[\w']+\s+)*lemma\b", text) is not None
    for match in _TOKEN.finditer(text):
        token, position = match.group(), match.start()
        word = token if match["name"] is not None else ""
        before, previous = previous, token
        if match["open"] is not None:
            depth += 1
        elif match["close"] is not None:
            depth = max(0, depth - 1)
        elif match["assign"] is not None:
            proving = proving or depth == 0
        if not (word or match["hash"] or match["attribute"]) or (position and text[position - 1] == "."):
            continue
        in_declaration = current in THEOREMS or current in DEFINITIONS
        line_start = text.rfind("\n", 0, position) + 1
        first_column = line_start == position
        first_on_line = not text[line_start:position].strip()
        may_start = depth == 0 and (not in_declaration or first_column) and not (before == "open" and current == "open")
        keyword = ""
        if word in _HARD:
            keyword, depth = word, 0
        elif word in _OUTSIDE_TERMS:
            keyword = word if depth == 0 else ""
        elif word == "lemma" or word == "alias":
            begins = first_on_line or pending is not None or before == "in" or (proving and depth == 0)
            keyword = word if begins and not is_name and _NAME_AFTER.match(text, match.end()) else ""
        elif word in _SOFT or match["hash"] is not None:
            # Behind `local`, `scoped[X]` or an attribute it is not in the first column itself.
            keyword = (word or "#") if may_start or (pending is not None and depth == 0) else ""
        elif (word in _MODIFIERS or match["attribute"] is not None) and may_start and pending is None:
            pending = position
        if match["attribute"] is not None:
            depth += 1
        if keyword:
            yield keyword, position if pending is None else pending, position
            current, proving, pending = keyword, False, None


def scope_names(text: str, found: Iterable[Command]) -> list[tuple[str, list[str]]]:
    """The namespaces and sections that the commands leave open, outermost first: (keyword, parts of the name)."""
    stack: list[tuple[str, list[str]]] = []
    for command in found:
        if command.keyword not in ("namespace", "section", "end"):
            continue
        behind = re.match(rf"\w+[ \t]+({NAME})", text[command.word : command.end])
        parts = name_parts(behind[1]) if behind is not None else []
        if command.keyword == "namespace":
            stack += [("namespace", [part]) for part in parts]
        elif command.keyword == "section":
            stack.append(("section", parts))
        else:
            left = len(parts) or 1
            while left > 0 and stack:
                left -= len(stack.pop()[1]) or 1
    return stack


@lru_cache(maxsize=1024)
def open_namespace(header: str) -> str:
    """The namespace that a header leaves open around what stands below it, dotted; "" for none."""
    if "namespace" not in header:
        return ""
    text = without_comments(header)
    return ".".join(parts[0] for keyword, parts in scope_names(text, commands(text)) if keyword == "namespace")
