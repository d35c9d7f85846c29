"""The rows of a comparison as the listening page plays and shows them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from renderers.expression import Grid, grid, performed_onsets
from score_to_audio.comparison import derived
from score_to_audio.comparison.plan import Row, Section
from score_to_audio.comparison.results import CellResult, ComparisonResult, SectionResult
from score_to_audio.comparison.work import Failure, attempt
from score_to_audio.errors import InputError
from score_to_audio.formats.midi import read_performance
from score_to_audio.store import ArtifactStore
from score_to_audio.types import Performance, Score

DEEPEST_CUT = -20.0
"""dB: a recording is turned down by this much at most."""
LOUDEST = -18.0
"""LUFS that the loudest sound of a row gets, as delivered sounds have."""
HIGHEST_PEAK = -1.0
"""dBTP: sounds of a row are not made so loud that one of them exceeds this."""

Timeline = tuple[tuple[float, float], ...]
"""(place in the score, seconds into the audio) pairs, sorted by both; the place is in quarter notes in
playing order, as ``ScoreNotes.onset``."""


@dataclass(frozen=True)
class PageCell:
    """A cell with the sound that the page plays, or with the reason why there is none."""

    result: CellResult
    audio: Path | None = None
    """MP3."""
    duration: float = 0.0
    """Seconds."""
    failure: str = ""
    performance: Performance | None = None
    """In the audio's seconds."""
    timeline: Timeline = ()
    """Where it is empty, the place is the second if no cell of the row has a timeline, else the share of the
    length."""

    @property
    def licences(self) -> dict[str, str]:
        """Of what is heard."""
        if self.audio is None:
            return {}
        licence = self.result.row.licence
        return dict(self.result.condition.licences) | ({"material": licence} if licence else {})


@dataclass(frozen=True)
class PageRow:
    """A row as the page shows it."""

    section: Section
    row: Row
    score: Score | None
    """None where the row has none or it cannot be read."""
    grid: Grid | None
    notice: str
    """Why the score is not shown, or what the reader decided on its own."""
    cells: tuple[PageCell, ...]
    """In the order of the columns."""


def page_rows(result: ComparisonResult, section: SectionResult, store: ArtifactStore) -> Iterator[PageRow]:
    """The rows of a section, every sound compressed; a sound that cannot be compressed is a failed cell."""
    for row in section.section.rows:
        score, notice = _readable_score(row, result)
        of_score = grid(score.parsed) if score else None
        results = [result for result in section.cells if result.row is row]
        louder = lift(results)
        cells = tuple(_page_cell(result, of_score, louder, store) for result in results)
        yield PageRow(section.section, row, score, of_score, notice, cells)


def _readable_score(row: Row, result: ComparisonResult) -> tuple[Score | None, str]:
    if row.score is None:
        return None, ""
    try:
        score = derived.cached_score(row.score, result.plan.score_options)
        notices = score.parsed.notices
    except InputError as error:
        return None, f"The score is not shown: {error}."
    return score, f"Reading the score: {'; '.join(notices)}." if notices else ""


def _page_cell(result: CellResult, of_score: Grid | None, louder: float, store: ArtifactStore) -> PageCell:
    if result.cell is None:
        return PageCell(result, failure=result.failure)
    audio = attempt(lambda sound: derived.compressed(sound, store, louder), result.cell.audio)
    if isinstance(audio, Failure):
        return PageCell(result, failure=audio.reason)
    duration = _duration(audio.path)
    if duration is None:
        return PageCell(result, failure=f"{audio.path.name} is not a readable audio file")
    played = read_performance(result.cell.performance.path) if result.cell.performance else None
    places = timeline(of_score, played) if of_score and played else ()
    return PageCell(result, audio.path, duration, performance=played, timeline=places)


def _duration(audio: Path) -> float | None:
    """Seconds; None for a file that is not audio."""
    import soundfile

    try:
        return float(soundfile.info(audio).duration)
    except (soundfile.SoundFileError, OSError):
        return None


def timeline(of_score: Grid, performance: Performance) -> Timeline:
    """The struck onsets of the score, and the last release.

    Onsets out of order, and those of ornaments and broken chords, are left out, as in
    ``renderers.expression``. Empty where the performance names no notes of the score.
    """
    played = [of_score.index[name] for name in performance.score_ids or () if name in of_score.index]
    if not played:
        return ()
    quarters, seconds = (column.tolist() for column in performed_onsets(of_score, performance))
    end = float((of_score.onset[played] + of_score.duration[played]).max())
    last_release = float(performance.offset.max())
    if quarters and end > quarters[-1] and last_release > seconds[-1]:
        quarters.append(end)
        seconds.append(last_release)
    return tuple(zip(quarters, seconds, strict=True))


def lift(results: Sequence[CellResult]) -> float:
    """Whole dB, at least 0, by which all sounds of a row become louder; 0 where no level is known."""
    room = math.inf
    for one in results:
        loudness, peak = (one.values.get(name, math.nan) for name in ("loudness", "true_peak"))
        if math.isfinite(loudness) and math.isfinite(peak):
            room = min(room, LOUDEST - loudness, HIGHEST_PEAK - peak)
    return float(max(math.floor(room), 0)) if math.isfinite(room) else 0.0


def gains(cells: Sequence[PageCell]) -> list[float]:
    """dB for each cell, at most 0, that make them as loud as the softest; 0 where no loudness is known."""
    loudness = [cell.result.values.get("loudness", math.nan) for cell in cells]
    softest = min((value for value in loudness if math.isfinite(value)), default=0.0)
    return [max(softest - value, DEEPEST_CUT) if math.isfinite(value) else 0.0 for value in loudness]
