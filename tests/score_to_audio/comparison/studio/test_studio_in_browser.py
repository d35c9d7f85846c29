"""The studio in a real browser: drop, listen, switch, cancel, reload."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.score_to_audio.comparison.listening.browser import complaints, press
from tests.score_to_audio.comparison.listening.browser import until as until_within
from tests.score_to_audio.comparison.studio.running import PATIENCE, Studio, running
from tests.trial.trial_kit import write_scores

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[4] / "examples/scores"
PLAYER = "return listening.open()?.stage?.player"
DROP = """
const transfer = new DataTransfer();
transfer.items.add(new File([arguments[1]], arguments[0]));
document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true}));
"""
NAMELESS = """
const named = (one) => one.getAttribute('aria-label') || one.textContent.trim() || one.title
  || [...(one.labels || [])].some((label) => label.textContent.trim());
return [...document.querySelectorAll('button, input, select, iframe')]
  .filter((one) => !named(one)).map((one) => one.outerHTML);
"""
WIDE = "return document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    write_scores(folder / "scores", 3)
    with running(folder, "--scores", str(folder / "scores")) as started:
        yield started


@pytest.fixture
def page(driver: Any, studio: Studio) -> Any:
    """The studio's page, freshly loaded at a desktop's width, with the trial plug-ins chosen."""
    show(driver, studio, width=1300)
    return driver


def show(driver: Any, studio: Studio, *, width: int, dark: bool = False) -> None:
    driver.switch_to.default_content()
    driver.get("about:blank")
    screen = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get_log("browser")
    driver.get(studio.address)
    until(lambda: find(driver, "[name=renderer] option"), "the form")
    for kind in ("renderer", "synthesizer"):
        choose(driver, kind, "trial")


def find(driver: Any, selector: str) -> Any:
    """The first visible match, or None."""
    return next((one for one in driver.find_elements("css selector", selector) if one.is_displayed()), None)


def choose(driver: Any, name: str, value: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(driver.find_element("css selector", f"[name={name}]")).select_by_value(value)


def option(driver: Any, kind: str, name: str, value: str) -> None:
    """Set an option of the renderer or synthesizer."""
    driver.execute_script(
        "const input = document.querySelector(arguments[0]); input.value = arguments[1];",
        f"#{kind}-options [data-name={name}]",
        value,
    )


def until(condition: Callable[[], Any], what: str) -> Any:
    return until_within(condition, what, PATIENCE)


def drop(driver: Any, name: str, content: str) -> None:
    driver.execute_script(DROP, name, content)


def states(driver: Any) -> list[str]:
    return [str(one) for one in driver.execute_script(
        "return [...document.querySelectorAll('#interpretations li')].map((one) => one.dataset.state)"
    )]  # fmt: skip


def complaint(driver: Any) -> str:
    """The sentence about what went wrong."""
    return str(driver.execute_script("return document.querySelector('#spoken.bad')?.textContent || ''"))


def columns(driver: Any) -> int:
    """Columns that the player shows; leaves the browser in the player's frame."""
    driver.switch_to.default_content()
    if not find(driver, "#page"):
        return 0
    driver.switch_to.frame(driver.find_element("css selector", "#page"))
    return int(driver.execute_script(f"{PLAYER}?.cells.length || 0"))


def score(number: int) -> str:
    """A score that no other test uses."""
    text = (EXAMPLES / "petzold_minuet_bwv_anh114.musicxml").read_text("utf-8")
    return text.replace("Minuet in G major", f"Minuet {number}")


def test_drop_listen_and_switch_at_the_same_place(page: Any) -> None:
    drop(page, "minuet.musicxml", score(1))
    until(lambda: columns(page) == 1, "the player")
    page.execute_script("document.querySelector('.bar .play').click()")
    until(lambda: page.execute_script(f"{PLAYER}.seconds > 0.2"), "the sound")
    page.switch_to.default_content()
    choose(page, "renderer", "score")
    page.find_element("css selector", "#play").click()
    newer = until(lambda: find(page, "#newer button"), "the offer of the new interpretation")
    page.switch_to.frame(page.find_element("css selector", "#page"))
    assert page.execute_script(f"{PLAYER}.playing"), "the page was replaced while it played"
    page.switch_to.default_content()
    newer.click()
    until(lambda: columns(page) == 2, "the second column")
    page.execute_script(f"{PLAYER}.seek(5)")
    page.find_element("css selector", "body").click()
    press(page, "2")
    until(lambda: page.execute_script(f"{PLAYER}.current") == 1, "the switch")
    assert complaints(page) == []


def test_work_can_be_cancelled_and_played_again(page: Any) -> None:
    option(page, "renderer", "pause", "50")  # the first progress comes after a tenth
    drop(page, "slow.musicxml", score(2))
    until(lambda: states(page) == ["working"], "the work")
    until(lambda: find(page, "#interpretations progress[value]"), "progress")
    find(page, "#interpretations button[aria-label^=Cancel]").click()
    until(lambda: states(page) == ["cancelled"], "the end of the work")
    assert "Play again" in page.find_element("css selector", "#interpretations").text
    assert complaints(page) == []


def test_a_reload_in_the_middle_and_a_second_page_show_the_same(page: Any, studio: Studio) -> None:
    option(page, "renderer", "pause", "1000")
    drop(page, "reloaded.musicxml", score(3))
    until(lambda: states(page) == ["working"], "the work")
    page.refresh()
    until(lambda: states(page) == ["working"], "the work after a reload")
    address, first = page.current_url, page.current_window_handle
    page.switch_to.new_window("tab")
    page.get(address)
    until(lambda: states(page) == ["working"], "the work on the second page")
    find(page, "#interpretations button[aria-label^=Cancel]").click()
    page.close()
    page.switch_to.window(first)
    until(lambda: states(page) == ["cancelled"], "the news from the second page")


def test_a_broken_score_gets_a_sentence(page: Any) -> None:
    drop(page, "broken.musicxml", "<score-partwise>")
    until(lambda: "broken.musicxml" in complaint(page), "the sentence")
    drop(page, "notes.txt", "la la")
    until(lambda: "not a score" in complaint(page), "the sentence")
    assert "broken" not in page.find_element("css selector", "#pieces").text


def test_a_title_never_becomes_markup(page: Any) -> None:
    drop(page, "evil.musicxml", score(4).replace("Minuet 4", "&lt;img src=x onerror=alert(1)&gt;"))
    until(lambda: columns(page) == 1, "the player")
    page.switch_to.default_content()
    assert page.find_element("css selector", "#title").text == "<img src=x onerror=alert(1)>"
    assert not page.find_elements("css selector", "img")
    assert complaints(page) == []


def test_a_score_is_chosen_from_the_folder(page: Any) -> None:
    page.find_element("css selector", "#offered summary").click()
    until(lambda: find(page, "#offered li button"), "the scores").click()
    until(lambda: columns(page) == 1, "the player")


@pytest.mark.parametrize(("width", "dark"), [(390, False), (768, True), (1400, True)])
def test_every_width_and_both_schemes(driver: Any, studio: Studio, width: int, dark: bool) -> None:
    show(driver, studio, width=width, dark=dark)
    drop(driver, "wide.musicxml", score(5))
    until(lambda: columns(driver) >= 1, "the player")
    driver.switch_to.default_content()
    assert driver.execute_script(WIDE) <= 0
    assert driver.execute_script(NAMELESS) == []
    paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(20, 21, 25)") == dark
    assert complaints(driver) == []


def test_the_form_works_from_the_keyboard(page: Any) -> None:
    drop(page, "keys.musicxml", score(6))
    until(lambda: states(page) == ["done"], "the first interpretation")
    page.execute_script("document.querySelector('[name=renderer]').focus()")
    choose(page, "renderer", "score")
    page.execute_script("document.querySelector('[data-name=seed]').focus()")
    press(page, "\ue007")
    until(lambda: len(states(page)) == 2, "the second interpretation")
