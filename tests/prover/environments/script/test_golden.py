"""Printed states, exact text, for scripts that between them use every tactic that the prelude registers."""

import json
import re

from lean_golden import GOLDEN, states_of

from prover.environments import ProofClaim
from prover.environments.script.embedded import MINILIB
from prover.environments.script.environment import LeanScript
from prover.theorems import Theorem

ENTRIES = json.loads(GOLDEN.read_text("utf-8"))

# Written form of a registered parser, where it is not its name.
WRITTEN = {
    "renameI": "rename_i", "exposeNames": "expose_names", "tacticExfalso": "exfalso", "tacticExists_": "exists",
    "tacticAnd_intros": "and_intros", "tacticTrivial": "trivial", "tacticNofun": "nofun", "tacticNomatch_": "nomatch",
    "tacticInfer_instance": "infer_instance", "falseOrByContra": "false_or_by_contra", "tacticHave__": "have",
    "tacticHave'": "have'", "tacticHaveI__": "haveI", "tacticLet__": "let", "tacticLetI__": "letI",
    "tacticSuffices_": "suffices", "tacticRefine_lift_": "refine_lift", "tacticRefine_lift'_": "refine_lift'",
    "clearValue": "clear_value", "tacticRfl": "rfl", "tacticRfl'": "rfl'", "eqRefl": "eq_refl", "applyRfl": "apply_rfl",
    "rewriteSeq": "rewrite", "rwSeq": "rw", "rwaAt": "rwa", "rwaAtLegacyLocation": "rwa", "substVars": "subst_vars",
    "simpAll": "simp_all", "paren": "(", "failIfSuccess": "fail_if_success", "tacticTry_": "try",
    "tacticRepeat_": "repeat", "tactic_<;>_": "<;>", "allGoals": "all_goals", "anyGoals": "any_goals",
    "tacticNext_": "next", "rotateLeft": "rotate_left", "rotateRight": "rotate_right",
    "withReducible": "with_reducible", "withReducibleAndInstances": "with_reducible_and_instances",
    "withUnfoldingAll": "with_unfolding_all", "tacticUnhygienic_": "unhygienic", "traceState": "trace_state",
    "traceMessage": "trace", "Lean.cdot": "·", "tacticBy_cases_": "by_cases",
}  # fmt: skip


def test_states_are_printed_as_recorded(lean: LeanScript) -> None:
    assert len(ENTRIES) >= 40
    stepped = states_of(lean, ENTRIES)
    for entry, states in zip(ENTRIES, stepped, strict=True):
        assert states == entry["states"], entry["name"]


def test_every_script_ends_in_a_proof_that_certifies(lean: LeanScript) -> None:
    claims = [ProofClaim(Theorem(entry["name"], entry["statement"]), tuple(entry["tactics"])) for entry in ENTRIES]
    assert [(c.claim.theorem.name, c.reason) for c in lean.certify(claims) if not c.certified] == []


def test_every_registered_tactic_is_in_a_script() -> None:
    text = (MINILIB / "Prover" / "Tactics.lean").read_text("utf-8")
    registered = re.findall(r"@\[tactic_parser 1000, [^\]]*\] def «?([^\s»]+?)(?:=>_|,,|:_)?»? :", text)
    assert len(registered) > 80
    used = "\n".join(tactic for entry in ENTRIES for tactic in entry["tactics"])
    words = set(re.findall(r"[A-Za-z_][\w']*|<;>|·|\(", used))
    missing = [name for name in registered if WRITTEN.get(name, name) not in words and name != "tacticSorry"]
    assert missing == []
