"""How often the gate adopts a policy or an energy model, against its true gain in area: simulated, seeded, no Lean.

    python benchmarks/gate.py [--trials 400] [--probabilities 0.7,0.8,0.9,0.95]

A false adoption is an adoption whose true gain is negative. A missed gain is a positive true gain that is not adopted.
"""

import argparse

from rich.console import Console
from rich.table import Table

from prover.evaluation.gate import GateSettings
from prover.evaluation.gate_simulation import Setup, adoption_rates, return_rate

GAINS = (-0.06, -0.04, -0.02, -0.01, 0.0, 0.01, 0.02, 0.04, 0.06, 0.08)


def table(title: str, header: str, rows: list[tuple[str, list[float]]]) -> Table:
    """A row per rule, a column per true gain."""
    found = Table(title=title)
    for column in (header, *(f"{gain:+.2f}" for gain in GAINS)):
        found.add_column(column, justify="left" if column == header else "right")
    for name, shares in rows:
        found.add_row(name, *("" if share != share else f"{share:.0%}" for share in shares))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400, help="worlds drawn per figure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--probabilities", default="0.7,0.8,0.9,0.95", help="least probabilities to compare")
    args = parser.parse_args()
    console = Console(width=130, highlight=False)
    drawn = {"trials": args.trials, "seed": args.seed}
    setups = {
        "40 theorems": Setup(40),
        "120 theorems": Setup(120),
        "120 theorems, 3 rounds": Setup(120, rounds=3),
        "120 theorems, 3 rounds, the same ones": Setup(120, rounds=3, same_theorems=True),
        "240 theorems": Setup(240),
    }
    rows = [(name, [adoption_rates(gain, setup, **drawn).adopted for gain in GAINS]) for name, setup in setups.items()]
    old = [(f"sign test, {n}", [adoption_rates(gain, Setup(n), **drawn).before for gain in GAINS]) for n in (40, 120)]
    console.print(table("Adopted, by the true gain in area", "evidence", [*rows, *old]))
    kinds = [(f"{text}", GateSettings(least_probability=float(text))) for text in args.probabilities.split(",")]
    rows = [
        (f"{name}, {n}", [adoption_rates(gain, Setup(n), settings, **drawn).adopted for gain in GAINS])
        for name, settings in kinds
        for n in (40, 120)
    ]
    console.print(table("Adopted, by least_probability and number of theorems", "least_probability", rows))
    said = [adoption_rates(gain, Setup(120), **drawn).chance_said for gain in GAINS]
    console.print(table("Chance of a wrong adoption that the report states, mean over adoptions", "", [("120", said)]))
    back = [return_rate(gain, 3, 120, **drawn) for gain in GAINS]
    console.print(
        table(
            "The way back: of what was adopted on 120 theorems, given up within 3 more rounds",
            "",
            [("adopted", [share for share, _ in back]), ("given up", [share for _, share in back])],
        )
    )


if __name__ == "__main__":
    main()
