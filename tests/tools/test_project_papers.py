"""The project's own papers: links that lead somewhere, one version everywhere, a picture of the code as it is."""

import importlib
import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def build_docs() -> ModuleType:
    pytest.importorskip("pdoc", reason="pip install -e '.[docs]'")
    return tool("build_docs")


def test_links_of_the_markdown_files_lead_somewhere(build_docs: ModuleType) -> None:
    assert [complaint for path in build_docs.markdown_files() for complaint in build_docs.broken_links(path)] == []


def test_a_broken_link_heading_name_or_file_is_named(build_docs: ModuleType, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build_docs, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading\n[fine](#a-heading) [gone](nowhere.md) [lost](page.md#no-heading) [out](https://example.org)\n"
        "`prover.search.engine` `prover.search.nothing` `docs/nothing.md`\n```\n[in code](ignored.md)\n```\n",
        encoding="utf-8",
    )
    assert list(build_docs.broken_links(page)) == [
        "page.md: `prover.search.nothing` does not exist",
        "page.md: the file `docs/nothing.md` does not exist",
        "page.md: the link nowhere.md leads to no file",
        "page.md: the link page.md#no-heading leads to no heading",
    ]


def test_a_name_without_a_docstring_is_named(build_docs: ModuleType, monkeypatch, tmp_path: Path) -> None:
    import pdoc.doc

    source = "class Silent:\n    @property\n    def length(self): return 1\n    def _hidden(self): pass\n"
    (tmp_path / "undocumented_module.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = pdoc.doc.Module(importlib.import_module("undocumented_module"))
    assert list(build_docs.undocumented(module)) == [
        "undocumented_module: no docstring",
        "undocumented_module.Silent: no docstring",
        "undocumented_module.Silent.length: no docstring",
    ]


@pytest.mark.long
def test_the_picture_has_a_box_for_each_room_and_no_arrow_upwards() -> None:
    picture = tool("architecture_picture")
    graph = picture.import_graph()
    order = {package: i for i, package in enumerate(picture.PACKAGES)}
    assert [(a, b) for a, b in graph.edges if order[a.package] > order[b.package]] == []
    drawn = ElementTree.fromstring(picture.svg(picture.without_circles(graph)))
    boxes = [node for node in drawn.iter() if node.get("class") == "box"]
    assert len(boxes) == len(graph) > 15


def test_one_version_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d[\d.]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert released[0] == version
