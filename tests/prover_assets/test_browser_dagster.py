"""The tour of Dagster and of the reports, in a headless Chromium. `--screenshots FOLDER` keeps its pictures."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from browser import Page, browsing, missing
from server import ALL, LOCATION, ROOT
from tour import tour

from prover_assets.store.layout import DataFolder

pytestmark = [
    pytest.mark.ui,
    pytest.mark.browser,
    pytest.mark.xdist_group("servers"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is a browser"),
]

WRITE = """
const editor = document.querySelector('[role=dialog] .CodeMirror').CodeMirror;
if (editor.getValue() == arguments[0]) return true;
editor.setValue(arguments[0]);
return false;
"""
"""Writes the Launchpad's settings; true when they were written already. (Another editor is behind the dialog.)"""


READ = "return document.querySelector('[role=dialog] .CodeMirror').CodeMirror.getValue()"
"""What the Launchpad holds."""
STRANGER = "ops:\n  trajectories:\n    config:\n      n_theorem: 5\n"
"""Settings with a name that there is not."""


@pytest.fixture(scope="module")
def page(pytestconfig: pytest.Config):
    folder = pytestconfig.getoption("--screenshots")
    with browsing(Path(folder) if folder else None) as found:
        yield found


def without_navigation(page: Page) -> None:
    """Fold Dagster's sidebar away, so that the page itself is large enough to read."""
    if page.pictures is not None and "Hide navigation" in page.text():
        page.click("button", "Hide navigation")


def without_pointer(page: Page) -> None:
    """Move the pointer to where nothing answers it with a tooltip, for a picture."""
    if page.pictures is not None:
        from selenium.webdriver import ActionChains

        ActionChains(page.driver).move_to_element(page.elements("body")[0]).perform()


def test_the_lineage(server, second, page: Page):
    page.open(f"{server.dagster}/asset-groups")
    with tour("*Lineage* shows the assets of an iteration and what each is made from."):
        # The graph shortens long names; the list beside it has them whole.
        page.wait_text(*ALL, "champion_ebm", "Materialize all")
    without_navigation(page)
    page.shot("dagster-lineage")
    with tour("*Materialize all* asks for a partition, one per iteration, and runs everything for it."):
        page.click("button", "Materialize all")
        page.wait_text("Launch runs to materialize 8 assets", "Partition selection")
        page.click("[role=dialog] button", "All")
        page.wait_text(f"{len(server.partitions())} partitions")
        page.click("[role=dialog] button", "Cancel")
    with tour(
        "No step makes `champion_ebm`: the report of an iteration records it for the next one, and this is how the "
        "loop closes."
    ):
        assert server.metadata("champion_ebm", "iter_001")["decided_by"] == "iter_000"
        page.open(f"{server.dagster}/assets/champion_ebm?view=partitions&partition=iter_001")
        page.wait_text("champion_ebm", "decided_by", "iter_000")


def chosen_partition(page: Page, key: str) -> bool:
    """Type a partition into the Launchpad and take it from the list, if the list has come: else it is typed again."""
    for field in page.elements("input[placeholder=Partition]"):
        field.clear()
        field.send_keys(key)
        time.sleep(1.0)
        for option in page.elements("[role=menuitem], [role=option], li", key):
            option.click()
            return True
    return False


def test_an_iteration_is_materialized_from_a_click(server, first, page: Page):
    page.open(f"{server.dagster}/locations/{LOCATION}/jobs/first_iteration")
    with tour(
        "The Launchpad (*Jobs*, a job, the arrow beside *Materialize all*, *Open launchpad*) is filled in and ready to "
        "run."
    ):
        page.until("the button", lambda: page.elements("button", "Materialize all"))
        buttons = page.elements("button")
        index = next(i for i, button in enumerate(buttons) if "Materialize all" in button.text)
        buttons[index + 1].click()
        page.click("[role=menuitem]", "Open launchpad")
        page.wait_text("Launchpad (configure assets)", "No errors", "All defaults expanded")
    with tour(
        "The defaults are those of the full method, with 50,000 training steps: for a first run, paste `demo.yaml`, "
        "which `make run` uses."
    ):
        assert yaml.safe_load(page.script(READ))["ops"]["ebm_checkpoint"]["config"]["total_steps"] == 50_000
    page.until("the partition", lambda: chosen_partition(page, "iter_000"))
    page.wait_text("No errors")
    without_pointer(page)
    page.shot("dagster-launchpad")

    def written(text: str) -> bool:
        """Whether the settings are there to stay: the page fills its own in once more after a partition was chosen."""
        return page.script(WRITE, text) and "All defaults expanded" not in page.text()

    with tour("Unknown names are refused at once."):
        page.until("the new settings", lambda: all(written(STRANGER) for _ in range(8)))
        page.wait_text('unexpected config entry "n_theorem"')
        assert "No errors" not in page.text()
    wanted = server.config()
    with tour("A preset can be pasted in whole."):
        demo = (ROOT / "prover_assets" / "operate" / "presets" / "demo.yaml").read_text(encoding="utf-8")
        without_tuning = {"ops": {k: v for k, v in yaml.safe_load(demo)["ops"].items() if k != "policy_checkpoint"}}
        page.until("the preset", lambda: all(written(yaml.safe_dump(without_tuning)) for _ in range(8)))
        page.wait_text("No errors")
    if page.pictures is not None:
        return  # the project of the pictures has run this iteration already
    text = yaml.safe_dump(wanted, indent=2)
    page.until("the settings", lambda: all(written(text) and "No errors" in page.text() for _ in range(8)))
    before = {run["runId"] for run in server.runs()}
    page.click("button", "Materialize")
    new = page.until("a new run", lambda: {run["runId"] for run in server.runs()} - before)
    run = server.wait(new.pop())
    assert run["status"] == "SUCCESS"
    assert yaml.safe_load(run["runConfigYaml"])["ops"] == wanted["ops"]
    page.open(f"{server.dagster}/runs/{run['runId']}")
    page.wait_text("Success", "iteration_report")


def visible_picture(page: Page, kind: str) -> bool:
    """Whether a picture that lies in the page is drawn. kind: png or svg."""
    return page.script(
        "return [...document.images].some(i => i.src.startsWith(`data:image/${arguments[0]}`) && i.naturalWidth > 200)",
        kind,
    )


def test_the_page_of_an_asset(server, first, page: Page):
    newest = server.partitions()[-2]  # the last one is open, and nothing is made yet
    page.open(f"{server.dagster}/assets/trajectories?view=partitions&partition={newest}")
    with tour(
        "An asset's page has, for each iteration, the counts, figures, a preview of the table, a proof that was found, "
        "and a search tree."
    ):
        page.wait_text(newest, "solve_rate", "theorem_name", "tactic_applied", "a_proof", "a_search_tree")
    without_navigation(page)
    with tour("The solve curve is there at once; other figures open with *Show Markdown*."):
        page.until("the curve", lambda: visible_picture(page, "svg+xml"))
        page.shot("dagster-asset")
        show(page, "time")
        page.until("the picture", lambda: visible_picture(page, "png"))
    with tour("A link leads to the MLflow run."):
        page.open(f"{server.dagster}/assets/trajectories?view=partitions&partition=iter_000")
        page.wait_text("mlflow_run", "mlflow_iterations")
        addresses = [link.get_attribute("href") for link in page.elements("a")]
        assert any(address and "/runs/" in address and ":5" in address for address in addresses)


def show(page: Page, name: str) -> None:
    """Open the figure of an asset's page that has this name."""
    page.script(
        "const row = [...document.querySelectorAll('tr')].find(row => row.cells[0].innerText.trim() == arguments[0]);"
        "row.scrollIntoView();"
        "[...row.querySelectorAll('*')]"
        ".find(e => e.children.length == 0 && e.innerText.includes('Show Markdown')).click()",
        name,
    )


NOTHING_CUT_OFF = """
const cell = [...document.querySelectorAll('td')].find(e => e.innerText.includes(arguments[0]));
const box = cell.closest('table').parentElement;
return box.scrollWidth <= box.clientWidth + 1;
"""
"""Whether the table with this text is no wider than its place: else the page cuts off every cell."""


def test_the_checks_of_an_asset(server, second, page: Page):
    page.open(f"{server.dagster}/assets/trajectories?view=checks&checkDetail=label_noise")
    with tour("Each check says what it measured, and each iteration keeps its own verdict."):
        page.wait_text("both_labels", "label_noise", "proofs_certified", "provable", "Partition")
    with tour("The page of a check plots its numbers."):
        page.until("plots", lambda: page.elements("canvas"))
    without_navigation(page)
    page.shot("dagster-checks")
    with tour("Each check says what it measured, and each iteration keeps its own verdict."):
        page.click("[role=tab], button, a", "Partitions")
        page.wait_text("iter_000", "iter_001")


def test_the_page_of_the_report(server, second, page: Page):
    page.open(f"{server.dagster}/assets/iteration_report")
    with tour(
        "`iteration_report` holds the decision on the champion, the link to the report, and the comparison on held-out "
        "theorems."
    ):
        page.wait_text("promotion", "promoted: ", "/iter_00", "solved", "guided")
        assert page.script(NOTHING_CUT_OFF, "promoted: ")
        page.until("the curve", lambda: visible_picture(page, "svg+xml"))
    without_navigation(page)
    page.shot("dagster-plot")


def test_the_report_is_a_page_of_its_own(server, second, page: Page):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    file = DataFolder(server.data).iteration("iter_001").report.joinpath("index.html")
    with tour(
        "The report is one HTML file with all figures inside, in `data/iterations/iter_001/report/index.html`.",
    ):
        page.open(file.as_uri())
        page.until("three charts", lambda: len(page.elements(".chart svg")) == 3)
        assert page.script("return [...document.images].every(i => i.complete && i.naturalWidth > 300)")
    with tour("`make ui` serves it under `http://127.0.0.1:3080/iter_001/`."):
        page.open(f"{server.reports}/iter_001/")
        page.wait_text("Report of iter_001", "Held-out theorems proved", "Made from")
        page.until("three charts", lambda: len(page.elements(".chart svg")) == 3)
    if page.pictures is not None:
        page.script("document.body.style.zoom = 0.72")  # down to the end of the curves
        page.shot("report")
        page.script("document.body.style.zoom = 1")
    with tour("Charts zoom with the wheel."):
        chart = page.elements("#solve-curve svg")[0]
        labels = "return [...document.querySelectorAll('#solve-curve svg text')].map(e => e.textContent).join()"
        before = page.script(labels)
        page.script("arguments[0].scrollIntoView({block: 'center'})", chart)
        ActionChains(page.driver).scroll_from_origin(ScrollOrigin.from_element(chart), 0, -300).perform()
        page.until("other labels", lambda: page.script(labels) != before)
    with tour("The table of theorems sorts by a column's name."):
        page.script("document.querySelectorAll('#theorems th button')[4].click()")
        seconds = [float(cell.text) for cell in page.elements("#theorems td:nth-child(5)")]
        assert seconds == sorted(seconds)
        page.script("document.querySelectorAll('#theorems th button')[1].click()")  # "both" first
    with tour(
        "A theorem's name opens its proof, tactic by tactic with the states between, and both of its search trees."
    ):
        proved = (
            "[...document.querySelectorAll('#theorems tbody tr')].find(row => !row.innerText.includes('no search'))"
        )
        page.script(f"({proved} ?? document.querySelector('#theorems tbody tr')).querySelector('button').click()")
        page.until("two trees", lambda: len(page.elements("#theorem .tree")) == 2)
        some = page.script(f"return {proved} !== undefined")
        assert bool(page.elements("#theorem ol.proof > li")) == some
    with tour("The proved path is green."):
        shown = page.script(
            "return [...document.querySelectorAll('#theorem .proved > summary')].map(e => getComputedStyle(e).color)"
        )
        assert bool(shown) == some
        assert set(shown) <= {"rgb(27, 110, 34)"}
    with tour("The colours are energies, from blue (low, better) to red."):
        page.wait_text("(blue, better)", "(red, worse)")
    if page.pictures is not None:  # from the trees on
        page.script(
            "document.querySelectorAll('#theorem section > details:has(ol.proof)').forEach(e => e.open = false)"
        )
        page.script("document.activeElement.blur(); document.querySelector('#theorem h3').scrollIntoView()")
        page.shot("report-tree")


def test_a_search_while_it_runs(server, second, page: Page):
    output = server.data / "a_search.parquet"
    model = DataFolder(server.data).iteration("iter_000").root / "ebm"
    command = [
        *(
            sys.executable,
            "-c",
            "import sys; from prover.cli import main; sys.exit(main())",
            "search",
            "--theorems",
            "propositional:test",
            "--output",
            str(output),
        ),
        *("--ebm-path", str(model), "--budget", "256"),
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=ROOT, **quiet) as search:
        try:
            with tour("`http://127.0.0.1:3080/live/` lists the searches of the data folder, those that run first."):
                page.until("the search", output.with_suffix(".parts").is_dir)
                page.open(server.live)
                page.wait_text("a_search (running", "iterations/iter_000/guided", "baseline/trajectories")
                assert page.elements("li")[0].text.startswith("a_search")
            with tour(
                "The page of a running one shows its rates, the frontier and the tree of the open theorems, and proofs "
                "as they land."
            ):
                page.click("a", "a_search")
                page.wait_text("running", "expansions/s", "Frontier", "next 1", "⊢")
                page.until("a theorem that is done", lambda: page.elements("#landed button.name"))
            without_pointer(page)
            page.shot("live")
        finally:
            search.terminate()
            search.wait(timeout=120)
            for file in server.data.glob("a_search.*"):
                if file.is_file():
                    file.unlink()
    with tour("A finished search has its theorems, their proofs and their trees."):
        page.open(f"{server.live}iterations/iter_000/guided/")
        page.wait_text("finished")
        page.click("#landed button.name")
        page.wait_text("Search tree")
