"""The refusal list: tactic text and statements that Lean never gets to see.

Tactic text is code, and it is pasted between lines of ours. So text passes only when it is lexically closed (it cannot
end our block or swallow our next line), holds no word that declares, runs or fakes something, and no character that
reads differently than it looks. This is the first of two layers; `sandbox` is the second and trusts nothing here.
"""

import re
import unicodedata

REFUSAL_VERSION = "refusal/1"
MAX_LENGTH = 20_000
MAX_NESTING = 200

# Anywhere in the text, even inside a longer word: none has a use in a proof.
_FRAGMENTS = """
    sorry native run_tac run_cmd run_elab run_meta unsafe implemented_by lcProof lcAny lcErased lcVoid
    ofReduceBool ofReduceNat trustCompiler reduceBool reduceNat by_elab include_str include_bytes dbg_trace
    dbgTrace unsafeCast unsafeIO skipKernelTC declare_syntax_cat builtin_ initialize
""".split()

# Words: commands, and tactics that close goals without proof. Lean's own keywords among them can be no one's name.
_WORDS = """
    admit stop axiom axioms constant theorem lemma def abbrev opaque example instance inductive coinductive
    structure class deriving mutual macro macro_rules elab elab_rules syntax notation notation3 infix infixl
    infixr prefix postfix unif_hint simproc dsimproc binder_predicate set_option extern export import prelude
    module namespace section end variable variables universe universes attribute private protected noncomputable
    nonrec partial local scoped public meta omit include init_quot exit seal unseal register_option
    register_simp_attr add_decl_doc library_note gen_injective_theorems proof_wanted alias irreducible_def
    suppress_compilation csimp IO Elab Meta MetaM TacticM TermElabM CommandElabM CoreM
""".split()

_IDENT = r"A-Za-z0-9_'!?.₀-₉α-ωΑ-Ω\u2100-\u214f\u1d400-\u1d7ff"
_WORD = re.compile(rf"(?<![{_IDENT}«#@])(?:{'|'.join(map(re.escape, _WORDS))})(?![A-Za-z0-9_'!?₀-₉])")
_FRAGMENT = re.compile("|".join(map(re.escape, _FRAGMENTS)))
_HASH_COMMAND = re.compile(r"#\s*[A-Za-z_]")
_PLAIN_STRING = re.compile(r'(?<![\w\'!#])"[A-Za-z0-9 _.,:;?=<>+*/]*"(?![\w\'"])')
_PLAIN_QUOTED_NAME = re.compile(r"«[\w .,:<>=+*/!?'-]*»")
_ODD_CHARACTER = re.compile(r"'(?:\\.[^']*|[\"()\[\]{}⟨⟩⟪⟫⟦⟧⌊⌋⌈⌉])'")
_OPEN_WITHOUT_IN = re.compile(r"(?<![\w.«'])open\b(?!(?:[^\n]|\n(?=[ \t]))*?\bin\b)")
_PAIRS = {")": "(", "]": "[", "}": "{", "⟩": "⟨", "⟫": "⟪", "⟧": "⟦", "⌋": "⌊", "⌉": "⌈", "⦄": "⦃", "»": "«"}
_OPENERS = set(_PAIRS.values())


def _bad_character(text: str) -> str | None:
    for character in text:
        category = unicodedata.category(character)
        if category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and character not in "\n\t":
            return f"the character U+{ord(character):04X} (control, invisible, direction mark or not valid text)"
    return None


def _unclosed(text: str) -> str | None:
    """Why the brackets of `text` (no strings, no comments in it) do not pair up; None when they do."""
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
    found = _FRAGMENT.search(text) or _WORD.search(text)
    if found:
        return f"the {what} holds `{found.group()}`"
    if _HASH_COMMAND.search(text):
        return f"the {what} holds a `#` command"
    if _OPEN_WITHOUT_IN.search(text):
        return f"the {what} holds an `open` without `in`"
    bare = _PLAIN_STRING.sub(" ", text)
    bare = _PLAIN_QUOTED_NAME.sub("x", bare)
    if _ODD_CHARACTER.search(bare):
        return f"the {what} holds a character literal that is a bracket, a quote or an escape"
    if '"' in bare:
        return f"the {what} holds a string that is not plain words"
    unclosed = _unclosed(re.sub(r"--[^\n]*", "", bare))
    return f"the {what} holds {unclosed}" if unclosed else None


def refuse_tactic(tactic: str) -> str | None:
    """Why this tactic text must not reach Lean, for people; None when it may."""
    return _refusal(tactic, "tactic")


def refuse_statement(statement: str) -> str | None:
    """Why this theorem signature must not reach Lean; None when it may. `:=` is allowed inside binders only."""
    refused = _refusal(statement, "statement")
    if refused:
        return refused
    depth = 0
    for position, character in enumerate(statement):
        depth += (character in _OPENERS) - (character in _PAIRS)
        if depth == 0 and statement.startswith(":=", position):
            return "the statement holds `:=`: give the signature alone, without a proof"
    return None


_NAME_PART = r"(?:[A-Za-z_α-κμ-ωΑ-ΠΡ-Ω\u2100-\u214f][A-Za-z0-9_'!?₀-₉α-ωΑ-Ω\u2100-\u214f]*|«[^«»\n\r]+»)"
_NAME = re.compile(rf"{_NAME_PART}(?:\.{_NAME_PART})*")
_HEADER_WORDS = re.compile(
    r"(?<![\w.«'])(?:axiom|axioms|unsafe|implemented_by|extern|macro|macro_rules|elab|elab_rules|syntax|initialize|"
    r"builtin_initialize|run_cmd|run_elab|run_meta|sorry|native_decide|theorem|lemma|instance|opaque|constant)(?![\w'])"
    r"|#\s*[A-Za-z]"
)


def refuse_name(name: str) -> str | None:
    """Why this cannot be a theorem's name; None when it can."""
    if _bad_character(name) or not _NAME.fullmatch(name):
        return f"{name!r} is not a Lean name"
    return None


def refuse_header(header: str) -> str | None:
    """Why this cannot stand above theorems: a header imports, opens and sets options; it proves and runs nothing."""
    bad = _bad_character(header)
    if bad:
        return f"the header holds {bad}"
    found = _HEADER_WORDS.search(header)
    return f"the header holds `{found.group()}`: it may import, open and set options only" if found else None
