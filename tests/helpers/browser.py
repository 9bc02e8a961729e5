"""A headless Chromium for tests, and the few gestures they need."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any, TypeVar

T = TypeVar("T")

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1500,1000",
)
WAIT_S = 60.0


def missing() -> str:
    """Why there is no browser to test with; "" where there is one."""
    if which("chromium") is None or which("chromedriver") is None:
        return "no chromium and chromedriver on PATH (Debian: apt install chromium chromium-driver)"
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed (pip install selenium)"
    return ""


class Page:
    """A tab. Waits for what it looks for; fails with what was on the page instead."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def script(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def until(self, what: str, look: Callable[[], T], seconds: float = WAIT_S) -> T:
        """What `look` finds, once it finds something."""
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                found = look()
            except StaleElementReferenceException:
                continue
            if found:
                return found
            time.sleep(0.3)
        text = self.script("return document.body.innerText")
        raise AssertionError(f"no {what} within {seconds} s at {self.driver.current_url}; text there:\n{text[:2000]}")

    def text(self) -> str:
        return self.script("return document.body.innerText")

    def wait_text(self, *words: str) -> None:
        self.until(f"text {words}", lambda: all(word in self.text() for word in words))

    def elements(self, css: str, text: str = "") -> list[Any]:
        from selenium.webdriver.common.by import By

        found = self.driver.find_elements(By.CSS_SELECTOR, css)
        return [element for element in found if text in element.text] if text else found

    def click(self, css: str, text: str = "") -> None:
        """Click the first element of that kind with that text, when there is one that can be clicked."""
        from selenium.common.exceptions import ElementClickInterceptedException, ElementNotInteractableException

        def attempt() -> bool:
            for element in self.elements(css, text):
                try:
                    element.click()
                except (ElementClickInterceptedException, ElementNotInteractableException):
                    continue
                return True
            return False

        self.until(f"{css} {text!r} to click", attempt)

    def shot(self, name: str) -> None:
        """Keep a screenshot where PROVER_SCREENSHOTS says, for the documentation."""
        folder = os.environ.get("PROVER_SCREENSHOTS")
        if folder:
            time.sleep(1.5)  # for animations to end
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))


@contextmanager
def browsing() -> Iterator[Page]:
    """An empty browser, closed on the way out."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    options.binary_location = which("chromium") or ""
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(which("chromedriver")))
    driver.set_page_load_timeout(120)
    driver.set_script_timeout(60)
    try:
        yield Page(driver)
    finally:
        driver.quit()
