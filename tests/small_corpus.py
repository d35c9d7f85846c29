"""A corpus in the layout of (n)ASAP: scores of ours, played by kth-rules, with exact match files."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from renderers.kth_rules.rendering import render as play
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.types import SOFT, SUSTAIN, Performance

TICKS_PER_SECOND = 960
"""480 ticks per quarter note of half a second."""
PEDALS = {SUSTAIN: "sustain", SOFT: "soft"}


def write_corpus(folder: Path, scores: Mapping[str, Path], *, performances: int = 2) -> Path:
    """``scores``: "split/title" -> MusicXML file. Every score is played so often, with other noise."""
    rows = []
    for name, path in scores.items():
        split, title = name.split("/")
        place = folder / title
        place.mkdir(parents=True)
        shutil.copy(path, place / "xml_score.musicxml")
        parsed = read_score(path).parsed
        for seed in range(performances):
            write_match(place / f"{seed}.match", play(parsed, seed=seed))
            rows.append(
                {"composer": "Bach", "title": title, "folder": title, "split": split}
                | {"match": f"{seed}.match", "match_is_robust": "1.0", "beats_match_score": "True"}
            )
    with (folder / "performances.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def write_match(path: Path, performance: Performance) -> None:
    """A match file (version 1.0.0) in which every note plays the score note of its id; what a match file
    says of score notes beside their ids is made up."""
    assert performance.score_ids is not None
    head = ["matchFileVersion,1.0.0", "midiClockUnits,480", "midiClockRate,500000"]
    lines = [f"info({one})." for one in head]
    lines.append("scoreprop(timeSignature,4/4,1:1,0,0.0000).")
    onset, offset = (
        np.rint(t * TICKS_PER_SECOND).astype(int) for t in (performance.onset, performance.offset)
    )
    for index, name in enumerate(performance.score_ids):
        pitch = int(performance.pitch[index])
        note = f"note(n{index},{pitch},{onset[index]},{offset[index]},{performance.velocity[index]},0,0)."
        first = name not in performance.score_ids[:index]
        lines.append(
            f"snote({name},[C,n],4,1:1,0,1/4,{index}.0,{index + 1}.0,[])-{note}"
            if first
            else f"insertion-{note}"
        )
    controls = performance.controls
    for time, number, value in zip(controls.time, controls.number, controls.value, strict=True):
        if int(number) in PEDALS:
            lines.append(f"{PEDALS[int(number)]}({round(time * TICKS_PER_SECOND)},{value}).")
    path.write_text("\n".join(lines) + "\n", "utf-8")
