"""Checks of a page as Lighthouse makes them, by a script in the page: contrast of text, names of controls, overflow."""

from typing import Any

CONTRAST = r"""
const parse = (text) => {
  const found = text.match(/rgba?\(([^)]+)\)/);
  if (!found) return null;
  const [r, g, b, a] = found[1].split(/[,\/ ]+/).filter(Boolean).map(Number);
  return [r, g, b, a === undefined ? 1 : a];
};
const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
const luminance = ([r, g, b]) => {
  const linear = (value) => {
    const share = value / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
};
const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18, 1] : [255, 255, 255, 1];
const ground = (element) => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour && colour[3] > 0) layers.push(colour);
    if (colour && colour[3] === 1) break;
  }
  return layers.reverse().reduce((below, top) => over(top, below), canvas);
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const element = node.parentElement;
  if (!node.textContent.trim() || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)) continue;
  if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
  if (!element.getClientRects().length) continue;
  const style = getComputedStyle(element);
  const ink = parse(element instanceof SVGElement ? style.fill : style.color);
  if (!ink) continue;
  const below = ground(element instanceof SVGElement ? element.closest("svg").parentElement : element);
  const shown = over([ink[0], ink[1], ink[2], ink[3] * Number(style.fillOpacity || 1)], below);
  const [a, b] = [luminance(shown), luminance(below)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const wanted = large ? 3 : 4.5;
  if (ratio < wanted) found.push([node.textContent.trim().slice(0, 60), ratio.toFixed(2), element.tagName]);
}
return found;
"""
"""[text, ratio, element] of each visible text whose contrast is below WCAG 2 AA: 4.5, or 3 for large text."""

UNNAMED = r"""
const named = (element) => (element.getAttribute("aria-label") || element.innerText || element.alt
  || (element.labels && [...element.labels].map((label) => label.innerText).join(" ")) || "").trim();
return [...document.querySelectorAll("button, input, summary, a[href], img, [role=img]")]
  .filter((element) => element.checkVisibility() && !named(element)).map((element) => element.outerHTML.slice(0, 120));
"""
"""Controls and pictures that a screen reader has no name for."""

CONTROLS = "button, input, summary, a[href], dfn[tabindex]"
"""What a page's user can act on."""


BROKEN_WORDS = r"""
const broken = [];
for (const cell of document.querySelectorAll("th")) {
  const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    for (const word of node.textContent.matchAll(/[^\s-]+/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map((box) => box.top)).size > 1) broken.push(word[0]);
    }
}
return broken;
"""
"""Words in the headers of tables that go on in another line."""


def broken_words(page: Any) -> list[str]:
    """Words in the headers of tables that are cut in two."""
    return page.script(BROKEN_WORDS)


def unreachable(page: Any) -> list[str]:
    """Visible controls that the Tab key does not come to."""
    return page.script(
        "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility() && e.tabIndex < 0)"
        ".map(e => e.outerHTML.slice(0, 120))",
        CONTROLS,
    )


def poor_contrast(page: Any) -> list[list[str]]:
    """[text, ratio, element] of each visible text that is too faint."""
    return page.script(CONTRAST)


def unnamed(page: Any) -> list[str]:
    """Controls and pictures without a name."""
    return page.script(UNNAMED)


def sideways(page: Any) -> int:
    """Pixels by which the page is wider than the window: it should not scroll sideways as a whole."""
    return page.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
