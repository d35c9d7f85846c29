"""Performances as MIDI files to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from score_to_audio.errors import InputError
from score_to_audio.files import replacing


def editable(
    performance: Annotated[Path, typer.Argument(help="A performance MIDI file that `render` made.")],
    score: Annotated[Path, typer.Option(help="Its score.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="MIDI file to write.")],
    repeats: Annotated[bool, typer.Option(help="Whether the performance plays the repeats.")] = True,
) -> None:
    """Write a performance with the score's measures and its timing as a tempo map, for a sequencer."""
    from renderers.editable import editable_midi
    from score_to_audio.formats.midi import read_performance
    from score_to_audio.formats.scores.reader import ScoreOptions, read_score
    from score_to_audio.outputs import delivering

    with delivering(output, [performance, score]):
        parsed = read_score(score, ScoreOptions(repeats=repeats)).parsed
        try:
            content = editable_midi(parsed, read_performance(performance))
        except ValueError as error:
            raise InputError(f"{performance}: {error}; give the score that it was rendered from") from error
        with replacing(output) as temporary:
            temporary.write_bytes(content)
