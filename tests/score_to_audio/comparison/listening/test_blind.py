"""The blind test: what listeners get, what they send back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from score_to_audio.comparison.listening.page import write_blind_test
from score_to_audio.comparison.results import ComparisonResult
from score_to_audio.comparison.votes import BlindKey, BlindTestKind, check_votes, read_key, read_votes
from score_to_audio.errors import InputError
from score_to_audio.store import Store
from tests.score_to_audio.comparison.listening.browser import complaints, press, until, visit
from tests.score_to_audio.comparison.listening.comparisons import CONDITIONS, with_cells

TEXT = "return document.body.innerText"


LISTEN = 0.5
"""Seconds of each sound before a vote."""


@pytest.fixture(scope="module", params=["pairs", "mushra"])
def blind(
    request: pytest.FixtureRequest,
    finished: ComparisonResult,
    page_store: Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, BlindKey]:
    """The page and its key."""
    place = tmp_path_factory.mktemp("blind")
    index = write_blind_test(
        finished,
        place / "test",
        page_store,
        kind=request.param,
        seed=3,
        listen=LISTEN,
        key_file=place / "key.json",
    )
    return index, read_key(place / "key.json")


def test_nothing_in_the_folder_names_a_condition(
    blind: tuple[Path, BlindKey], finished: ComparisonResult
) -> None:
    index, key = blind
    secrets = [one.label for one in CONDITIONS] + ["kth", "sampled", "renderer", finished.plan.title]
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
    finished: ComparisonResult, page_store: Store, tmp_path: Path
) -> None:
    def key(seed: int) -> BlindKey:
        file = tmp_path / "key.json"
        write_blind_test(finished, tmp_path / "test", page_store, kind="pairs", seed=seed, key_file=file)
        return read_key(file)

    assert key(1) == key(1)
    assert key(1) != key(2)


def test_what_cannot_be_a_blind_test_is_refused(
    finished: ComparisonResult, page_store: Store, tmp_path: Path
) -> None:
    def write(result: ComparisonResult, key: str, kind: BlindTestKind = "pairs") -> None:
        write_blind_test(result, tmp_path / "page", page_store, kind=kind, seed=0, key_file=tmp_path / key)

    with pytest.raises(InputError, match="must not lie in the folder"):
        write(finished, "page/key.json")
    with pytest.raises(InputError, match="nothing to compare"):
        write(with_cells(finished, finished.sections[0].cells[0]), "key.json")
    assert list(tmp_path.iterdir()) == []


def heard(driver: Any) -> list[float]:
    """Seconds of each sound of the trial."""
    return [float(one) for one in driver.execute_script("return listening.open().stage.player.heard")]


@pytest.mark.slow
class TestInTheBrowser:
    def test_votes_are_kept_exported_and_read(
        self, driver: Any, blind: tuple[Path, BlindKey], tmp_path: Path
    ) -> None:
        index, key = blind
        visit(driver, index)
        driver.execute_script("localStorage.clear()")
        visit(driver, index)
        button = "document.querySelectorAll('.vote')[0]"
        assert driver.execute_script(f"return {button}.disabled")
        assert f"for {LISTEN} seconds at least" in driver.execute_script(TEXT)
        driver.execute_script("document.querySelector('.chip').click()")
        until(lambda: heard(driver)[0] > LISTEN, "the first sound")
        driver.execute_script("document.querySelectorAll('.chip')[1].click()")
        until(lambda: not driver.execute_script(f"return {button}.disabled"), "the vote")
        assert min(heard(driver)) > LISTEN
        if key.kind == "mushra":
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
        if key.kind == "pairs":
            assert vote.chosen == vote.stimuli[0]
        else:
            assert [dict(vote.ratings or {})[one] for one in vote.stimuli] == [20, 80]
        assert vote.seconds > 0
        assert complaints(driver) == []

    def test_listeners_have_orders_of_their_own(self, driver: Any, blind: tuple[Path, BlindKey]) -> None:
        index, key = blind
        name = f"score-to-audio votes {key.test}"

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
        self, driver: Any, blind: tuple[Path, BlindKey]
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
