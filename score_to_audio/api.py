"""Calls for scripts: a score in, a performance and its audio out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from score_to_audio import jobs
from score_to_audio.formats.audio import read_audio
from score_to_audio.formats.midi import read_performance
from score_to_audio.formats.scores import reader
from score_to_audio.parameters import validated
from score_to_audio.settings import PipelineSettings, read_score_options
from score_to_audio.stages import encode, render, synthesize
from score_to_audio.store import ArtifactStore, default_store
from score_to_audio.types import Performance, Score, Waveform


@dataclass(frozen=True)
class PerformedScore:
    """What ``perform`` makes of a score."""

    score: Score
    files: tuple[Path, ...]
    """Performance MIDI, then audio in each requested format; without ``output`` those of the store, which has
    FLAC for WAV."""

    @cached_property
    def performance(self) -> Performance:
        """The notes and controller events that were played."""
        return read_performance(self.files[0])

    @cached_property
    def audio(self) -> Waveform:
        """The sound of the first audio file."""
        return read_audio(self.files[1])


def perform(
    score: str | Path,
    *,
    output: str | Path | None = None,
    store: ArtifactStore | None = None,
    **settings: Any,
) -> PerformedScore:
    """Render and synthesize one score; what the store already has is not made again.

    ``output``: folder that the files are copied to, called after the score. ``settings``: fields of
    ``PipelineSettings``: ``renderer``, ``synthesizer``, ``renderer_options``, ``seed``, ``format`` ...

    Raises ``InputError`` for bad input, ``StageError`` if a model fails.
    """
    pipeline = validated(PipelineSettings, settings, owner="perform").resolve()
    path, store = Path(score).expanduser(), store or default_store()
    parsed = reader.read_score(path, pipeline.score_options)
    if output is not None:
        job = jobs.Job(path, path.stem)
        jobs.prepare_output([job], Path(output))
        return PerformedScore(parsed, jobs.run(job, pipeline, store, Path(output)).files)
    performance = render(
        path, pipeline.renderer, store, score_options=pipeline.score_options, adjustments=pipeline.adjustments
    ).artifact
    midi = store.path(performance)
    audio = synthesize(
        midi, pipeline.synthesizer, store, prompt=pipeline.prompt, name=path.stem, parent=performance.key
    ).artifact
    encodings = [
        encode(audio, format, store, loudness=pipeline.loudness).artifact for format in pipeline.formats
    ]
    return PerformedScore(parsed, (midi, *map(store.path, encodings)))


def read_score(path: str | Path, **options: Any) -> Score:
    """The score in a MusicXML, MEI or MIDI file; ``Score.parsed`` reads its notes.

    ``options``: ``parts`` ("piano" or "all"), ``repeats``. Raises ``InputError``.
    """
    return reader.read_score(Path(path).expanduser(), read_score_options(options))
