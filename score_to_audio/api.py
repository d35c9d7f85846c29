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
from score_to_audio.store import ArtifactStore, default_store
from score_to_audio.types import Performance, Score, Waveform


@dataclass(frozen=True)
class PerformedScore:
    """What ``perform`` makes of a score."""

    score: Score
    files: tuple[Path, ...]
    """Performance MIDI, audio in each requested format, then what else the settings ask for. Without
    ``output`` those of the store, which has FLAC for WAV."""

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
    job, parsed = jobs.Job(path, path.stem), reader.read_score(path, pipeline.score_options)
    if output is not None:
        jobs.prepare_output([job], Path(output))
    results = jobs.make(job, pipeline, store)
    if output is not None:
        return PerformedScore(parsed, jobs.deliver_results(job, results, store, Path(output)).files)
    return PerformedScore(parsed, tuple(store.path(result.artifact) for result in results.files.values()))


def read_score(path: str | Path, **options: Any) -> Score:
    """The score in a MusicXML, MEI or MIDI file; ``Score.parsed`` reads its notes.

    ``options``: ``parts`` ("piano" or "all"), ``repeats``. Raises ``InputError``.
    """
    return reader.read_score(Path(path).expanduser(), read_score_options(options))
