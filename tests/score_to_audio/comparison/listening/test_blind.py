"""The blind test: what listeners get, what they send back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from score_to_audio.comparison.listening.blind import blind_test
from score_to_audio.comparison.listening.comparison import Blind, Comparison
from score_to_audio.comparison.listening.page import write_page
from score_to_audio.comparison.listening.votes import check_votes, read_key, read_votes
from score_to_audio.errors import InputError
from tests.score_to_audio.comparison.listening.browser import complaints, press, until, visit
from tests.score_to_audio.comparison.listening.comparisons import CONDITIONS

TEXT = "return document.body.innerText"
CHIPS = "return document.querySelector('.chips').innerText"
LIT = "return document.querySelectorAll('.score g.note.on').length"
FILES = "return listening.open().stage.player.cells.map((cell) => cell.audio)"
VOTE = {"seconds": 1, "time": "2026-01-01T00:00:00Z", "chosen": None}

chromium = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]


@pytest.fixture(scope="module", params=["pairs", "mushra"])
def blind(
    request: pytest.FixtureRequest, finished: Comparison, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Blind]:
    place = tmp_path_factory.mktemp("blind")
    reference = "score" if request.param == "mushra" else None
    asked = Blind(request.param, place / "key.json", seed=3, reference=reference)
    return write_page(finished, place / "test", blind=asked), asked


def test_nothing_in_the_folder_names_a_condition(blind: tuple[Path, Blind], finished: Comparison) -> None:
    index, asked = blind
    key = read_key(asked.key_file)
    secrets = [condition.label for condition in CONDITIONS] + ["kth", "sampled", "renderer", finished.title]
    files = [path for path in index.parent.rglob("*") if path.is_file()]
    for path in files:
        assert not any(secret in path.name for secret in secrets)
        if path.suffix != ".mp3":
            text = path.read_text("utf-8")
            assert not [secret for secret in secrets if secret in text]
    audio = [path for path in files if path.suffix == ".mp3"]
    assert {path.stem for path in audio} == set(key.stimuli)
    assert len({path.stat().st_mtime for path in audio}) == 1
    assert {one.condition for one in key.stimuli.values()} == {"score", "kth"}


def test_the_same_seed_gives_the_same_test_and_another_one_another(
    finished: Comparison, tmp_path: Path
) -> None:
    def key(seed: int) -> object:
        return blind_test(finished, Blind("pairs", tmp_path / "key", seed)).key

    assert key(1) == key(1)
    assert key(1) != key(2)


def test_what_cannot_be_a_blind_test_is_refused(finished: Comparison, tmp_path: Path) -> None:
    inside = Blind("pairs", tmp_path / "page" / "key.json")
    with pytest.raises(InputError, match="must not lie in the folder"):
        write_page(finished, tmp_path / "page", blind=inside)
    with pytest.raises(InputError, match="it has: score, kth, gone"):
        blind_test(finished, Blind("mushra", tmp_path / "key", reference="nothing"))
    with pytest.raises(InputError, match="nothing to compare"):
        blind_test(Comparison("empty", ()), Blind("pairs", tmp_path / "key"))
    assert list(tmp_path.iterdir()) == []


def hear_all(driver: Any) -> None:
    for chip in range(driver.execute_script("return document.querySelectorAll('.chip').length")):
        driver.execute_script(f"document.querySelectorAll('.chip')[{chip}].click()")
        until(lambda: driver.execute_script("return listening.open().stage.player.playing"), "sound")


class TestInTheBrowser:
    pytestmark = chromium

    def test_votes_are_kept_exported_and_read(
        self, driver: Any, blind: tuple[Path, Blind], tmp_path: Path
    ) -> None:
        index, asked = blind
        visit(driver, index)
        driver.execute_script("localStorage.clear()")
        visit(driver, index)
        key = read_key(asked.key_file)
        button = "document.querySelectorAll('.vote')[0]"
        assert driver.execute_script(f"return {button}.disabled")
        hear_all(driver)
        until(lambda: not driver.execute_script(f"return {button}.disabled"), "the vote")
        if asked.kind == "mushra":
            assert driver.execute_script("return document.querySelector('.chips').innerText").endswith(
                "Reference"
            )
            driver.execute_script(
                "document.querySelectorAll('.rating input').forEach((one, i) => { one.value = 20 + 60 * i;"
                " one.dispatchEvent(new Event('input')) })"
            )
        driver.execute_script(f"{button}.click()")
        until(
            lambda: "1 of 2 answered" in driver.execute_script(TEXT),
            "the next trial",
        )
        # The answer is still there after the page is opened again.
        visit(driver, index)
        assert "1 of 2 answered" in driver.execute_script(TEXT)
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
        )
        driver.execute_script("document.querySelector('.progress button:last-child').click()")
        saved = until(lambda: list(tmp_path.glob("votes-*.json")), "the file")[0]
        export = read_votes(saved)
        check_votes(export, key, str(saved))
        assert len(export.votes) == 1
        vote = export.votes[0]
        if asked.kind == "pairs":
            assert vote.chosen == vote.stimuli[0]
        else:
            assert [dict(vote.ratings or {})[one] for one in vote.stimuli] == [20, 80]
        assert vote.seconds > 0
        assert complaints(driver) == []

    def test_listeners_have_orders_of_their_own(self, driver: Any, blind: tuple[Path, Blind]) -> None:
        index, asked = blind
        name = f"score-to-audio votes {read_key(asked.key_file).test}"

        def order(listener: str) -> str:
            memory = json.dumps({"listener": listener, "votes": {}})
            driver.execute_script("localStorage.setItem(arguments[0], arguments[1])", name, memory)
            visit(driver, index)
            cells = driver.execute_script(
                "return listening.open().stage.player.cells.map((one) => one.audio)"
            )
            return str(cells)

        visit(driver, index)
        assert order("one") == order("one")
        assert len({order(listener) for listener in ("one", "two", "three", "four")}) > 1

    def test_switching_and_the_score_work_as_on_the_page(
        self, driver: Any, blind: tuple[Path, Blind]
    ) -> None:
        visit(driver, blind[0])
        driver.execute_script("listening.open().stage.player.seekPlace(8)")
        press(driver, "2")
        until(lambda: driver.execute_script("return listening.open().stage.player.playing"), "sound")
        assert driver.execute_script("return listening.open().stage.player.current") == 1
        assert 7.9 < driver.execute_script("return listening.open().stage.player.place") < 10
        until(
            lambda: driver.execute_script("return document.querySelectorAll('.score g.note.on').length"),
            "lit notes",
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not an export of votes"),
        ({"test": "another"}, "votes of another test"),
        ({"kind": "mushra"}, "votes of kind"),
        ({"votes": "twice"}, "answers a trial twice"),
        ({"votes": "unknown"}, "no such trial"),
        ({"votes": "stranger"}, "does not answer"),
        ({"more": 1}, "not an export of votes"),
    ],
)
def test_exports_that_do_not_fit_are_refused(
    finished: Comparison, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    key = blind_test(finished, Blind("pairs", tmp_path / "key")).key
    trial, stimuli = next(iter(key.trials.items()))
    vote = {
        "trial": trial,
        "stimuli": list(stimuli),
        "seconds": 1,
        "time": "2026-01-01T00:00:00Z",
        "chosen": None,
    }
    votes = {
        "twice": [vote, vote],
        "unknown": [vote | {"trial": "x"}],
        "stranger": [vote | {"chosen": "x"}],
    }
    about = {"format": "score-to-audio votes 1", "test": key.test, "kind": "pairs", "listener": "l"}
    export = about | {"votes": [vote]}
    path = tmp_path / "votes.json"
    path.write_text(json.dumps(export))
    check_votes(read_votes(path), key, str(path))
    change = {name: votes.get(value, value) if name == "votes" else value for name, value in change.items()}
    path.write_text(json.dumps(export | change))
    with pytest.raises(InputError, match=message):
        check_votes(read_votes(path), key, str(path))
