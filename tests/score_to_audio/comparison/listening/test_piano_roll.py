from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from score_to_audio import Performance
from score_to_audio.comparison.listening.piano_roll import PEDAL_COLOUR, piano_roll, tempo_curve
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.registry import build, resolve
from score_to_audio.testing import example_performance, example_score, no_performance
from score_to_audio.types import Controls
from tests.paths import EXAMPLE_SCORES

SVG = "{http://www.w3.org/2000/svg}"


def played() -> Performance:
    performance: Performance = build(resolve("renderer", "score")).render(example_score(), seed=0)
    return performance


def test_the_tempo_of_a_literal_performance_is_the_written_one() -> None:
    seconds, tempo = tempo_curve(played(), example_score().parsed)
    np.testing.assert_allclose(tempo, 96, rtol=0.01)
    assert len(seconds) == 15  # sixteen beats, fifteen distances between them


def test_the_picture_holds_every_note_and_escapes_its_title() -> None:
    document = ElementTree.fromstring(piano_roll(played(), example_score().parsed, title="<Do & Re>"))
    notes = [rect for rect in document.iter(f"{SVG}rect") if rect.get("rx")]
    assert len(notes) == 24
    assert document.findtext(f"{SVG}title") == "<Do & Re>"
    labels = {text.text for text in document.iter(f"{SVG}text")}
    assert {"notes", "velocity", "quarter notes per minute", "C5", "0:00"} <= labels


@pytest.mark.parametrize("performance", [example_performance(), no_performance()])
def test_without_a_score_there_is_no_tempo(performance: Performance) -> None:
    document = ElementTree.fromstring(piano_roll(performance))
    assert "quarter notes per minute" not in {text.text for text in document.iter(f"{SVG}text")}
    strips = [rect for rect in document.iter(f"{SVG}rect") if rect.get("fill") == "#8fb4a6"]
    assert len(strips) == (2 if len(performance) else 0)


def test_ornaments_do_not_move_the_tempo() -> None:
    """The minuet's mordents are played ahead of their beats, which are not faster for it."""
    score = read_score(EXAMPLE_SCORES / "petzold_minuet_bwv_anh114.musicxml").parsed
    played = build(resolve("renderer", "kth-rules")).render(
        read_score(EXAMPLE_SCORES / "petzold_minuet_bwv_anh114.musicxml"), seed=0
    )
    _, tempo = tempo_curve(played, score)
    assert len(tempo) > 80
    assert tempo.max() < 1.15 * np.median(tempo)


def test_the_pedal_lies_below_the_notes() -> None:
    pedalled = Performance(
        np.array([0.0]), np.array([1.0]), np.array([21]), np.array([64]),
        Controls(np.array([0.0]), np.array([64]), np.array([127])),
    )  # fmt: skip
    picture = piano_roll(pedalled)
    [strip] = re.findall(rf'y="([\d.]+)" width="[\d.]+" height="[\d.]+" fill="{PEDAL_COLOUR}"', picture)
    [(top, height)] = re.findall(r'y="([\d.]+)" width="[\d.]+" height="([\d.]+)" rx="1"', picture)
    assert float(top) + float(height) < float(strip)
