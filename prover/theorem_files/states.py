"""From a printed proof state to a theorem's signature: hypotheses become binders, the goal the statement.

Lean prints states for people, so what comes out may not be read back by Lean; a search says so by the theorem's name.
"""

import re

from prover.theorem_files.names import TheoremTextError, is_name, show

_HYPOTHESIS = re.compile(r"(?P<names>[^:⊢]+?) : (?P<type>.*)", re.DOTALL)
_INSTANCE = re.compile(r"inst✝[¹²³⁴⁵⁶⁷⁸⁹⁰]*")


def signature_of_state(state: str) -> str:
    """`(p q : Prop) (h : p) : q` for the state `p q : Prop`, `h : p`, `⊢ q`. Raises TheoremTextError.

    Instances without a name become `[C]`; other names that Lean made up (`x✝`) lose their mark. A state of several
    goals, or with a local definition (`x : T := v`), has no signature.
    """
    text = re.sub(r"\Acase [^\n]*\n", "", state.strip())
    if text.count("⊢") != 1:
        raise TheoremTextError(f"has {text.count('⊢')} goals; expected a state of one goal: {show(text)}")
    above, _, goal = text.partition("⊢")
    binders = []
    for line in re.split(r"\n(?=\S)", above.strip()):
        if not line.strip():
            continue
        found = _HYPOTHESIS.fullmatch(line.strip())
        if found is None or " := " in line:
            raise TheoremTextError(f"has the hypothesis {show(line)}; expected `names : type`")
        names = found["names"].split()
        if all(_INSTANCE.fullmatch(name) for name in names):
            binders += [f"[{found['type']}]"] * len(names)
            continue
        plain = [_plain(name) for name in names]
        if not all(is_name(name) for name in plain):
            raise TheoremTextError(f"has the hypothesis {show(line)}; expected `names : type`")
        binders.append(f"({' '.join(plain)} : {_plain(found['type'])})")
    return " ".join([*binders, f": {_plain(goal.strip())}"])


def _plain(text: str) -> str:
    """The text with `x✝¹` as `x_1`: Lean cannot read its own mark."""
    return re.sub(r"✝([¹²³⁴⁵⁶⁷⁸⁹⁰]*)", lambda mark: f"_{(len(mark[1]) and mark[1].translate(_DIGITS)) or 0}", text)


_DIGITS = str.maketrans("¹²³⁴⁵⁶⁷⁸⁹⁰", "1234567890")
