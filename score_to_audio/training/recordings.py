"""Folders of recordings to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from score_to_audio.errors import InputError
from score_to_audio.seeding import numpy_generator

SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff", ".m4a"}
MIDI_SUFFIXES = (".mid", ".midi")


@dataclass(frozen=True)
class Recording:
    """An audio file, and the MIDI file of the same name beside it."""

    path: Path
    seconds: float
    midi: Path | None


def find_recordings(folder: Path) -> tuple[list[Recording], list[str]]:
    """All recordings below a folder, by path, and one sentence for each file that is left out.

    Raises ``InputError`` where there is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --audio takes a folder of recordings")
    found, left_out = [], []
    for path in sorted(one for one in folder.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file()):
        try:
            found.append(Recording(path, _seconds(path), _midi_beside(path)))
        except InputError as error:
            left_out.append(f"left out: {error}")
    if not found:
        raise InputError(f"{folder}: no recordings; it needs files such as {', '.join(sorted(SUFFIXES))}")
    return found, left_out


def _seconds(path: Path) -> float:
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            seconds = file.frames / file.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"{path}: cannot be read as audio ({error})") from error
    if not seconds:
        raise InputError(f"{path}: is empty")
    return float(seconds)


def _midi_beside(path: Path) -> Path | None:
    beside = (path.with_suffix(suffix) for suffix in MIDI_SUFFIXES)
    return next((one for one in beside if one.is_file()), None)


def split(
    recordings: Sequence[Recording], share: float, seed: int
) -> tuple[list[Recording], list[Recording]]:
    """Recordings to train on, and at least one to validate on: a random share of the files.

    A single recording is both.
    """
    if len(recordings) == 1:
        return list(recordings), list(recordings)
    order = numpy_generator(seed).permutation(len(recordings))
    count = min(len(recordings) - 1, max(1, round(share * len(recordings))))
    chosen = set(order[:count].tolist())
    return (
        [one for index, one in enumerate(recordings) if index not in chosen],
        [recordings[index] for index in sorted(chosen)],
    )
