"""What other programs take beside performance and sound, derived from the performance through the store.

MIDI with the score's measures for sequencers, alignments for research, the hands apart for teaching.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from score_to_audio.artifacts import ArtifactRequest, StageResult, request
from score_to_audio.errors import InputError
from score_to_audio.stages import encode, find_audio, find_encoding, synthesize
from score_to_audio.store import ArtifactStore
from score_to_audio.types import Artifact, ParsedScore, Performance, Provenance, Score

if TYPE_CHECKING:
    from score_to_audio.settings import Pipeline, PipelineSettings

FORMAT_VERSION = 1
"""Part of every key: raise it when other bytes are written for the same input."""
ALIGNMENT = ("match", "beats.csv")
HANDS = ("right", "left")
MIDDLE_C = 60


def suffixes(settings: PipelineSettings) -> tuple[str, ...]:
    """Of the files that the settings ask for beside performance and sound."""
    alignment = ALIGNMENT if settings.alignment else ()
    hands = HANDS if settings.stems == "hands" else ()
    return (*alignment, *(f"{hand}.{format}" for hand in hands for format in settings.format))


def make_exports(
    path: Path, name: str, pipeline: Pipeline, performance: StageResult, store: ArtifactStore
) -> dict[str, StageResult]:
    """Suffix -> result: "mid" for the performance in the measures of the score, and all of ``suffixes``.

    Raises ``InputError`` where the performance does not name the score's notes, or a hand has none.
    """
    settings, made = pipeline.settings, dict[str, StageResult]()
    if not _is_wanted(settings):
        return made
    score = _score(path, pipeline)
    for suffix in _derived(settings):
        made[suffix] = _make(suffix, score, performance.artifact, store)
    for hand in HANDS if settings.stems == "hands" else ():
        midi = _make(f"{hand}.mid", score, performance.artifact, store).artifact
        audio = synthesize(
            store.path(midi),
            pipeline.synthesizer,
            store,
            prompt=pipeline.prompt,
            name=f"{name}.{hand}",
            parent=midi.key,
        )
        for format in pipeline.formats:
            encoded = encode(audio.artifact, format, store, loudness=None)
            made[f"{hand}.{format}"] = replace(encoded, seconds=encoded.seconds + audio.seconds)
    return made


def find_exports(
    path: Path, name: str, pipeline: Pipeline, performance: StageResult, store: ArtifactStore
) -> dict[str, StageResult]:
    """Those results of ``make_exports`` that the store has."""
    settings = pipeline.settings
    if not _is_wanted(settings):  # look-ups are many, and need not read the score again
        return {}
    score, found = _score(path, pipeline), dict[str, StageResult | None]()
    for suffix in _derived(settings):
        found[suffix] = _request(suffix, score, performance.artifact).find(store)
    for hand in HANDS if settings.stems == "hands" else ():
        midi = _request(f"{hand}.mid", score, performance.artifact).find(store)
        if midi is None:
            continue
        audio = find_audio(
            midi.artifact, pipeline.synthesizer, store, prompt=pipeline.prompt, name=f"{name}.{hand}"
        )
        if audio is None:
            continue
        for format in pipeline.formats:
            found[f"{hand}.{format}"] = find_encoding(audio.artifact, format, store, loudness=None)
    return {suffix: result for suffix, result in found.items() if result}


def _is_wanted(settings: PipelineSettings) -> bool:
    return settings.midi_tempo == "score" or bool(suffixes(settings))


def _derived(settings: PipelineSettings) -> list[str]:
    tempo_map = ["mid"] if settings.midi_tempo == "score" else []
    return [*tempo_map, *(ALIGNMENT if settings.alignment else ())]


def _score(path: Path, pipeline: Pipeline) -> Score:
    from score_to_audio.formats.scores.reader import read_score

    return read_score(path, pipeline.score_options)


def _request(suffix: str, score: Score, performance: Artifact) -> ArtifactRequest:
    provenance = Provenance(
        stage="export",
        model=suffix,
        implementation="1",
        checkpoints={},
        input=performance.sha256,
        input_name=Path(performance.path).name,
        parameters={},
        seed=0,
        device_class="cpu",
        parent=performance.key,
    )
    about = {"score": score.sha256, "options": score.options, "format": FORMAT_VERSION}
    return request(provenance, f"export.{suffix.rpartition('.')[2]}", **about)


def _make(suffix: str, score: Score, performance: Artifact, store: ArtifactStore) -> StageResult:
    from score_to_audio.formats.midi import read_performance

    def make(destination: Path) -> None:
        try:
            content = WRITERS[suffix](score.parsed, read_performance(store.path(performance)))
        except ValueError as error:
            raise InputError(f"{score.path}: {error}; omit the option, or choose another renderer") from error
        destination.write_bytes(content)

    return _request(suffix, score, performance).get_or_make(store, make)


# ------------------------------------------------------------------------------------------- contents


def _tempo_map(score: ParsedScore, performance: Performance) -> bytes:
    from score_to_audio.formats.score_midi import score_midi

    return score_midi(score, performance)


def _match(score: ParsedScore, performance: Performance) -> bytes:
    from score_to_audio.formats.matches import match_text

    return match_text(score, performance).encode()


def _beats(score: ParsedScore, performance: Performance) -> bytes:
    """Lines of measure (as printed), beat of the time signature, seconds."""
    import csv

    from score_to_audio.formats.score_midi import beats

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("measure", "beat", "time"))
    table.writerows((number, beat, f"{second:.6f}") for number, beat, second in beats(score, performance))
    return text.getvalue().encode()


def hand(score: ParsedScore, performance: Performance, which: str) -> Performance:
    """The notes of one hand, with the pedal of both. Raises ``ValueError`` where it has none.

    The right hand has the upper of two staves, also where they are two parts; of more staves the first. A
    note that the score does not have belongs to the right hand from middle C upwards.
    """
    staves = list(zip(score.notes.part.tolist(), score.notes.staff.tolist(), strict=True))
    known = sorted(set(staves))
    right_staves = known[:1] if len(known) == 2 else [staff for staff in known if staff[1] == 1]
    is_right = {note: staff in right_staves for note, staff in zip(score.notes.id, staves, strict=True)}
    ids = performance.score_ids or ("",) * len(performance)
    right = np.array(
        [is_right.get(note, pitch >= MIDDLE_C) for note, pitch in zip(ids, performance.pitch, strict=True)]
    )
    chosen = right if which == "right" else ~right
    if not chosen.any():
        raise ValueError(f"there is no note for the {which} hand")
    return Performance(
        onset=performance.onset[chosen],
        offset=performance.offset[chosen],
        pitch=performance.pitch[chosen],
        velocity=performance.velocity[chosen],
        controls=performance.controls,
        score_ids=tuple(np.array(ids, dtype=object)[chosen].tolist()),
    )


def _hand_midi(which: str) -> Callable[[ParsedScore, Performance], bytes]:
    def write(score: ParsedScore, performance: Performance) -> bytes:
        from score_to_audio.formats.midi import performance_to_midi

        return performance_to_midi(hand(score, performance, which))

    return write


WRITERS: dict[str, Callable[[ParsedScore, Performance], bytes]] = {
    "mid": _tempo_map,
    "match": _match,
    "beats.csv": _beats,
    **{f"{which}.mid": _hand_midi(which) for which in HANDS},
}
"""Suffix -> content; raise ``ValueError`` with half a sentence."""
