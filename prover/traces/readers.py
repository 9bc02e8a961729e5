"""The published layouts of traces: one entry of a file to traces, or the reason why not.

Field names are those of the published files (docs/traces.md has the table). Nothing here asks Lean.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from prover.traces.model import Step, Trace, TraceError, goal_text, goals, linear, regroup, state_text

MAX_DEPTH = 1000
"""Deepest proof tree that is read; a deeper one is refused instead of exhausting the stack."""


def text_field(entry: Mapping[str, object], field: str, where: str = "") -> str:
    """A field that must hold text. Raises TraceError."""
    value = entry.get(field)
    if not isinstance(value, str):
        found = "is missing" if value is None else f"is {value!r:.60}"
        raise TraceError(where + field, f"{found}; expected text")
    return value


def object_field(value: object, field: str) -> Mapping[str, object]:
    """The value of a field that must be an object. Raises TraceError."""
    if not isinstance(value, dict):
        raise TraceError(field, f"is {value!r:.60}; expected an object")
    return value


def list_field(entry: Mapping[str, object], field: str, where: str = "") -> list[object]:
    """A field that must hold a list. Raises TraceError."""
    value = entry.get(field)
    if not isinstance(value, list):
        found = "is missing" if value is None else f"is {value!r:.60}"
        raise TraceError(where + field, f"{found}; expected a list")
    return value


def read_state(text: str, field: str) -> str:
    """A foreign state, cleaned (see `state_text`). Raises TraceError with the field."""
    try:
        return state_text(text)
    except TraceError as error:
        raise TraceError(field, error.message) from None


def read_step(entry: Mapping[str, object], where: str) -> Step:
    """A step with the fields state_before, tactic, state_after. Raises TraceError."""
    before = read_state(text_field(entry, "state_before", where), f"{where}state_before")
    if not before:
        raise TraceError(f"{where}state_before", "has no goals, so that no tactic can follow")
    after = read_state(text_field(entry, "state_after", where), f"{where}state_after")
    return Step(before, read_tactic(text_field(entry, "tactic", where), f"{where}tactic"), after)


def read_tactic(text: str, field: str) -> str:
    """A tactic without blanks around it. Raises TraceError for an empty one."""
    tactic = text.replace("\r\n", "\n").strip()
    if not tactic:
        raise TraceError(field, "is empty; expected a tactic")
    return tactic


# -- LeanDojo ---------------------------------------------------------------------------------------------------------


def leandojo(entry: Mapping[str, object]) -> list[Trace]:
    """A theorem of LeanDojo's benchmark. One without `traced_tactics` (its proof is a term) gives no trace.

    `theorem_statement` and `header` are not LeanDojo's: `prover export` adds them, so that nothing is lost on the way.
    """
    name = text_field(entry, "full_name")
    steps = []
    for number, item in enumerate(list_field(entry, "traced_tactics")):
        where = f"traced_tactics[{number}]."
        steps.append(read_step(object_field(item, where.rstrip(".")), where))
    if not steps:
        return []
    statement, header = entry.get("theorem_statement") or "", entry.get("header") or ""
    if not isinstance(statement, str) or not isinstance(header, str):
        raise TraceError("theorem_statement", "is not text, or `header` is not; expected text")
    return linear(name, steps, statement=statement, header=header)


def lean_github(rows: Iterable[tuple[int, Mapping[str, object]]]) -> Iterator[tuple[int, list[Trace] | TraceError]]:
    """LEAN-GitHub: a row per tactic. Neighbouring rows of one declaration (repository, file, name, start) are a trace.

    Yields (row number, traces or what is wrong with that row); a row that cannot be read spoils its declaration only.
    """
    at = 0
    key: tuple[str, ...] | None = None
    steps: list[Step] = []
    spoilt: set[object] = set()

    def finish() -> list[Trace] | TraceError | None:
        if not steps or key is None or key in spoilt:
            return None
        try:
            return linear(str(key[-2]), steps)
        except TraceError as error:
            return error

    for number, row in rows:
        identity = tuple(str(row.get(field)) for field in ("url", "commit", "file_path", "full_name", "start"))
        if identity != key:
            done = finish()
            if done is not None:
                yield at, done
            at, key, steps = number, identity, []
        try:
            text_field(row, "full_name")
            steps.append(read_step(row, ""))
        except TraceError as error:
            spoilt.add(identity)
            yield number, error
    done = finish()
    if done is not None:
        yield at, done


# -- leantree ---------------------------------------------------------------------------------------------------------


def leantree(entry: Mapping[str, object]) -> list[Trace]:
    """A Lean file of leantree: theorems with a proof tree for each `by` block.

    A tree is factorised: each node is one goal that its tactic turns into the goals of its children. A search sees the
    goals of a state together, so the tree is walked depth first, with the goals that wait behind the present one.
    The first block of a theorem is its proof and has its name; others are named `NAME#2`, `NAME#3`, ...
    """
    traces = []
    for number, item in enumerate(list_field(entry, "theorems")):
        where = f"theorems[{number}]."
        theorem = object_field(item, where.rstrip("."))
        if "error" in theorem and "by_blocks" not in theorem:
            continue  # leantree's own note that it could not extract this one
        name = text_field(theorem, "name", where)
        blocks = list_field(theorem, "by_blocks", where)
        for place, block in enumerate(blocks):
            inside = f"{where}by_blocks[{place}]."
            tree = object_field(object_field(block, inside.rstrip(".")).get("tree"), f"{inside}tree")
            if "error" in tree and "nodes" not in tree:
                continue
            steps = _leantree_steps(tree, f"{inside}tree.")
            if steps:
                traces.append(Trace(name if place == 0 else f"{name}#{place + 1}", tuple(steps)))
    return traces


def _leantree_steps(tree: Mapping[str, object], where: str) -> list[Step]:
    nodes: dict[str, Mapping[str, object]] = {}
    for number, item in enumerate(list_field(tree, "nodes", where)):
        node = object_field(item, f"{where}nodes[{number}]")
        nodes[text_field(node, "id", f"{where}nodes[{number}].")] = node
    waiting: list[tuple[str, str]] = []  # (node, its goals' text), the next one first
    root = text_field(tree, "root_id", where)
    seen: set[str] = set()

    def goals_of(name: str) -> tuple[str, str]:
        if name not in nodes:
            raise TraceError(f"{where}nodes", f"has no node {name!r:.60}, which is named as a root or a child")
        if name in seen:
            raise TraceError(f"{where}nodes", f"comes to node {name!r:.60} twice; expected a tree")
        seen.add(name)
        return name, _leantree_state(nodes[name], f"{where}nodes.{name}.")

    waiting.append(goals_of(root))
    steps: list[Step] = []
    while waiting:
        name, _ = waiting[0]
        before = _join(text for _, text in waiting)
        edge = nodes[name].get("tactic")
        if edge is None:
            break  # an open goal: the proof is not whole
        inside = f"{where}nodes.{name}.tactic."
        edge = object_field(edge, inside.rstrip("."))
        tactic = read_tactic(text_field(edge, "tactic_string", inside), f"{inside}tactic_string")
        children = [goals_of(str(child)) for child in list_field(edge, "children", inside)]
        waiting = children + waiting[1:]
        steps.append(Step(before, tactic, _join(text for _, text in waiting)))
    return steps


def _leantree_state(node: Mapping[str, object], where: str) -> str:
    state = object_field(node.get("state"), f"{where}state")
    texts = []
    for number, item in enumerate(list_field(state, "goals", f"{where}state.")):
        inside = f"{where}state.goals[{number}]."
        goal = object_field(item, inside.rstrip("."))
        hypotheses = []
        for place, entry in enumerate(list_field(goal, "hypotheses", inside)):
            at = f"{inside}hypotheses[{place}]."
            hypothesis = object_field(entry, at.rstrip("."))
            value = hypothesis.get("value")
            if value is not None and not isinstance(value, str):
                raise TraceError(f"{at}value", f"is {value!r:.60}; expected text or null")
            name, kind = text_field(hypothesis, "user_name", at), text_field(hypothesis, "type", at)
            hypotheses.append(([name], kind, value))
        tag = goal.get("tag")
        texts.append(
            goal_text(hypotheses, text_field(goal, "type", inside), tag if isinstance(tag, str) and tag else None)
        )
    return read_state(_join(texts), f"{where}state")


def _join(texts: Iterable[str]) -> str:
    return "\n\n".join(text for text in texts if text)


# -- nanoproof --------------------------------------------------------------------------------------------------------


def nanoproof(entry: Mapping[str, object]) -> list[Trace]:
    """A run of nanoproof: `theorems.jsonl`. An attempt that did not end in a proof gives no trace.

    From `simplified_tree` (or `full_tree`) where it is there: an AND/OR tree, walked depth first. Else from
    `transitions` [[state, tactic, value]]: one goal each, in the order of that walk, without what comes after. The
    value is minus the tactics left. A transition whose value is one more than the last one's follows it; any other
    begins a trace of its own (`NAME#2`, ...), with the tactics left as the file says.
    """
    name = entry.get("id") if entry.get("id") is not None else entry.get("name")
    if not isinstance(name, str | int) or isinstance(name, bool) or name == "":
        raise TraceError("id", f"is {name!r:.60}; expected a name or a number")
    name = f"{entry['dataset']}/{name}" if isinstance(entry.get("dataset"), str) and entry["dataset"] else str(name)
    for field in ("simplified_tree", "full_tree"):
        tree = entry.get(field)
        if isinstance(tree, dict):
            steps = _nanoproof_steps(tree, field)
            if steps:
                return [Trace(name, tuple(steps), statement="")]
    transitions = entry.get("transitions")
    if transitions is None:
        return []
    return _transitions(name, list_field(entry, "transitions"))


def _nanoproof_steps(root: Mapping[str, object], field: str) -> list[Step]:
    """Steps of the solved part of an AND/OR tree; [] where it is not solved."""
    if not root.get("is_solved"):
        return []
    waiting: list[tuple[Mapping[str, object], str]] = _branches(root, field, 0)
    steps: list[Step] = []
    while waiting:
        node, _ = waiting[0]
        before = _join(text for _, text in waiting)
        children = object_field(node.get("children"), f"{field}.children")
        solved = [(action, child) for action, child in children.items() if isinstance(child, dict)]
        solved = [(action, child) for action, child in solved if child.get("is_solved")]
        if not solved:
            raise TraceError(f"{field}.children", "a node that is said to be solved has no solved child")
        action, child = min(solved, key=lambda pair: (len(pair[0]), pair[0]))
        waiting = _branches(child, field, len(steps)) + waiting[1:]
        steps.append(Step(before, read_tactic(action, f"{field}.children"), _join(text for _, text in waiting)))
    return steps


def _branches(node: Mapping[str, object], field: str, depth: int) -> list[tuple[Mapping[str, object], str]]:
    """The OR nodes of a node, each with its goal; [] for a finished one."""
    if depth > MAX_DEPTH * 100:
        raise TraceError(field, "has more nodes than a proof can have")
    states = list_field(node, "state", f"{field}.")
    if not states:
        return []
    children = node.get("children")
    if len(states) > 1:  # an AND node: its children are numbered, one for each goal
        below = object_field(children, f"{field}.children")
        found = []
        for number in sorted(below, key=lambda text: (len(text), text)):
            found += _branches(object_field(below[number], f"{field}.children"), field, depth + 1)
        return found
    if not isinstance(states[0], str):
        raise TraceError(f"{field}.state", f"holds {states[0]!r:.60}; expected text")
    return [(node, _one_line_each(read_state(states[0], f"{field}.state")))]


def _one_line_each(text: str) -> str:
    """nanoproof writes a hypothesis per line; Lean joins neighbours of one type."""
    return "\n\n".join(regroup(goal) for goal in goals(text))


def _transitions(name: str, items: Sequence[object]) -> list[Trace]:
    read: list[tuple[str, str, int]] = []
    for number, item in enumerate(items):
        where = f"transitions[{number}]"
        if not isinstance(item, list) or len(item) != 3:
            raise TraceError(where, f"is {item!r:.60}; expected [state, tactic, value]")
        state, tactic, value = item
        if not isinstance(state, str) or not isinstance(tactic, str):
            raise TraceError(where, f"is {item!r:.60}; expected a state and a tactic as text")
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 1e6:
            raise TraceError(where, f"has the value {value!r:.60}; expected minus the number of tactics left")
        text = _one_line_each(read_state(state, where))
        if not text:
            raise TraceError(where, "has a state without goals, so that no tactic can follow")
        read.append((text, read_tactic(tactic, where), round(abs(value))))
    chains: list[list[tuple[str, str, int]]] = []
    for item in read:
        if chains and chains[-1][-1][2] == item[2] + 1:
            chains[-1].append(item)
        else:
            chains.append([item])
    traces = []
    for place, chain in enumerate(chains):
        steps = [Step(now[0], now[1], then[0]) for now, then in pairwise(chain)]
        last = chain[-1]
        if last[2] <= 1:  # its tactic closes the goal
            steps.append(Step(last[0], last[1], ""))
        elif not steps:
            continue  # a single state whose next one is not known: nothing to learn a step from
        own = name if place == 0 else f"{name}#{place + 1}"
        traces.append(Trace(own, tuple(steps), remaining=tuple((text, left) for text, _, left in chain)))
    return traces


READERS: dict[str, Callable[[Mapping[str, object]], list[Trace]]] = {
    "leandojo": leandojo,
    "leantree": leantree,
    "nanoproof": nanoproof,
}
"""Formats with an entry per theorem (or file); LEAN-GitHub has a row per tactic, see `lean_github`."""


def guess_format(entry: object) -> str | None:
    """The format that an entry's fields tell of; None where they tell of none."""
    if not isinstance(entry, dict):
        return None
    if "traced_tactics" in entry:
        return "leandojo"
    if {"state_before", "tactic", "full_name"} <= entry.keys():
        return "lean-github"
    if isinstance(entry.get("theorems"), list) and ("path" in entry or "imports" in entry):
        return "leantree"
    if "transitions" in entry or "simplified_tree" in entry:
        return "nanoproof"
    return None
