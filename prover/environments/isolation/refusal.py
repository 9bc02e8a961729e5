"""The refusal list: tactic text and statements that Lean never gets to see.

Tactic text is code, and it is pasted between lines of ours. So text passes only when it is lexically closed (it cannot
end our block or swallow our next line), holds no word that declares, runs or fakes something, and no character that
looks like another one. Where Lean's lexer and the small one here could disagree, the text is refused.

This is the first of two layers: `sandbox` is the second, and trusts nothing here. And a proof counts only when
certified.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

from prover.environments.isolation.nesting import too_deep
from prover.environments.isolation.refused_words import (
    FIELDS,
    FINE_ATTRIBUTES,
    FRAGMENTS,
    HASH_WORDS,
    HEADER_WORDS,
    NOT_IN_HEADERS,
    PARTS,
    RESERVED,
    TACTICS,
    VARIABLES,
    WORDS,
)
from prover.theorem_files.lexer import without_comments
from prover.theorem_files.names import TheoremTextError, is_name

REFUSAL_VERSION = "refusal/9"
MAX_LENGTH = 20_000
MAX_NESTING = 200

# What Lean takes for an identifier, or less: a character missing here only makes more text refused.
_LETTER = "A-Za-z_\u03b1-\u03ba\u03bc-\u03c9\u0391-\u039f\u03a1\u03a4-\u03a9\u2100-\u214f"
_REST = _LETTER + "0-9'!?\u2080-\u2089"
_PART = rf"[{_LETTER}][{_REST}]*"
_WORD_OR_LITERAL = re.compile(rf"(?P<name>{_PART}(?:\.{_PART})*)|(?P<literal>[0-9'][{_REST}]*)")
_LONGEST_WORD = max(len(word) for word in (*WORDS, *TACTICS, *PARTS))

_GLUES = re.compile(f"[{_REST}]")
_HASH_COMMAND = re.compile(rf"#\s*(?:{'|'.join(sorted(HASH_WORDS, reverse=True))})|#\s*[A-Za-z_]\w*[!?%]")
_FIRST_ON_LINE = re.compile(r"(?:^|\n)[ \t]*#\s*[A-Za-z_]")
_EVALUATES = re.compile(r"eval%|[+]\s*native(?![\w'])|[({,]\s*native\s*:=|«native»")
# Where a tactic may begin; behind one of the words below, what follows up to the next such place is a term.
_SEPARATOR = re.compile(r"[;|·\n{]|=>|↦|<;>")
_SEPARATORS = frozenset(("by", "do", "then", "else", "calc", "conv", "from"))
_COMBINATORS = re.compile(r"(?:\s|\(|(?:try|repeat|repeat'|all_goals|any_goals|first|done)(?![\w.']))*")
_TAKES_TERMS = re.compile(
    r"(?:exact|refine|refine'|apply|intro|intros|rintro|rw|rwa|simp|simpa|simp_all|cases|rcases|obtain|induction|have"
    r"|let|show|change|specialize|generalize|subst|clear|revert|rename_i|unfold|symm|injection|exists|use|constructor"
    r"|exact_mod_cast|nlinarith|linarith|omega|assumption|at)(?![\w.'])"
)
# Not behind a backslash: if a string were open already, that would not end it.
_PLAIN_STRING = re.compile(r'(?<![\w\'!#\\])"[A-Za-z0-9 _.,:;?=<>+*/]*"(?![\w\'"])')
_QUOTED_PART = re.compile(r"«[A-Za-z0-9_ .,:<>=+*/!?']*»")
_ATTRIBUTE = re.compile(r"@\s*\[")
_LET_REC = re.compile(rf"(?<![{_REST}.])let\s+rec(?![{_REST}])")
_BRACKET_CHARACTER = re.compile(r"'(?:\\.[^']*|[\"()\[\]{}⟨⟩⟪⟫⟦⟧⌊⌋⌈⌉])'")
_OPEN_IN = re.compile(rf"(?<![{_REST}.])open (?:scoped )?(?:(?!IO\b|Lean\b){_PART}(?:\.{_PART})* )+in(?![{_REST}.])")
_BINDS = ("let", "have", "letI", "haveI", "let_fun")
_BINDER = re.compile(rf"(?:[({{\[⦃]|[∀∃λ]|(?<![{_REST}.])fun(?![{_REST}]))\s*({_PART}(?:\s+{_PART})*)\s*[:,↦)=]")
_STATEMENT_TOKEN = re.compile(rf"--|:=|{_PART}(?:\.{_PART})*|[()\[\]{{}}⟨⟩⟪⟫⟦⟧⌊⌋⌈⌉⦃⦄«»]")
_PAIRS = {")": "(", "]": "[", "}": "{", "⟩": "⟨", "⟫": "⟪", "⟧": "⟦", "⌋": "⌊", "⌉": "⌈", "⦄": "⦃", "»": "«"}
_OPENERS = frozenset(_PAIRS.values())


def _bad_character(text: str) -> str | None:
    for character in text:
        if character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            return f"the character U+{ord(character):04X} (control, invisible, direction mark or not valid text)"
    return None


def _names(text: str) -> Iterator[str]:
    """The identifiers and keywords of a text, dotted ones whole.

    A word may stand right behind a literal: `'a'axiom`, `0b1axiom`, `1e5axiom`. Where Lean ends a number or a
    character, sound or not, is not worth knowing, so all that could be glued to one is listed.
    """
    for token in _WORD_OR_LITERAL.finditer(text):
        if (glued := token["literal"]) is not None:
            yield from (glued[start:] for start in range(max(1, len(glued) - _LONGEST_WORD), len(glued)))
        else:
            yield token["name"]


def _tokens(text: str) -> set[str]:
    """All that `_names` lists."""
    return set(_names(text))


def _unquoted(quoted: re.Match[str]) -> str:
    """A plain name for a quoted one, apart from letters that it touches: in `axiom«x»` Lean reads two tokens."""
    text, start, end = quoted.string, quoted.start(), quoted.end()
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    return f"{' ' * bool(_GLUES.match(before))}x{' ' * bool(_GLUES.match(after))}"


def _bad_part(names: Iterable[str]) -> str | None:
    return next((part for name in names for part in name.split(".") if part in PARTS), None)


def _bad_name(text: str, variables: frozenset[str]) -> str | None:
    bad = WORDS - variables
    for token in _WORD_OR_LITERAL.finditer(text):
        if token["name"] in FIELDS and text[token.start() - 1 : token.start()] == ".":
            continue
        for name in _names(token.group()):
            if name in bad:
                return name
    return _bad_part(_names(text))


def _bad_tactic(text: str) -> str | None:
    """The first word that is refused as a tactic and stands where a tactic may."""
    begins = 0
    separators = _SEPARATOR.finditer(text)
    separator = next(separators, None)
    for token in _WORD_OR_LITERAL.finditer(text):
        while separator is not None and separator.end() <= token.start():
            begins, separator = max(begins, separator.end()), next(separators, None)
        names = list(_names(token.group()))
        if _SEPARATORS.intersection(names):
            begins = token.end()
            continue
        found = next((name for name in names if name in TACTICS), None)
        if found is None or text[token.start() - 1 : token.start()] == ".":
            continue
        combinators = _COMBINATORS.match(text, begins)
        assert combinators is not None
        head = _TAKES_TERMS.match(text, combinators.end())
        if head is None or head.end() > token.start() or token["literal"] is not None:
            return found
    return None


@lru_cache(maxsize=4096)
def variables(statement: str) -> frozenset[str]:
    """Words of the refusal list that the statement binds. In the statement and in its proofs they are names.

    What Lean takes for a variable is no keyword in that Lean, since a keyword cannot be bound.
    """
    if not any(word in statement for word in VARIABLES):
        return frozenset()
    bound = {word for binder in _BINDER.findall(statement) for word in binder.split()}
    return VARIABLES & bound


def _unclosed(text: str) -> str | None:
    """Why the brackets of `text` do not pair up; None when they do."""
    stack: list[str] = []
    for character in text:
        if character in _OPENERS:
            stack.append(character)
            if len(stack) > MAX_NESTING:
                return f"brackets nested deeper than {MAX_NESTING}"
        elif character in _PAIRS and (not stack or stack.pop() != _PAIRS[character]):
            return f"an unpaired `{character}`"
    return f"an unclosed `{stack[-1]}`" if stack else None


def _refusal(text: str, what: str, names: frozenset[str] = frozenset()) -> str | None:
    if not text.strip():
        return f"the {what} is empty"
    if len(text) > MAX_LENGTH:
        return f"the {what} has {len(text)} characters, more than {MAX_LENGTH}"
    bad = _bad_character(text)
    if bad:
        return f"the {what} holds {bad}"
    if "/-" in text or "-/" in text:
        return f"the {what} holds a block comment; only `--` comments are let through"
    fragment = next((fragment for fragment in FRAGMENTS if fragment in text), None)
    if fragment:
        return f"the {what} holds `{fragment}`"
    if _HASH_COMMAND.search(text) or (what == "tactic" and _FIRST_ON_LINE.search(text)):
        return f"the {what} holds a `#` command"
    evaluates = _EVALUATES.search(text)
    if evaluates:
        return f"the {what} holds `{evaluates.group()}`, which trusts compiled code"
    if _ATTRIBUTE.search(text):
        return f"the {what} holds an attribute `@[`"
    bare = _PLAIN_STRING.sub(" ", text)
    hidden = _bad_part(word for quoted in _QUOTED_PART.findall(bare) for word in _names(quoted))
    if hidden:
        return f"the {what} holds `{hidden}`"
    bare = _QUOTED_PART.sub(_unquoted, bare)
    bare = _OPEN_IN.sub(lambda opened: " ".join(opened.group().split()[1:-1]).removeprefix("scoped "), bare)
    if _LET_REC.search(bare):
        return f"the {what} holds `let rec`, a definition of its own"
    name = _bad_name(bare, names)
    if name is None and (what == "tactic" or "by" in _tokens(bare)):
        name = _bad_tactic(bare)
    if name:
        return f"the {what} holds `{name}`"
    if "open" in _names(bare):
        return f"the {what} holds an `open` without `in`"
    if _BRACKET_CHARACTER.search(bare):
        return f"the {what} holds a character literal that is a bracket, a quote or an escape"
    if '"' in bare:
        return f"the {what} holds a string that is not plain words"
    # With and without what looks like a comment: a token with `--` inside would not start one.
    unclosed = _unclosed(bare) or _unclosed(re.sub(r"--[^\n]*", "", bare))
    return f"the {what} holds {unclosed}" if unclosed else None


def refuse_tactic(tactic: str, statement: str = "") -> str | None:
    """Why this tactic text must not reach Lean, for people; None when it may.

    statement: what it is to prove: the names of its variables are no commands.
    """
    judge = _tactic_refusal if len(tactic) <= _REMEMBERED else _tactic_refusal.__wrapped__
    return judge(tactic, variables(statement))


_REMEMBERED = 400  # characters: a policy repeats itself, and does so in short tactics


@lru_cache(maxsize=8192)
def _tactic_refusal(tactic: str, names: frozenset[str]) -> str | None:
    return _refusal(tactic, "tactic", names) or too_deep(tactic)


def _holds_open_block(statement: str) -> str | None:
    """Why a `by` or `do` outside brackets is refused: it would go on into the proof, and take the `:=` for its own."""
    depth = 0
    for token in _STATEMENT_TOKEN.findall(statement):
        if token in _OPENERS or token in _PAIRS:
            depth += 1 if token in _OPENERS else -1
        elif depth == 0 and token in ("by", "do"):
            return f"the statement holds `{token}` outside brackets: write `({token} ...)`"
    return None


def _misassigned(statement: str) -> str | None:
    """Why the `:=` outside brackets do not match the `let` and `have` one to one; None when they do."""
    depth = waiting = 0
    for token in _STATEMENT_TOKEN.findall(statement):
        if token in _OPENERS or token in _PAIRS:
            depth += 1 if token in _OPENERS else -1
        elif depth == 0 and token in _BINDS:
            waiting += 1
        elif depth == 0 and token == ":=":
            waiting -= 1
            if waiting < 0:
                return "the statement holds `:=`: give the signature alone, without a proof"
    return "the statement ends within a `let` or `have`" if waiting else None


def may_free_a_command(tactic: str) -> bool:
    """Whether a tactic that was not refused could hold a command for Lean after all, once it does not parse.

    Lean then goes on one character behind the start of the word that it could not use: in `hdef`, `"def f"`, `«def f»`.
    """
    return (_hides_a_command if len(tactic) <= _REMEMBERED else _hides_a_command.__wrapped__)(tactic)


@lru_cache(maxsize=8192)
def _hides_a_command(tactic: str) -> bool:
    hidden = [token.group()[1:] for token in _WORD_OR_LITERAL.finditer(tactic)]
    hidden += re.findall(r'"[^"]*"|«[^»]*»', tactic)
    return any(name in WORDS or name in TACTICS for text in hidden for name in _names(text))


def refuse_statement(statement: str) -> str | None:
    """Why this theorem signature must not reach Lean; None when it may.

    It may not have a proof, nor an end that takes the `:=` of ours for its own.
    """
    refused = _refusal(statement, "statement", variables(statement))
    if refused:
        return refused
    if "--" in statement.rpartition("\n")[2]:
        return "the statement ends in a comment"
    return _holds_open_block(statement) or _misassigned(statement) or _misassigned(re.sub(r"--[^\n]*", "", statement))


def refuse_name(name: str) -> str | None:
    """Why this cannot be a theorem's name; None when it can."""
    if _bad_character(name) or "\n" in name or not is_name(name) or name in RESERVED or "_proverTrial" in name:
        return f"{name!r} is not a Lean name"
    return None


_ENDS_IN_IN = re.compile(rf"(?<![{_REST}.])in\s*$")
_RENAMES = re.compile(rf"(?<![{_REST}.])renaming(?![{_REST}.])")
_INCLUDES = re.compile(rf"(?<![{_REST}.])include(?![{_REST}.])")
_ATTRIBUTES = re.compile(r"(?<![\w.'])attribute\s*\[([^\[\]]*)\]")
_INSTANCE = re.compile(r"(?:\A|(?<=,))\s*(?:(?:local|scoped)\s+|-)?instance(?:\s+\d+)?\s*(?=,|\Z)")


def _bad_attribute(attributes: str) -> str | None:
    """The first attribute of a list (`local simp, -instance, instance 100`) that a header may not give."""
    for attribute in attributes.split(","):
        found = [word for word in attribute.replace("-", " ").split() if word not in ("local", "scoped")]
        if found and found[0] not in FINE_ATTRIBUTES:
            return found[0]
    return None


def _open_ended(header: str) -> str | None:
    """What in a header could reach beyond it or hide its end: strings, quoted names, brackets; None if nothing.

    A string that is open at the header's end would swallow the theorem, and leave a text of the tactics in its place.
    """
    bare = _PLAIN_STRING.sub(" ", header)
    if '"' in bare:
        return "holds a string that is not plain words on one line"
    if _BRACKET_CHARACTER.search(bare):
        return "holds a character literal that is a bracket, a quote or an escape"
    bare = re.sub(r"«[^«»\n]*»", " x ", bare)
    if "«" in bare or "»" in bare:
        return "holds a name in «» that does not end on its line"
    unclosed = _unclosed(bare)
    return f"holds {unclosed}" if unclosed else None


def refuse_header(header: str) -> str | None:
    """Why this cannot stand above theorems: a header imports, opens and sets options; it proves and runs nothing."""
    bad = _bad_character(header)
    if bad:
        return f"the header holds {bad}"
    if "--" in header or "/-" in header:
        if '"' in header or "«" in header:  # which of the two is inside the other?
            return "the header holds comments beside strings or quoted names: take the comments out"
        try:
            header = without_comments(header)
        except TheoremTextError as error:
            return f"the header {error}"
    if _ENDS_IN_IN.search(header):
        return "the header ends in `in`, which would not reach the theorem: write `open X`, not `open X in`"
    if _HASH_COMMAND.search(header) or _FIRST_ON_LINE.search(header):
        return "the header holds a `#` command"
    fragment = next((fragment for fragment in NOT_IN_HEADERS if fragment in header), None)
    if fragment:
        return f"the header holds `{fragment}`, with which a proof would mean nothing"
    unclosed = _open_ended(header)
    if unclosed:
        return f"the header {unclosed}"
    if _RENAMES.search(header):
        return "the header holds `renaming`, which gives a name of the statement another meaning: write names in full"
    if _INCLUDES.search(header):
        return (
            "the header holds `include`, which makes hypotheses of variables part of a statement that does not show "
            "them: write them into the statement"
        )
    for attributes in _ATTRIBUTES.findall(header):
        bad = _bad_attribute(attributes)
        if bad:
            return f"the header gives the attribute `{bad}`, which may change what a statement or a program says"
    bare = _ATTRIBUTES.sub(lambda found: f"attribute [{_INSTANCE.sub(' ', found[1])}]", header)
    names = _tokens(bare)
    words = HEADER_WORDS if "by" in names else HEADER_WORDS - TACTICS
    found = next((name for name in _names(bare) if name in words), None)
    return f"the header holds `{found}`: it may import, open and set options only" if found else None


@lru_cache(maxsize=1024)  # asked again for every state of a theorem
def refuse_theorem(name: str, statement: str, header: str) -> str | None:
    """Why a theorem is not given to Lean: for people, with the way out; None when it may be."""
    reason = refuse_name(name) or refuse_statement(statement) or refuse_header(header)
    return reason and f"{REFUSED}{reason}. Lean was not asked. {_WAY_OUT}"


REFUSED = "refused: "
"""First words of the message about a theorem that the refusal list turned down."""
_WAY_OUT = (
    "Theorem files are untrusted: give one statement, below a header of imports, opens, variables and options; what it "
    "needs beyond that belongs in a module of a Lake project (--lean-project DIR), which the header imports"
)
