"""Prompts: recordings that show a synthesizer how the piano should sound, with the notes heard in them.

The library is the folder ``SCORE_TO_AUDIO_PROMPTS``, by default in the user's data folder.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path

from score_to_audio.errors import InputError
from score_to_audio.files import sha256_of, user_folder
from score_to_audio.plugins import Prompt

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


def folder() -> Path:
    """The library of prompts."""
    return user_folder("SCORE_TO_AUDIO_PROMPTS", "prompts")


def names() -> list[str]:
    """Of the prompts in the library."""
    return sorted(path.name for path in folder().glob("*") if (path / "performance.mid").is_file())


def find_prompt(name_or_path: str) -> Prompt:
    """A prompt of the library, or an audio file with its MIDI file of the same name (``.mid``).

    Raises ``InputError``, which lists the known prompts.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file():
        midi = path.with_suffix(".mid")
        return read(path, midi if midi.is_file() else None)
    if name_or_path in names():
        home = folder() / name_or_path
        audio = next(file for file in sorted(home.iterdir()) if file.stem == "audio")
        return read(audio, home / "performance.mid")
    known = ", ".join(names()) or "none yet; add one with `score-to-audio prompts add NAME AUDIO MIDI`"
    raise InputError(f"no prompt {name_or_path!r}: neither an audio file nor in the library ({known})")


def read(audio: Path, midi: Path | None) -> Prompt:
    """A prompt from its files. Raises ``InputError`` for files that cannot be read."""
    from score_to_audio.formats.audio import read_audio
    from score_to_audio.formats.midi import read_performance

    performance = read_performance(midi) if midi else None
    waveform = read_audio(audio)
    hashes = [sha256_of(audio)] + ([sha256_of(midi)] if midi else [])
    return Prompt(waveform, performance, hashlib.sha256("".join(hashes).encode()).hexdigest())


def add(name: str, audio: Path, midi: Path) -> Prompt:
    """Add a recording and its performance to the library. Raises ``InputError``."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise InputError(f"{name!r} cannot name a prompt: use letters, digits, '.', '-' and '_'")
    if name in names():
        raise InputError(f"the prompt {name!r} exists already: choose another name")
    if audio.suffix.lower() not in AUDIO_SUFFIXES:
        raise InputError(f"{audio}: not an audio file ({' '.join(AUDIO_SUFFIXES)})")
    prompt = read(audio, midi)
    folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder(), prefix=".") as staging:
        home = Path(staging) / name
        home.mkdir()
        shutil.copyfile(audio, home / f"audio{audio.suffix.lower()}")
        shutil.copyfile(midi, home / "performance.mid")
        home.rename(folder() / name)
    return prompt
