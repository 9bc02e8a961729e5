"""Short tactic scripts for provable sequents.

The tactics, one line each, all intuitionistic:

    exact h          contradiction        intro h            constructor          left / right
    apply h          exfalso              have h3 := h1 h2   have h3 := h1 ?_
    rcases h with ⟨h1, h2⟩                rcases h with h1 | h2

`find_script` returns a script with the fewest tactics, found by iterative deepening over and-or search: a tactic costs
one, each goal it leaves is proved separately, and goals that the decision procedure refutes are not searched. Between
scripts of equal length, the tactic that comes first in `Searcher._moves` wins, so scripts are deterministic and look
alike. The calculus is complete (it contains the rules of LJ): without the bounds, every provable sequent gets a script.
"""

from dataclasses import dataclass

from prover.logic.arena import CONJUNCTION, DISJUNCTION, FALSE_ID, IMPLICATION, TRUE_ID, Arena, bits
from prover.logic.formulas import Sequent
from prover.logic.g4ip import Decider, StepLimitError
from prover.logic.tactics import fresh_names

DEFAULT_MAX_STEPS = 20
DEFAULT_NODE_LIMIT = 50_000


class ScriptLimitError(RuntimeError):
    """The search for a script used up its nodes: there may be one."""


@dataclass(frozen=True, slots=True)
class _Move:
    """A tactic on a sequent: its name, the formulas it mentions, and the sequents (mask, goal) that it leaves.

    `added`: for each goal left, the formulas whose hypotheses the tactic names, in the order of the names.
    `removed`: the hypothesis that `rcases` uses up, or -1.
    """

    tactic: str
    uses: tuple[int, ...]
    leaves: tuple[tuple[int, int], ...]
    added: tuple[tuple[int, ...], ...]
    removed: int = -1


class Searcher:
    """And-or search for shortest scripts over one arena, with exact costs and lower bounds remembered."""

    def __init__(self, arena: Arena, node_limit: int = DEFAULT_NODE_LIMIT) -> None:
        self.arena = arena
        self.decider = Decider(arena)
        self.node_limit = node_limit
        self.nodes = 0
        self._exact: dict[tuple[int, int], tuple[int, _Move]] = {}
        self._at_least: dict[tuple[int, int], int] = {}
        self._moves_of: dict[tuple[int, int], list[_Move]] = {}

    def shortest(self, mask: int, goal: int, max_steps: int) -> int | None:
        """Fewest tactics that prove the sequent, None when more than `max_steps` are needed or it is not provable."""
        if not self.decider.provable(mask, goal):
            return None
        self.nodes = 0
        for budget in range(self._bound((mask, goal)), max_steps + 1):
            cost = self._search((mask, goal), budget)
            if cost is not None:
                return cost
        return None

    def move(self, mask: int, goal: int) -> _Move:
        """The first tactic of a shortest script of a sequent that `shortest` has solved."""
        return self._exact[mask, goal][1]

    def _bound(self, sequent: tuple[int, int]) -> int:
        """A number of tactics that the sequent needs at least."""
        exact = self._exact.get(sequent)
        if exact is not None:
            return exact[0]
        known = self._at_least.get(sequent)
        if known is None:
            known = self._at_least[sequent] = self._first_bound(*sequent)
        return known

    def _first_bound(self, mask: int, goal: int) -> int:
        if goal == TRUE_ID or mask >> goal & 1 or self._contradictory(mask):
            return 1
        return 2

    def _contradictory(self, mask: int) -> bool:
        if mask >> FALSE_ID & 1:
            return True
        left, right = self.arena.left, self.arena.right
        return any(right[i] == FALSE_ID and mask >> left[i] & 1 for i in bits(mask & self.arena.implications))

    def _search(self, sequent: tuple[int, int], budget: int) -> int | None:
        """The exact cost of a provable sequent if it is at most `budget`."""
        exact = self._exact.get(sequent)
        if exact is not None:
            return exact[0] if exact[0] <= budget else None
        if self._bound(sequent) > budget:
            return None
        self.nodes += 1
        if self.nodes > self.node_limit:
            raise ScriptLimitError(f"no script within {self.node_limit} nodes")
        moves = self._moves_of.get(sequent)
        if moves is None:
            moves = self._moves_of[sequent] = self._moves(*sequent)
        best: tuple[int, _Move] | None = None
        allowed = budget
        for move in moves:
            cost = self._cost(move, allowed)
            if cost is not None:
                best = (cost, move)
                allowed = cost - 1
                if allowed < self._at_least[sequent]:
                    break
        if best is None:
            self._at_least[sequent] = budget + 1
            return None
        self._exact[sequent] = best
        return best[0]

    def _cost(self, move: _Move, budget: int) -> int | None:
        """One for the tactic and the exact costs of what it leaves, if that is at most `budget`."""
        total = 1 + sum(self._bound(sequent) for sequent in move.leaves)
        if total > budget:
            return None
        for sequent in move.leaves:
            total -= self._bound(sequent)
            cost = self._search(sequent, budget - total)
            if cost is None:
                return None
            total += cost
        return total

    def _moves(self, mask: int, goal: int) -> list[_Move]:
        """The tactics worth trying on a provable sequent, in order of preference; all that they leave is provable."""
        arena = self.arena
        kind, left, right = arena.kind, arena.left, arena.right
        provable = self.decider.provable
        if mask >> goal & 1:
            return [_Move("exact", (goal,), (), ())]
        if goal == TRUE_ID:
            return [_Move("constructor", (), (), ())]
        if self._contradictory(mask):
            return [_Move("contradiction", (), (), ())]
        moves: list[_Move] = []
        if kind[goal] == IMPLICATION:
            moves.append(_Move("intro", (), ((mask | 1 << left[goal], right[goal]),), ((left[goal],),)))
        for i in bits(mask & arena.conjunctions):
            a, b = left[i], right[i]
            opened = mask & ~(1 << i) | 1 << a | 1 << b
            moves.append(_Move("rcases_and", (i,), ((opened, goal),), ((a, b),), i))
        for i in bits(mask & arena.implications):
            premises: list[int] = []
            conclusion = i
            while kind[conclusion] == IMPLICATION:
                premises.append(left[conclusion])
                conclusion = right[conclusion]
                if conclusion == goal:
                    break
            if conclusion == goal and all(provable(mask, premise) for premise in premises):
                leaves = tuple((mask, premise) for premise in premises)
                moves.append(_Move("apply", (i,), leaves, ((),) * len(leaves)))
        for i in bits(mask & arena.implications):
            a, b = left[i], right[i]
            if mask >> a & 1 and not mask >> b & 1:
                moves.append(_Move("have", (i, a), ((mask | 1 << b, goal),), ((b,),)))
        if kind[goal] == CONJUNCTION:
            moves.append(_Move("constructor", (), ((mask, left[goal]), (mask, right[goal])), ((), ())))
        for i in bits(mask & arena.disjunctions):
            a, b = left[i], right[i]
            rest = mask & ~(1 << i)
            if not (mask >> a & 1 or mask >> b & 1):
                cases = ((rest | 1 << a, goal), (rest | 1 << b, goal))
                moves.append(_Move("rcases_or", (i,), cases, ((a,), (b,)), i))
        if kind[goal] == DISJUNCTION:
            for side, part in (("left", left[goal]), ("right", right[goal])):
                if provable(mask, part):
                    moves.append(_Move(side, (), ((mask, part),), ((),)))
        if goal != FALSE_ID and provable(mask, FALSE_ID):
            moves.append(_Move("exfalso", (), ((mask, FALSE_ID),), ((),)))
        for i in bits(mask & arena.implications):
            a, b = left[i], right[i]
            if not (mask >> a & 1 or mask >> b & 1) and b != goal and provable(mask, a):
                moves.append(_Move("have_by", (i,), ((mask | 1 << b, goal), (mask, a)), ((b,), ())))
        return moves


def find_script(
    sequent: Sequent, max_steps: int = DEFAULT_MAX_STEPS, node_limit: int = DEFAULT_NODE_LIMIT
) -> tuple[str, ...] | None:
    """A shortest tactic script for a sequent, in Lean's order of goals.

    None if the sequent is not provable or needs more than `max_steps` tactics. Raises ScriptLimitError if the search
    used up `node_limit`.
    """
    arena = Arena()
    numbered = tuple((h.name, arena.add(h.formula)) for h in sequent.hypotheses)
    mask = 0
    for _, number in numbered:
        mask |= 1 << number
    goal = arena.add(sequent.goal)
    searcher = Searcher(arena, node_limit)
    try:
        if searcher.shortest(mask, goal, max_steps) is None:
            return None
    except StepLimitError as error:
        raise ScriptLimitError(str(error)) from error
    script: list[str] = []
    _write(searcher, numbered, (mask, goal), frozenset(sequent.variables), script)
    return tuple(script)


def _write(
    searcher: Searcher,
    context: tuple[tuple[str, int], ...],
    sequent: tuple[int, int],
    taken: frozenset[str],
    script: list[str],
) -> None:
    """Append the script of one goal. `context`: hypotheses as (name, formula), in Lean's order.

    The context may hold a second copy of a formula that `rcases` used up; the sequent's mask says what is counted on.
    """
    move = searcher.move(*sequent)
    used = [_name_of(context, number) for number in move.uses]
    new = fresh_names([name for name, _ in context] + list(taken), max(map(len, move.added), default=0))
    match move.tactic:
        case "exact" | "apply":
            script.append(f"{move.tactic} {used[0]}")
        case "intro":
            script.append(f"intro {new[0]}")
        case "rcases_and":
            script.append(f"rcases {used[0]} with ⟨{new[0]}, {new[1]}⟩")
        case "rcases_or":
            script.append(f"rcases {used[0]} with {new[0]} | {new[0]}")
        case "have":
            script.append(f"have {new[0]} := {used[0]} {used[1]}")
        case "have_by":
            script.append(f"have {new[0]} := {used[0]} ?_")
        case tactic:
            script.append(tactic)
    if move.removed >= 0:
        context = tuple(entry for entry in context if entry[0] != used[0])
    for left, added in zip(move.leaves, move.added, strict=True):
        extended = context + tuple(zip(new, added, strict=False))
        _write(searcher, extended, left, taken, script)


def _name_of(context: tuple[tuple[str, int], ...], number: int) -> str:
    """The newest hypothesis that is the formula."""
    return next(name for name, known in reversed(context) if known == number)
