"""The small solve curve: short enough for Dagster to show it at once, and right."""

import base64
import re
from xml.etree import ElementTree

import pytest

from prover_assets.defs.metadata import INLINE
from prover_assets.report.sketch import solve_sketch


def drawn(markdown: str) -> ElementTree.Element:
    found = re.fullmatch(r"!\[[^]]*\]\(data:image/svg\+xml;base64,([^)]*)\)", markdown)
    assert found is not None
    return ElementTree.fromstring(base64.b64decode(found[1]))


@pytest.mark.parametrize("highest", [1, 12, 64, 1000])
def test_it_is_short_enough_to_be_shown_at_once(highest: int):
    curves = {name: [1, 3, None, 60, 500] for name in ("policy", "guided", "random")}
    assert len(solve_sketch(curves, highest)) < INLINE


def test_a_curve_rises_where_theorems_are_proved():
    svg = drawn(solve_sketch({"guided": [1, 4, 4, None]}, 8))
    (line,) = [path for path in svg.iter("{http://www.w3.org/2000/svg}path") if path.get("stroke-width")]
    heights = [int(pair.split()[1]) for pair in re.findall(r"\d+ \d+", line.get("d") or "")]
    assert len(heights) == 4  # 1, 2, 4 and 8 expansions
    share = [1 - height / 90 for height in heights]
    assert share == pytest.approx([0.25, 0.25, 0.75, 0.75], abs=0.01)
    assert "guided" in "".join(svg.itertext())


def test_no_theorems_are_drawn_as_none_proved():
    assert len(solve_sketch({"policy": []}, 4)) < INLINE
