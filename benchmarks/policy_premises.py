"""Which tactics name a lemma of the embedded Lean's prelude that their theorem may not use."""

import re
from collections.abc import Iterable
from functools import cache

from prover.environments.script.embedded import ROOT_MODULE, imports_of, prelude_modules
from prover.environments.script.premises import prelude_module

_NAME = re.compile(r"\bNat(?:\.[\w']+)+")
_DECLARED = re.compile(r"^(?:@\[[^\]]*\]\s*)?(?:protected\s+)?(?:theorem|def|abbrev|axiom)\s+([\w.']+)", re.MULTILINE)


@cache
def lemmas(root: str) -> frozenset[str]:
    """Names in `Nat` that a module of the prelude has: its own, and those of what it imports."""
    found = set[str]()
    for module in imports_of(root):
        text = prelude_modules()[module].read_text("utf-8")
        for section in re.split(r"^namespace Nat$", text, flags=re.MULTILINE)[1:]:
            inside = re.split(r"^end Nat$", section, flags=re.MULTILINE)[0]
            found.update(f"Nat.{name}" for name in _DECLARED.findall(inside))
        found.update(name for name in _DECLARED.findall(text) if name.startswith("Nat."))
    return frozenset(found)


def out_of_reach(header: str, tactics: Iterable[str]) -> int:
    """How many of the tactics name a lemma that the prelude has, and the module that the header imports has not."""
    everything, reach = lemmas(ROOT_MODULE), lemmas(prelude_module(header) or ROOT_MODULE)
    return sum(any(name in everything - reach for name in _NAME.findall(tactic)) for tactic in tactics)
