"""What a theorem may use: the module of the embedded Lean's prelude that its header imports.

`import Prover.Nat.Addition2` in a header gives the theorem what the Natural Number Game has proved by then, instead of
the whole prelude; `import Prover.List.Definitions` gives lists, which the whole prelude does not have. What is not
imported does not exist for Lean: no name, no instance and no simp lemma reaches it, in a step or in a certificate. Only
modules that reserve the names which the kernel evaluates by itself can be imported.
"""

import re
from functools import cache

from prover.environments.script import embedded

ROOT_MODULE = "Prover"

_IMPORT = re.compile(r"^\s*(?:public\s+)?(?:meta\s+)?import\s", re.MULTILINE)
_OWN = re.compile(rf"^import ({ROOT_MODULE}(?:\.\w+)*)[ \t]*$", re.MULTILINE)
_RESERVED = f"{ROOT_MODULE}.Reserved"
_ROOT_IMPORT = f"\nimport {ROOT_MODULE}\n"


def has_imports(header: str) -> bool:
    """Whether a header imports anything."""
    return _IMPORT.search(header) is not None


@cache
def accessible_modules() -> frozenset[str]:
    """The prelude's modules that a header may import: those that reserve what the kernel evaluates."""
    return frozenset(
        module
        for module in embedded.prelude_modules()
        if module != _RESERVED and _RESERVED in embedded.imports_of(module)
    )


def prelude_module(header: str) -> str | None:
    """The prelude's module that a header imports; None where it imports none."""
    found = _OWN.search(header)
    return found[1] if found else None


def refuse_imports(header: str, *, takes_imports: bool) -> str | None:
    """Why a theorem with these imports cannot be given to a Lean, for people; None when it can.

    takes_imports: whether that Lean has modules of its own, and not our prelude.
    """
    if not has_imports(header):
        return None
    own = _OWN.findall(header)
    if takes_imports and own and own[0].startswith((f"{ROOT_MODULE}.Nat.", f"{ROOT_MODULE}.List.")):
        return (
            f"the theorem's header imports {own[0]}, a module of the embedded Lean's prelude, which an installed Lean "
            "does not have: leave the import out (the set nng has none as nng:open)"
        )
    if takes_imports:
        return None
    if len(own) != len(_IMPORT.findall(header)):
        return (
            "the theorem's header imports modules, and the embedded Lean has only its own prelude: "
            "use an installed Lean (--lean-project DIR)"
        )
    if len(own) > 1:
        return "the theorem's header imports several modules of the prelude: the last includes those before it"
    if own[0] not in accessible_modules():
        near = ", ".join(sorted(accessible_modules()))
        return f"the theorem's header imports {own[0]}, which is not a module of the prelude for theorems: {near}"
    return None


def split_head(preamble: str, header: str) -> tuple[str, str]:
    """Preamble and header of a file, the preamble importing the header's module of the prelude instead of all of it."""
    module = prelude_module(header)
    if module is None or _ROOT_IMPORT not in preamble:
        return preamble, header
    return preamble.replace(_ROOT_IMPORT, f"\nimport {module}\n", 1), without_import(header)


def without_import(header: str) -> str:
    """The header without its import of a module of the prelude."""
    return _OWN.sub("", header).strip("\n")
