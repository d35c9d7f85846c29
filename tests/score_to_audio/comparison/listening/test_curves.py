"""The picture of tempo, dynamics and pedal over the score."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from renderers import score_playback
from renderers.kth_rules.rendering import render as play
from score_to_audio.comparison.listening.curves import expression_curves
from score_to_audio.types import ParsedScore
from tests.renderers.score_builder import N, parsed

SVG = "{http://www.w3.org/2000/svg}"


def score() -> ParsedScore:
    return parsed([N("CDEFGAB"[i % 7] + "4", float(i)) for i in range(32)])


def lines(document: str, colour: str) -> list[np.ndarray]:
    """The points of the curves in a colour, panel by panel."""
    paths = ElementTree.fromstring(document).iter(f"{SVG}path")
    drawn = [path.get("d", "") for path in paths if path.get("stroke") == colour]
    points = [re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path) for path in drawn]
    return [np.array(found, float) for found in points if len(found) > 2]


def test_a_slower_beat_lies_lower_and_a_louder_note_higher():
    plain = score_playback.render(score())
    onset, velocity = plain.onset.copy(), plain.velocity.copy()
    onset[16:] += 1.0
    velocity[8] = 110
    changed = type(plain)(onset, onset + 0.3, plain.pitch, velocity, plain.controls, plain.score_ids)
    document = expression_curves(score(), {"changed": changed})
    tempo, dynamics, pedal = lines(document, "#b3402e")
    assert np.argmax(tempo[:, 1]) == 15
    assert np.argmin(dynamics[:, 1]) == 8
    assert np.ptp(pedal[:, 1]) == 0


def test_humans_are_a_mean_and_a_band():
    humans = [play(score(), seed=seed) for seed in range(3)]
    document = expression_curves(
        score(), {"score": score_playback.render(score())}, humans, title="A <scale>"
    )
    root = ElementTree.fromstring(document)
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert "A <scale>" in texts
    assert any("3 human performances" in text for text in texts)
    assert len(lines(document, "#7d8796")) == 3
    bands = [path for path in root.iter(f"{SVG}path") if path.get("fill-opacity")]
    assert len(bands) == 3
    assert all(band.get("d") for band in bands)


def test_only_the_measures_asked_for_are_drawn():
    performance = {"score": score_playback.render(score())}
    whole, part = (
        lines(expression_curves(score(), performance, last_measure=last), "#b3402e") for last in (None, 1)
    )
    assert len(part[0]) == 8
    assert len(whole[0]) == 31
    with pytest.raises(ValueError, match="measure"):
        expression_curves(score(), performance, first_measure=99)


def test_nothing_to_draw_is_said():
    with pytest.raises(ValueError, match="no performance"):
        expression_curves(score(), {})
