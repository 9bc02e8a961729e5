"""Pictures of a report."""

import pytest

from prover_assets.report.plots import (
    TREE_WIDTH,
    Picture,
    TreeNode,
    _layout,
    _short,
    grouped_bars,
    histograms,
    lines,
    search_tree,
    solve_curves,
    stacked_bar,
)

pytestmark = pytest.mark.rendered


def node(id: int, parent: int | None, *, proved: bool = False) -> TreeNode:
    return TreeNode(id, parent, "intro h", proved, complete=proved and id == 3, expanded=True, energy=0.5)


def test_a_tree_is_laid_out_without_two_nodes_in_one_place():
    children = {None: [0], 0: [1, 2, 5], 1: [3, 4], 2: [6]}
    place = _layout(children)
    assert len(set(place.values())) == len(place) == 7
    assert place[0] == (0, 0.0)
    assert place[1] == (1, 0.0)  # the first child lies level with its parent
    assert {place[n][0] for n in (3, 4, 6)} == {2}


LONGEST = "rcases hypothesis with ⟨left, right⟩ | other"


def a_search(depth: int, others: int) -> list[TreeNode]:
    """A proof of `depth` tactics, and `others` nodes off it, up to two steps away."""
    tree = [TreeNode(0, None, "", True, False, True, 1.5)]
    tree += [TreeNode(i, i - 1, LONGEST, True, i == depth, True, -12.25) for i in range(1, depth + 1)]
    for i in range(depth + 1, depth + 1 + others):
        parent = (7 * i) % depth if i % 3 else i - 1
        tree.append(TreeNode(i, parent, LONGEST, False, False, i % 2 == 0, 12.25))
    return tree


@pytest.mark.parametrize(("depth", "others"), [(1, 0), (4, 6), (8, 20), (12, 110), (64, 56)])
def test_a_tree_fits_the_page_and_its_proof_can_be_read(depth, others):
    figure = search_tree.__wrapped__(a_search(depth, others), title="a_theorem, guided")
    figure.canvas.draw()
    assert figure.get_size_inches()[0] <= TREE_WIDTH
    (axes,) = figure.axes
    page = figure.bbox
    shown = [(text.get_text(), text.get_window_extent()) for text in axes.texts]
    for text, box in shown:
        assert axes.bbox.x0 <= box.x0 < box.x1 <= page.x1, text
        assert page.y0 <= box.y0 < box.y1 <= page.y1, text
    tactics = [box for text, box in shown if text == _short(LONGEST)]
    energies = [box for text, box in shown if text == "-12.25"]
    assert len(tactics) == len(energies) == depth
    beside_the_proof = [*tactics, *energies]
    for i, box in enumerate(beside_the_proof):
        assert not any(box.overlaps(other) for other in beside_the_proof[i + 1 :])


def test_the_band_of_a_solve_curve_is_the_wilson_interval():
    figure = solve_curves.__wrapped__({"policy": [2] * 3 + [None] * 7, "nothing": []}, highest=4, title="t")
    (band,) = figure.axes[0].collections
    corners = {(round(float(x), 6), round(float(y), 3)) for x, y in band.get_paths()[0].vertices}
    assert {(1.0, 0.0), (1.0, 0.278), (4.0, 0.108), (4.0, 0.603)} <= corners  # of 0 and of 3 in 10


def test_pictures_are_png():
    tree = [node(0, None, proved=True), node(1, 0, proved=True), node(2, 0), node(3, 1, proved=True)]
    pictures = [
        search_tree(tree, title="t"),
        search_tree([node(0, None), *(node(i, 0) for i in range(1, 300))], title="large", most=50),
        search_tree([], title="empty"),
        solve_curves({"policy": [1, None, 4], "guided": []}, highest=64, title="t"),
        histograms({"positive": [1.0, 2.0], "negative": []}, xlabel="energy", title="t"),
        histograms({"positive": [1.0, 1.0]}, xlabel="energy", title="all the same"),
        grouped_bars({"all": {"policy": (0.5, 0.4, 0.6)}}, ylabel="y", title="t"),
        lines({"loss": ([1, 2], [0.5, 0.4])}, xlabel="step", title="t"),
        lines({}, xlabel="step", title="nothing"),
    ]
    for picture in pictures:
        assert isinstance(picture, Picture)
        assert picture.png.startswith(b"\x89PNG")
        assert picture.data_uri.startswith("data:image/png;base64,")


def test_the_legend_of_the_time_plot_lies_inside_the_figure(monkeypatch: pytest.MonkeyPatch):
    from prover_assets.report import plots

    drawn: list[object] = []
    axes_of = plots._axes
    monkeypatch.setattr(plots, "_axes", lambda **size: drawn.append(axes_of(**size)) or drawn[-1])
    stacked_bar({"model": 3.0, "lean": 2.0, "own": 1.0}, xlabel="seconds", title="where the time went")
    figure, axes = drawn[0]
    figure.canvas.draw()
    legend, bars = axes.get_legend().get_window_extent(), [bar.get_window_extent() for bar in axes.patches]
    assert axes.bbox.x0 <= legend.x0 < legend.x1 <= axes.bbox.x1
    assert axes.bbox.y0 <= legend.y0 < legend.y1 <= axes.bbox.y1
    assert all(bar.y1 < legend.y0 for bar in bars)
