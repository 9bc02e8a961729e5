"""The refusal list: tactic text and statements that Lean never gets to see.

Tactic text is code, and it is pasted between lines of ours. So text passes only when it is lexically closed (it cannot
end our block or swallow our next line), holds no word that declares, runs or fakes something, and no character that
reads differently than it looks. Where Lean's lexer and the small one here could disagree, the text is refused.

This is the first of two layers: `sandbox` is the second, and trusts nothing here. And a proof counts only when
certified.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator

from prover.environments.isolation.nesting import too_deep
from prover.theorem_text import is_name

REFUSAL_VERSION = "refusal/7"
MAX_LENGTH = 20_000
MAX_NESTING = 200

# Refused anywhere in the text, even inside a longer word: no proof has a use for them.
_FRAGMENTS = ["sorry", "unsafe", "implemented_by", "ofReduceBool", "ofReduceNat", "trustCompiler", "skipKernelTC"]
_FRAGMENTS += ["lcProof", "lcAny", "lcErased", "lcVoid", "include_str", "include_bytes", "dbg_trace", "dbgTrace"]
_FRAGMENTS += ["_proverTrial"]  # the names under which statements are stepped

# Refused as a whole word. Closing goals without proof, running programs:
_CHEATS = ["admit", "stop", "apply?", "rw?", "native", "native_decide"]
_CHEATS += ["_example"]  # what is being proved, under the name that an `example` has for itself
_PROGRAMS = ["run_tac", "run_cmd", "run_elab", "run_meta", "by_elab", "eval", "elab", "elab_rules", "macro"]
_PROGRAMS += ["macro_rules", "simproc", "dsimproc", "initialize", "builtin_initialize", "extern", "csimp"]
_PROGRAMS += ["sleep", "polyrith"]
# Definitions of a proof's own, which `where` and `let rec` make (`NAME.f`): a submission holds none.
_DEFINITIONS = ["where", "letrec", "termination_by", "termination_by?", "decreasing_by"]
# Commands, so that what follows a parse error cannot declare or change anything for its neighbours:
_COMMANDS = ["axiom", "axioms", "constant", "theorem", "lemma", "def", "abbrev", "opaque", "example", "instance"]
_COMMANDS += ["inductive", "coinductive", "structure", "class", "deriving", "mutual", "syntax", "notation", "notation3"]
_COMMANDS += ["infix", "infixl", "infixr", "prefix", "postfix", "declare_syntax_cat", "unif_hint", "binder_predicate"]
_COMMANDS += ["set_option", "export", "import", "prelude", "module", "namespace", "section", "end", "variable"]
_COMMANDS += ["universe", "attribute", "private", "protected", "public", "meta", "noncomputable", "partial", "nonrec"]
_COMMANDS += ["local", "scoped", "include", "omit", "init_quot", "exit", "seal", "unseal", "alias", "irreducible_def"]
_COMMANDS += ["register_option", "register_simp_attr", "add_decl_doc", "library_note", "gen_injective_theorems"]
_COMMANDS += ["proof_wanted", "suppress_compilation", "initialize_simps_projections", "add_aesop_rules"]
# The same of newer and rarer kinds:
_COMMANDS += ["grind_pattern", "set_library_suggestions", "with_weak_namespace", "unlock_limits", "unset_option"]
_COMMANDS += ["register_builtin_option", "register_label_attr", "register_linter_set", "register_grind_attr"]
_COMMANDS += ["register_sym_simp", "register_sym_dsimp", "register_sym_simp_attr", "register_try?_tactic"]
_COMMANDS += ["simproc_decl", "dsimproc_decl", "builtin_simproc", "builtin_dsimproc", "builtin_simproc_decl"]
_COMMANDS += ["builtin_dsimproc_decl", "simproc_pattern", "builtin_simproc_pattern", "declare_simp_like_tactic"]
_COMMANDS += ["declare_config_elab", "declare_core_config_elab", "declare_term_config_elab"]
_COMMANDS += ["declare_command_config_elab", "register_tactic_tag", "tactic_extension", "recommended_spelling"]
_COMMANDS += ["compile_inductive", "unsuppress_compilation", "norm_cast_add_elim", "deprecated_module"]
_WORDS = frozenset([*_CHEATS, *_PROGRAMS, *_DEFINITIONS, *_COMMANDS])

# Refused as any part of a dotted name, `«quoted»` or not: effects, the means of metaprograms (`simp`'s configuration is
# evaluated), and what the kernel would evaluate with compiled code.
_PARTS = frozenset(["IO", "EIO", "BaseIO", "RealWorld", "Elab", "Meta", "MetaM", "CoreM", "TacticM", "TermElabM"])
_PARTS |= {"reduceBool", "reduceNat"}

# What Lean takes for an identifier, or less: a character missing here only makes more text refused.
_LETTER = "A-Za-z_\u03b1-\u03ba\u03bc-\u03c9\u0391-\u039f\u03a1\u03a4-\u03a9\u2100-\u214f"
_REST = _LETTER + "0-9'!?\u2080-\u2089"
_PART = rf"[{_LETTER}][{_REST}]*"
_WORD_OR_LITERAL = re.compile(rf"(?P<name>{_PART}(?:\.{_PART})*)|(?P<literal>[0-9'][{_REST}]*)")
_LONGEST_WORD = max(len(word) for word in (*_WORDS, *_PARTS))

_GLUES = re.compile(f"[{_REST}]")
_HASH_COMMAND = re.compile(r"#\s*[A-Za-z_]")
_PLAIN_STRING = re.compile(r'(?<![\w\'!#])"[A-Za-z0-9 _.,:;?=<>+*/]*"(?![\w\'"])')
_QUOTED_PART = re.compile(r"«[A-Za-z0-9_ .,:<>=+*/!?']*»")
_ATTRIBUTE = re.compile(r"@\s*\[")
_LET_REC = re.compile(rf"(?<![{_REST}.])let\s+rec(?![{_REST}])")
_BRACKET_CHARACTER = re.compile(r"'(?:\\.[^']*|[\"()\[\]{}⟨⟩⟪⟫⟦⟧⌊⌋⌈⌉])'")
_OPEN_IN = re.compile(rf"(?<![{_REST}.])open (?:scoped )?(?:(?!IO\b|Lean\b){_PART}(?:\.{_PART})* )+in(?![{_REST}.])")
_BINDS = ("let", "have", "letI", "haveI", "let_fun")
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


def _unquoted(quoted: re.Match[str]) -> str:
    """A plain name for a quoted one, apart from letters that it touches: in `axiom«x»` Lean reads two tokens."""
    text, start, end = quoted.string, quoted.start(), quoted.end()
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    return f"{' ' * bool(_GLUES.match(before))}x{' ' * bool(_GLUES.match(after))}"


def _bad_part(names: Iterable[str]) -> str | None:
    return next((part for name in names for part in name.split(".") if part in _PARTS), None)


def _bad_name(text: str) -> str | None:
    return next((name for name in _names(text) if name in _WORDS), None) or _bad_part(_names(text))


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


def _refusal(text: str, what: str) -> str | None:
    if not text.strip():
        return f"the {what} is empty"
    if len(text) > MAX_LENGTH:
        return f"the {what} has {len(text)} characters, more than {MAX_LENGTH}"
    bad = _bad_character(text)
    if bad:
        return f"the {what} holds {bad}"
    if "/-" in text or "-/" in text:
        return f"the {what} holds a block comment; only `--` comments are let through"
    fragment = next((fragment for fragment in _FRAGMENTS if fragment in text), None)
    if fragment:
        return f"the {what} holds `{fragment}`"
    if _HASH_COMMAND.search(text):
        return f"the {what} holds a `#` command"
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
    name = _bad_name(bare)
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


def refuse_tactic(tactic: str) -> str | None:
    """Why this tactic text must not reach Lean, for people; None when it may."""
    return _refusal(tactic, "tactic") or too_deep(tactic)


def _misassigned(statement: str) -> str | None:
    """Why the `:=` outside brackets do not go with its `let` and `have`, one each; None when they do."""
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
    hidden = [token.group()[1:] for token in _WORD_OR_LITERAL.finditer(tactic)]
    hidden += re.findall(r'"[^"]*"|«[^»]*»', tactic)
    return any(name in _WORDS for text in hidden for name in _names(text))


def refuse_statement(statement: str) -> str | None:
    """Why this theorem signature must not reach Lean; None when it may.

    It may not have a proof, nor an end that takes the `:=` of ours for its own.
    """
    refused = _refusal(statement, "statement")
    if refused:
        return refused
    if "--" in statement.rpartition("\n")[2]:
        return "the statement ends in a comment"
    return _misassigned(statement) or _misassigned(re.sub(r"--[^\n]*", "", statement))


def refuse_name(name: str) -> str | None:
    """Why this cannot be a theorem's name; None when it can."""
    if _bad_character(name) or not is_name(name) or name in _WORDS or "_proverTrial" in name:
        return f"{name!r} is not a Lean name"
    return None


# A header may open, declare variables and namespaces, set attributes and options; it declares and runs nothing.
_IN_HEADERS = ["set_option", "import", "prelude", "module", "namespace", "section", "end", "variable", "universe"]
_IN_HEADERS += ["attribute", "noncomputable", "public", "meta", "local", "scoped", "include", "omit", "export"]
_IN_HEADERS += ["suppress_compilation"]
_NOT_IN_HEADERS = ["skipKernelTC", "implemented_by", "ofReduceBool", "ofReduceNat", "trustCompiler", "warn.sorry"]
_ENDS_IN_IN = re.compile(rf"(?<![{_REST}.])in\s*$")
_HEADER_WORDS = (_WORDS | {"sorry", "unsafe", "implemented_by"}).difference(_IN_HEADERS)


def refuse_header(header: str) -> str | None:
    """Why this cannot stand above theorems: a header imports, opens and sets options; it proves and runs nothing."""
    bad = _bad_character(header)
    if bad:
        return f"the header holds {bad}"
    if _ENDS_IN_IN.search(header):
        return "the header ends in `in`, which would not reach the theorem: write `open X`, not `open X in`"
    if _HASH_COMMAND.search(header):
        return "the header holds a `#` command"
    fragment = next((fragment for fragment in _NOT_IN_HEADERS if fragment in header), None)
    if fragment:
        return f"the header holds `{fragment}`, with which a proof would mean nothing"
    found = next((name for name in _names(header) if name in _HEADER_WORDS), None)
    return f"the header holds `{found}`: it may import, open and set options only" if found else None
