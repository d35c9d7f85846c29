"""Small comparisons of bundled material for the tests of the listening page."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from score_to_audio.comparison.listening.comparison import (
    Cell,
    Comparison,
    Condition,
    Measured,
    Row,
    Section,
    Summary,
)
from score_to_audio.comparison.listening.timeline import timeline
from score_to_audio.formats.audio import stream_of, write_audio
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.registry import build, resolve
from score_to_audio.types import Performance
from tests.paths import EXAMPLE_SCORES

SCORES = EXAMPLE_SCORES
CONDITIONS = (
    Condition("score", "score + sampled-piano", "Exactly what is written."),
    Condition("kth", "kth-rules + sampled-piano"),
    Condition("gone", "m2m + sampled-piano"),
)
MEASURES = (Measured("f1", "onset F1", "", "higher", "Share of onsets found.", 3),)


@lru_cache
def performance(score: str, renderer: str) -> Performance:
    made: Performance = build(resolve("renderer", renderer)).render(read_score(SCORES / score), seed=0)
    return made


def cell(folder: Path, score: str, condition: str, renderer: str, loudness: float) -> Cell:
    played = performance(score, renderer)
    audio = folder / f"{condition}-{score}.mp3"
    if not audio.exists():
        synthesizer = build(resolve("synthesizer", "sampled-piano"))
        sound = synthesizer.synthesize(played, prompt=None, seed=0)
        write_audio(stream_of(sound), audio, format="mp3")
    return Cell(
        condition,
        audio,
        performance=played,
        timeline=timeline(read_score(SCORES / score).parsed, played),
        measures={"f1": 0.9 + loudness / 1000},
        provenance=({"stage": "render", "model": renderer, "seed": 0, "parameters": {"palette": "neutral"}},),
        licences={"piano samples": "CC BY 3.0"},
        loudness=loudness,
    )


def comparison(folder: Path, *scores: str) -> Comparison:
    """Of the scores in the conditions above, of which the last one failed."""
    rows = tuple(
        Row(
            read_score(SCORES / score).parsed.title,
            (
                cell(folder, score, "kth", "kth-rules", -29.0),
                cell(folder, score, "score", "score", -26.0),
                Cell("gone", failure="m2m needs a checkpoint: score-to-audio models pull m2m"),
            ),
            score=SCORES / score,
            note="typeset for this project",
        )
        for score in scores
    )
    summaries = (Summary("kth", "f1", 0.871, 0.85, float("nan"), len(rows)),)
    section = Section("Two renderers", CONDITIONS, rows, "On one instrument.", summaries)
    return Comparison("Literal or expressive", (section,), MEASURES)


def noise(path: Path, seconds: float = 1.0) -> Path:
    from score_to_audio.types import Waveform

    samples = 0.05 * np.random.default_rng(0).standard_normal((1, int(22050 * seconds)))
    write_audio(stream_of(Waveform(samples.astype(np.float32), 22050)), path, format="mp3")
    return path


def without_scores(given: Comparison) -> Comparison:
    sections = tuple(
        replace(one, rows=tuple(replace(row, score=None) for row in one.rows)) for one in given.sections
    )
    return replace(given, sections=sections)
