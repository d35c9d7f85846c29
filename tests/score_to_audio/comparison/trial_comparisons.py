"""Comparisons of the trial plug-ins, run within this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from score_to_audio.comparison.config import ComparisonConfig
from score_to_audio.comparison.plan import Plan, make_plan
from score_to_audio.comparison.results import ComparisonResult
from score_to_audio.comparison.run import run_comparison
from score_to_audio.formats.audio import stream_of, write_audio
from score_to_audio.formats.midi import write_performance
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.store import Store
from score_to_audio.types import Performance, Waveform

TRIAL = {"renderer": "trial", "synthesizer": "trial"}


def plan_of(rows: list[Any], columns: list[Any], *, of_section: Any = None, **more: Any) -> Plan:
    section = {"title": "S", "rows": rows, "columns": columns} | (of_section or {})
    config = {"measures": ["levels"], "sections": [section]} | more
    return make_plan(ComparisonConfig.model_validate(config), device="cpu")


def run(store: Store, rows: list[Any], columns: list[Any], **more: Any) -> ComparisonResult:
    return run_comparison(plan_of(rows, columns, **more), store)


def scores(place: Path) -> list[dict[str, str]]:
    return [{"score": str(path)} for path in sorted((place / "scores").iterdir())]


def write_recording(place: Path) -> tuple[Path, Path]:
    """A performance of score-001 and its "recording": the trial synthesizer's sound, a little louder."""
    notes = read_score(place / "scores" / "score-001.musicxml").parsed.notes
    played = Performance(
        notes.onset * 0.5, notes.onset * 0.5 + 0.4, notes.pitch, np.full(4, 64), score_ids=notes.id
    )
    write_performance(played, place / "played.mid")
    time = np.arange(4000) / 8000
    tones = [0.6 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) for pitch in notes.pitch]
    sound = Waveform(np.concatenate(tones).astype(np.float32)[None], 8000)
    write_audio(stream_of(sound), place / "played.wav", format="wav")
    return place / "played.mid", place / "played.wav"
