"""Parts of a printed proof state, as prompts need them."""

from prover.states import goals_of


def main_goal(state: str) -> str:
    """The first goal, without case tag; "" for a finished proof."""
    goals = goals_of(state)
    return goals[0] if goals else ""


def hypotheses_of(goal: str) -> list[str]:
    """The hypotheses of one goal in the order shown, e.g. `h : p ∧ q`; each with its continuation lines."""
    found: list[str] = []
    for line in goal.split("\n"):
        if line.startswith("⊢"):
            break
        if line.startswith(" ") and found:
            found[-1] += "\n" + line
        else:
            found.append(line)
    return found


def conclusion_of(goal: str) -> str:
    """What one goal asks for, without its turnstile. Continuation lines are kept."""
    _, _, conclusion = f"\n{goal}".partition("\n⊢")
    return conclusion.strip()


def drop_first_line(goal: str) -> str | None:
    """A goal without its first hypothesis (with that line's continuation lines); None for a bare conclusion."""
    lines = goal.split("\n")
    if lines[0].startswith("⊢"):
        return None
    rest = 1
    while rest < len(lines) and lines[rest].startswith(" "):
        rest += 1
    return "\n".join(lines[rest:]) or None


def goal_as_example(goal: str) -> str:
    """A printed goal restated as a Lean signature: `h : p` lines become binders. A display for a prompt, not for Lean:
    names with a dagger stay as they are, and `x : α := v` keeps its value in the type."""
    binders = [" ".join(part.strip() for part in text.split("\n")).strip() for text in hypotheses_of(goal)]
    conclusion = " ".join(line.strip() for line in conclusion_of(goal).split("\n"))
    signature = "".join(f" ({binder})" for binder in binders)
    return f"example{signature} : {conclusion} := by"
