"""The budgets at which solved theorems are counted, and when a search is too incomplete to count them."""

BUDGETS: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256)
"""Budgets of a report, in expansions, unless others are asked for: doublings, for the curve is drawn over log2."""


EVALUATION_BUDGET = 64
"""Largest budget of an evaluation, in expansions, unless another is asked for."""


MAX_CRASHED_SHARE = 0.05
"""A search of which a larger share crashed is incomplete: what is left of it may be the easy theorems."""


def budgets_up_to(highest: int) -> list[int]:
    """4, 8, 16, ... below `highest`, and `highest` itself; nothing for 0."""
    return [budget for budget in BUDGETS if budget < highest] + ([highest] if highest else [])
