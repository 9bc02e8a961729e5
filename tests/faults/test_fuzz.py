"""Readers of text that others write, on text made to break them. Seconds per target: PROVER_FUZZ_S (else 50 examples).

`make fuzz` gives each 20 seconds, as CI does; `make fuzz FUZZ_S=600` is for before a release.
"""

import contextlib
import os
import time
from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prover.environments.isolation.nesting import too_deep
from prover.environments.isolation.refusal import refuse_header, refuse_name, refuse_statement, refuse_tactic
from prover.environments.script.process import parse_messages
from prover.json_digest import json_text, parse_json
from prover.states import count_goals, state_key
from prover.trajectory.labels import merge_labels

SECONDS = float(os.environ.get("PROVER_FUZZ_S", "0"))

LEAN = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(
                    "exact",
                    "by",
                    "fun x =>",
                    "¬",
                    "∀ x,",
                    "(",
                    ")",
                    "⟨",
                    "⟩",
                    "«",
                    "»",
                    ":=",
                    "--",
                    "/-",
                    "-/",
                    "\n",
                    "\n  ",
                ),
                *(
                    ";",
                    "<;>",
                    "|",
                    "h.1",
                    '"',
                    "\\",
                    "`",
                    "#eval",
                    "theorem",
                    "open",
                    "in",
                    "import",
                    "sorry",
                    "x₁",
                    "ℕ",
                ),
                *("case inl", "⊢", "h : p", "\r\n", "\t", "\u200b", "\ud7ff", "'a'", "✝", "@[simp]"),
            ]
        ),
        st.text(max_size=8),
    ),
    max_size=60,
).map(" ".join)


def fuzz(strategy: st.SearchStrategy, check: Callable[..., None]) -> None:
    """Try `check` on examples: for `SECONDS`, or 50 of them."""
    until = time.monotonic() + SECONDS

    @settings(
        max_examples=10_000_000 if SECONDS else 50, derandomize=not SECONDS, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def run(example: object) -> None:
        if SECONDS and time.monotonic() > until:
            raise _TimeIsUp
        check(example)

    with contextlib.suppress(_TimeIsUp):
        run()


class _TimeIsUp(BaseException):
    """Ends a target; not an Exception, so that Hypothesis does not take it for a fault and shrink it."""


def test_refusal_of_any_text() -> None:
    def check(text: str) -> None:
        for refuse in (refuse_tactic, refuse_statement, refuse_header, refuse_name, too_deep):
            answer = refuse(text)
            assert answer is None or (isinstance(answer, str) and answer)

    fuzz(LEAN, check)


def test_parsing_of_any_output_of_lean() -> None:
    message = st.fixed_dictionaries(
        {
            "pos": st.one_of(st.none(), st.fixed_dictionaries({"line": st.integers()})),
            "data": st.one_of(st.text(), st.none()),
        }
    ).map(lambda value: json_text(value).replace("\n", "").encode())
    lines = st.lists(st.one_of(message, st.binary(max_size=40), LEAN.map(lambda text: text.encode())), max_size=8)

    def check(parts: list[bytes]) -> None:
        assert all(isinstance(found["pos"], dict) and "data" in found for found in parse_messages(b"\n".join(parts)))

    fuzz(lines, check)


def test_state_keys_of_any_text() -> None:
    def check(text: str) -> None:
        assert state_key(text) == state_key(text)
        assert count_goals(text) >= 0

    fuzz(LEAN, check)


def test_json_with_a_digest_comes_back() -> None:
    values = st.recursive(
        st.one_of(
            st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False)
        )
        | st.text(st.characters(exclude_categories=("Cs",))),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4),
        max_leaves=12,
    )

    def check(value: dict[str, object]) -> None:
        assert parse_json(json_text(value)) == value

    fuzz(st.dictionaries(st.text("xyz", min_size=1), values, max_size=5), check)


@pytest.mark.parametrize("labels", [("positive", "negative", "unknown")])
def test_merging_of_labels_knows_no_order(labels: tuple[str, ...]) -> None:
    row = st.tuples(st.sampled_from("ab"), st.sampled_from("kl"), st.sampled_from(labels), st.integers(-1, 5))

    def check(rows: list[tuple[str, str, str, int]]) -> None:
        def merged(some: list[tuple[str, str, str, int]]) -> dict[tuple[str, str], str]:
            frame = pl.DataFrame(
                some, schema=["theorem_name", "state_key", "label", "remaining_depth"], orient="row"
            ).with_columns(pl.lit("s").alias("search_id"), pl.lit(None, dtype=pl.UInt64).alias("parent_state_id"))
            out = merge_labels(frame.with_row_index("state_id").with_columns(pl.col("state_id").cast(pl.UInt64)))
            return {row["state_key"]: row["label"] for row in out.iter_rows(named=True)}

        assert merged(rows) == merged(rows[::-1])
        ever = {key for _, key, label, _ in rows if label == "positive"}
        assert {key for key, label in merged(rows).items() if label == "positive"} == ever

    fuzz(st.lists(row, min_size=1, max_size=12), check)
