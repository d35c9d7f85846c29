"""The listening page in a real browser, opened from disk."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from score_to_audio.comparison.listening.page import write_page
from score_to_audio.comparison.metrics import EXPRESSION
from score_to_audio.comparison.plan import Condition, Row
from score_to_audio.comparison.results import CellResult, ComparisonResult
from score_to_audio.comparison.summary import summarize
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.store import Store
from tests.score_to_audio.comparison.listening.browser import complaints, press, requested, until, visit
from tests.score_to_audio.comparison.listening.comparisons import (
    SCORES,
    given_cell,
    noise,
    performance,
    result_of,
    with_cells,
    without_scores,
)

pytestmark = pytest.mark.slow

PLACE = "return listening.open().stage.player.place"
SECONDS = "return listening.open().stage.player.seconds"
CURRENT = "return listening.open().stage.player.current"
PLAYING = "return listening.open().stage.player.playing"
CURSOR = """
const line = listening.open().stage.score.cursor;
const box = line.getBoundingClientRect();
return line.hidden ? null : [box.left, box.top];
"""
APART = """
const {maps} = listening.open().stage.player;
return Math.abs(maps[0].seconds(20) - maps[1].seconds(20));
"""
SOUNDING = "return listening.open().stage.player.sounds.filter((one) => one && !one.paused).length"
DRAWN = "return document.querySelectorAll('.score g.note').length"
CLICK = "document.getElementById(arguments[0]).dispatchEvent(new MouseEvent('click', {bubbles: true}))"
OPEN = "return listening.open()?.stage ? listening.open().number : -1"
REPEATED = """
const {score} = listening.open().stage;
const [id, notes] = [...score.passes].find(([, notes]) => notes.length === 2);
return [id, ...notes.map((note) => score.row.notes.q[note])];
"""
NAMELESS = """
const named = (one) => one.getAttribute('aria-label') || one.textContent.trim()
  || [...(one.labels || [])].some((label) => label.textContent.trim());
return [...document.querySelectorAll('button, input, canvas, [tabindex="0"]')]
  .filter((one) => !named(one)).map((one) => one.outerHTML);
"""
LIT = "return [...document.querySelectorAll('.score g.note.on')].map((note) => note.id)"


def play_at(driver: Any, place: float) -> None:
    driver.execute_script("listening.open().stage.player.seekPlace(arguments[0])", place)
    driver.execute_script("listening.open().stage.player.play()")
    before = driver.execute_script(SECONDS)
    until(lambda: driver.execute_script(SECONDS) > before + 0.1, "sound")


def open_row(driver: Any, number: int) -> None:
    driver.execute_script("document.querySelectorAll('.row-toggle')[arguments[0]].click()", number)
    until(lambda: driver.execute_script(OPEN) == number, "the row")


def test_the_cursor_follows_what_sounds_and_lights_its_notes(driver: Any, page: Path) -> None:
    visit(driver, page)
    play_at(driver, 1.0)
    first = until(lambda: driver.execute_script(CURSOR), "the cursor")
    lit = until(lambda: driver.execute_script(LIT), "a lit note")
    until(lambda: driver.execute_script(CURSOR)[0] > first[0] + 20, "a cursor that moves")
    until(lambda: driver.execute_script(LIT) not in ([], lit), "other notes")
    driver.execute_script("listening.open().stage.player.pause()")
    assert complaints(driver) == []


def test_switching_keeps_the_place_in_the_score(driver: Any, page: Path) -> None:
    visit(driver, page)
    assert driver.execute_script(APART) > 1.0  # else the same second would pass for the same place
    for place in (2.5, 11.0, 20.25):
        play_at(driver, place)
        before, after = driver.execute_script(
            "const {player} = listening.open().stage; const before = player.place;"
            "player.select(1 - player.current); return [before, player.place]"
        )
        assert abs(after - before) < 0.05  # quarter notes
        start = driver.execute_script(SECONDS)
        until(lambda start=start: driver.execute_script(SECONDS) > start + 0.15, "sound of the other column")
        assert driver.execute_script(PLAYING)
        assert driver.execute_script(SOUNDING) == 1


def test_the_other_column_goes_on_at_the_same_note(driver: Any, page: Path) -> None:
    visit(driver, page)
    literal, kth = (performance("chopin_prelude_op28_no7.musicxml", name) for name in ("score", "kth-rules"))
    onsets = dict(zip(literal.score_ids or (), literal.onset, strict=True))
    plain = [i for i in range(10, len(kth), 25) if (kth.score_ids or ())[i] in onsets]
    assert len(plain) >= 4
    for i in plain:
        driver.execute_script("listening.open().stage.player.select(1)")
        driver.execute_script("listening.open().stage.player.seek(arguments[0])", float(kth.onset[i]))
        driver.execute_script("listening.open().stage.player.select(0)")
        expected = float(onsets[(kth.score_ids or ())[i]])
        # Hands of kth-rules are apart by some hundredths, and so are the notes of a chord.
        assert abs(driver.execute_script(SECONDS) - expected) < 0.15


def test_a_click_on_a_note_plays_from_there(driver: Any, page: Path) -> None:
    visit(driver, page)
    until(lambda: driver.execute_script(DRAWN) > 100, "the score")
    played = performance("chopin_prelude_op28_no7.musicxml", "score")
    parsed = read_score(SCORES / "chopin_prelude_op28_no7.musicxml").parsed
    index = 60
    drawn = driver.execute_script(f"return listening.open().stage.row.notes.id[{index}]")
    driver.execute_script(CLICK, drawn)
    onset = float(played.onset[list(played.score_ids or ()).index(parsed.notes.id[index])])
    assert abs(driver.execute_script(SECONDS) - onset) < 0.05
    assert drawn in driver.execute_script(LIT)


def test_a_note_of_a_repeat_plays_in_the_pass_that_is_nearer(driver: Any, page: Path) -> None:
    visit(driver, page)
    open_row(driver, 1)
    until(lambda: driver.execute_script(DRAWN) > 100, "the score")
    passes = driver.execute_script(REPEATED)
    drawn, first, second = passes
    for near in (first, second):
        driver.execute_script("listening.open().stage.player.seekPlace(arguments[0])", near + 2)
        driver.execute_script(CLICK, drawn)
        assert abs(driver.execute_script(PLACE) - near) < 0.1


def test_keys(driver: Any, page: Path) -> None:
    visit(driver, page)
    press(driver, " ")
    until(lambda: driver.execute_script(PLAYING), "playing after the space bar")
    press(driver, " ")
    until(lambda: not driver.execute_script(PLAYING), "a pause")
    assert driver.execute_script(CURRENT) == 0
    press(driver, "2")
    assert driver.execute_script(CURRENT) == 1
    press(driver, "3")  # the column that failed
    assert driver.execute_script(CURRENT) == 1
    assert "needs a checkpoint" in driver.execute_script(
        "return document.getElementById('spoken').textContent"
    )
    before = driver.execute_script(PLACE)
    press(driver, ".")
    after = driver.execute_script(PLACE)
    assert before < after <= before + 3.1
    press(driver, ",")
    assert driver.execute_script(PLACE) < after
    press(driver, "d")
    dialog = "return document.querySelector('dialog')?.textContent ?? ''"
    assert "CC BY 3.0" in driver.execute_script(dialog)
    assert "kth-rules" in driver.execute_script(dialog)
    driver.execute_script("document.querySelector('dialog').close()")
    press(driver, "?")
    assert "play, pause" in driver.execute_script(dialog)
    driver.execute_script("document.querySelector('dialog').close()")
    press(driver, "j")
    until(lambda: driver.execute_script(OPEN) == 1, "the next row")
    assert complaints(driver) == []


def test_the_arrows_of_a_chosen_column_stay_with_the_radio_buttons(driver: Any, page: Path) -> None:
    visit(driver, page)
    driver.execute_script("document.querySelector('.columns input').focus()")
    press(driver, "\ue015")  # arrow down
    assert driver.execute_script(CURRENT) == 1


def test_measures_failures_and_loudness_are_shown(driver: Any, page: Path) -> None:
    visit(driver, page)
    table = driver.execute_script("return document.querySelector('table.columns').innerText")
    assert "needs a checkpoint" in table
    assert "0.871" in table  # of kth-rules: 0.9 - 0.029
    gains = driver.execute_script("return listening.open().stage.player.cells.map((cell) => cell.gain)")
    assert gains[:2] == [-3.0, 0.0]
    driver.execute_script("listening.open().stage.player.play()")
    volume = "return listening.open().stage.player.sound.volume"
    assert driver.execute_script(volume) == pytest.approx(10 ** (-3 / 20), abs=1e-3)
    press(driver, "l")
    assert driver.execute_script(volume) == 1


def test_nothing_is_asked_for_outside_the_folder_and_sound_when_it_is_needed(driver: Any, page: Path) -> None:
    visit(driver, page)
    asked = requested(driver)
    assert not [address for address in asked if address.endswith(".mp3")]
    play_at(driver, 5.0)
    open_row(driver, 1)
    asked |= requested(driver)
    folder = page.parent.as_uri()
    outside = [address for address in asked if not address.startswith((folder + "/", "data:", "about:"))]
    assert outside == []
    assert [address for address in asked if address.endswith(".mp3")]
    assert complaints(driver) == []


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_in_light_and_dark(driver: Any, page: Path, dark: bool, tmp_path: Path) -> None:
    visit(driver, page, width=390, dark=dark)
    until(lambda: driver.execute_script(CURSOR), "the score")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
    assert driver.execute_script("return listening.open().stage.score.layout") == "narrow"
    background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(part) for part in background[4:-1].split(",")])
    assert (brightness < 60) if dark else (brightness > 200)
    assert driver.get_screenshot_as_file(str(tmp_path / "phone.png"))


BAR = """
const box = document.querySelector('.bar').getBoundingClientRect();
return box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth;
"""
OPEN_ALL = """
document.querySelectorAll('details').forEach((one) => { one.open = true; });
document.querySelectorAll('.table-options button').forEach((one) => one.click());
"""


@pytest.fixture(scope="module")
def measured_page(
    finished: ComparisonResult, page_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A page with all expression measures, where kth-rules is best."""
    section = finished.sections[0]
    value = {"score": 0.25, "kth": 0.75, "gone": np.nan}
    cells = [
        replace(
            cell,
            values={
                **cell.values,
                **{one.key: value[cell.condition.key] for one in EXPRESSION.quantities},
            },
        )
        for cell in section.cells
    ]
    quantities = (*EXPRESSION.quantities, *finished.quantities)
    summed = summarize(section.section, cells, quantities, {})
    whole = replace(finished, sections=(summed,), quantities=quantities)
    return write_page(whole, tmp_path_factory.mktemp("measured") / "page", page_store)


@pytest.mark.parametrize("width", [390, 768, 1400])
@pytest.mark.parametrize("kind", ["page", "measured_page"])
def test_nothing_scrolls_sideways_and_the_player_is_in_reach(
    driver: Any, request: pytest.FixtureRequest, kind: str, width: int
) -> None:
    visit(driver, request.getfixturevalue(kind), width=width)
    until(lambda: driver.execute_script(DRAWN) > 10, "the score")
    widths = "const {scrollWidth, clientWidth} = document.documentElement; return scrollWidth - clientWidth"
    for _ in range(2):
        assert driver.execute_script(widths) <= 0
        assert driver.execute_script(BAR)
        driver.execute_script(OPEN_ALL)
    assert complaints(driver) == []


def test_which_column_is_better_is_seen(driver: Any, measured_page: Path) -> None:
    visit(driver, measured_page)
    verdict = driver.execute_script("return document.querySelector('.verdict').innerText")
    assert verdict.startswith("Of 2 rows, too few to be sure: kth-rules + sampled-piano is nearest")
    table = "return document.querySelector('table.columns thead').innerText"
    assert driver.execute_script(table).index("tempo: shape") >= 0
    assert "amount apart" not in driver.execute_script(table)
    stars = "return [...document.querySelectorAll('.row table.columns tr')].map((line) => line.querySelectorAll('.standing-best').length)"  # noqa: E501
    heads, literal, rules, _ = driver.execute_script(stars)
    assert (heads, rules) == (
        0,
        4 + 4,
    )  # of the four shapes and the four shares within, of which four are hidden
    assert literal == 4 + 1  # hidden: the four distances; and the f1 of the page's own
    driver.execute_script("document.querySelector('.columns-side .table-options button').click()")
    assert "amount apart" in driver.execute_script(table)


def test_everything_that_can_be_used_has_a_name(driver: Any, page: Path) -> None:
    visit(driver, page)
    assert driver.execute_script(NAMELESS) == []


EVIL = "<img src=x onerror=window.hit=1></script><script>window.hit=1</script>\u2028&amp;"


def test_texts_never_become_markup(driver: Any, page_store: Store, tmp_path: Path) -> None:
    score = tmp_path / "evil.musicxml"
    text = (SCORES / "chopin_prelude_op28_no7.musicxml").read_text()
    escaped = EVIL.replace("&", "&amp;").replace("<", "&lt;").replace("\u2028", "")
    assert "Andantino" in text
    score.write_text(text.replace("Andantino", escaped))
    record = ({"model": EVIL, EVIL: {EVIL: EVIL}},)
    row = Row(EVIL, score, note=EVIL)
    heard = given_cell(
        row, Condition("a", EVIL, EVIL, licences={EVIL: EVIL}), noise(tmp_path / "n.mp3"), record
    )
    failed = CellResult(row, Condition("b", "B"), None, EVIL)
    evil = result_of(heard, failed, title=EVIL, description=EVIL, section=EVIL, section_description=EVIL)
    index = write_page(evil, tmp_path / "page", page_store)
    visit(driver, index)
    until(lambda: driver.execute_script(DRAWN) > 100, "the score")
    press(driver, "d")
    assert driver.execute_script("return window.hit") is None
    assert driver.execute_script("return document.querySelectorAll('img').length") == 0
    assert driver.execute_script("return document.querySelector('h1').textContent") == EVIL
    assert "onerror" in driver.execute_script("return document.querySelector('.score').textContent")
    assert [one.name for one in (tmp_path / "page/audio").iterdir() if "<" in one.name] == []
    assert complaints(driver) == []


def test_without_scores_the_timelines_still_keep_the_place(
    driver: Any, finished: ComparisonResult, page_store: Store, tmp_path: Path
) -> None:
    visit(driver, write_page(without_scores(finished), tmp_path / "page", page_store))
    assert driver.execute_script("return document.querySelector('.score')") is None
    play_at(driver, 3.0)
    press(driver, "2")
    assert abs(driver.execute_script(PLACE) - 3.0) < 1.5
    assert complaints(driver) == []


def test_recordings_alone_are_switched_by_the_second(driver: Any, page_store: Store, tmp_path: Path) -> None:
    row = Row("segment")
    cells = (given_cell(row, Condition(key, key), noise(tmp_path / f"{key}.mp3", 3.0)) for key in "ab")
    visit(driver, write_page(result_of(*cells), tmp_path / "page", page_store))
    play_at(driver, 1.0)
    before = driver.execute_script(SECONDS)
    press(driver, "2")
    time.sleep(0.05)
    assert before <= driver.execute_script(SECONDS) < before + 1.0
    assert complaints(driver) == []


def test_a_hundred_cells_open_at_once(
    driver: Any, finished: ComparisonResult, page_store: Store, tmp_path: Path
) -> None:
    first = finished.sections[0].cells[:3]
    rows = [replace(first[0].row, name=f"row {number}", score=None) for number in range(34)]
    cells = (replace(cell, row=row) for row in rows for cell in first)
    visit(driver, write_page(with_cells(finished, *cells), tmp_path / "page", page_store))
    loaded = requested(driver)
    assert len(loaded) < 16  # frame, scripts, overview, one row
    assert driver.execute_script("return document.querySelectorAll('.row').length") == 34
