"""The studio's library: pieces and their interpretations, in a folder that survives restarts.

A piece is a folder named after the hash of its score: ``score.SUFFIX``, ``piece.json``, ``files/`` with the
delivered results, and ``page/``, its listening page.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from threading import Lock, RLock
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from score_to_audio.errors import InputError
from score_to_audio.files import exclusive, replacing
from score_to_audio.formats.scores.reader import SUFFIXES, read_score
from score_to_audio.settings import PipelineSettings

State = Literal["waiting", "working", "done", "failed", "cancelled"]
UNFINISHED: tuple[State, ...] = ("waiting", "working")
STOPPED = "the studio was stopped; play it again"
MAX_NAME = 120
"""Characters of an uploaded file's name that are kept for display."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Interpretation(_Record):
    """One way to play a piece."""

    id: str
    label: str
    """The settings in a few words."""
    settings: PipelineSettings
    state: State = "waiting"
    error: str = ""
    """Why it failed or was cancelled."""
    made: str = ""
    """UTC time, ISO 8601."""


class Piece(_Record):
    """A score and its interpretations."""

    id: str
    title: str
    composer: str
    file_name: str
    """As uploaded; for display only."""
    suffix: str
    added: str
    """UTC time, ISO 8601."""
    notices: tuple[str, ...] = ()
    """What the reader decided on its own."""
    interpretations: tuple[Interpretation, ...] = ()
    page: int = 0
    """Number of times that the listening page was written; 0: there is none."""

    def interpretation(self, id: str) -> Interpretation:
        """Raises ``InputError`` for an unknown id."""
        for found in self.interpretations:
            if found.id == id:
                return found
        raise InputError(f"no interpretation {id!r} of {self.title}; reload the page")


class Library:
    """The pieces of one folder. Thread-safe; every change is on disk when a method returns."""

    def __init__(self, folder: Path) -> None:
        """Interpretations that an earlier studio left unfinished count as cancelled."""
        self.folder = folder
        self.version = 0
        """Grows with each change."""
        self.changing_files = Lock()
        """Held while the files of a piece are written or removed beside its record."""
        self._lock = RLock()
        self._pieces: dict[str, Piece] = {}
        for record in sorted(folder.glob("*/piece.json")):
            try:
                piece = Piece.model_validate_json(record.read_bytes())
            except (ValidationError, OSError):
                continue
            if piece.id == record.parent.name:
                self._pieces[piece.id] = piece.model_copy(
                    update={"interpretations": tuple(map(_stopped, piece.interpretations))}
                )

    def pieces(self) -> list[Piece]:
        """Newest first."""
        with self._lock:
            return sorted(self._pieces.values(), key=lambda piece: piece.added, reverse=True)

    def piece(self, id: str) -> Piece:
        """Raises ``InputError`` for an unknown id."""
        with self._lock:
            if id not in self._pieces:
                raise InputError(f"no piece {id!r} in the studio; reload the page")
            return self._pieces[id]

    def folder_of(self, piece: Piece) -> Path:
        return self.folder / piece.id

    def score(self, piece: Piece) -> Path:
        return self.folder_of(piece) / f"score{piece.suffix}"

    def add(self, name: str, content: bytes) -> Piece:
        """A new piece, or the piece that has this score already.

        ``name``: of the uploaded file; only its suffix matters. Raises ``InputError`` for a file that is not
        a score or cannot be read.
        """
        shown = PurePosixPath(name.replace("\\", "/")).name[:MAX_NAME]
        suffix = PurePosixPath(shown).suffix.lower()
        if suffix not in SUFFIXES:
            raise InputError(f"{shown or 'the file'}: not a score ({' '.join(SUFFIXES)})")
        id = hashlib.sha256(content).hexdigest()[:16]
        with self._lock:
            if id in self._pieces:
                return self._pieces[id]
        home = self.folder / id
        with replacing(home / f"score{suffix}") as temporary:
            temporary.write_bytes(content)
        try:
            parsed = read_score(home / f"score{suffix}").parsed
        except InputError as error:
            shutil.rmtree(home)
            raise InputError(str(error).replace(str(home / f"score{suffix}"), shown)) from error
        piece = Piece(
            id=id,
            title=parsed.title or PurePosixPath(shown).stem,
            composer=parsed.composer,
            file_name=shown,
            suffix=suffix,
            added=now(),
            notices=parsed.notices,
        )
        return self._keep(piece)

    def remove(self, piece: Piece) -> None:
        with self._lock:
            self._pieces.pop(piece.id, None)
            self.version += 1
        with self.changing_files:
            shutil.rmtree(self.folder_of(piece), ignore_errors=True)

    def add_interpretation(self, piece: Piece, label: str, settings: PipelineSettings) -> Interpretation:
        """A waiting interpretation; the one with equal settings, if there is one, waits again."""
        with self._lock:
            known = self.piece(piece.id).interpretations
            equal = next((one for one in known if one.settings == settings), None)
            if equal and equal.state in (*UNFINISHED, "done"):
                return equal
            made = Interpretation(
                id=equal.id if equal else secrets.token_hex(4), label=label, settings=settings
            )
            others = tuple(one for one in known if one is not equal)
            self._keep(self.piece(piece.id).model_copy(update={"interpretations": (*others, made)}))
            return made

    def update(self, piece: Piece, id: str, **changes: Any) -> None:
        """Change fields of an interpretation, unless it was removed meanwhile."""
        with self._lock:
            current = self._pieces.get(piece.id)
            if current is not None:
                changed = (
                    one.model_copy(update=changes) if one.id == id else one for one in current.interpretations
                )
                self._keep(current.model_copy(update={"interpretations": tuple(changed)}))

    def remove_interpretation(self, piece: Piece, id: str) -> None:
        with self._lock:
            current = self.piece(piece.id)
            left = tuple(one for one in current.interpretations if one.id != id)
            self._keep(current.model_copy(update={"interpretations": left}))
        for file in (self.folder_of(piece) / "files").glob(f"{id}.*"):
            file.unlink(missing_ok=True)

    def page_written(self, piece: Piece) -> None:
        with self._lock:
            if current := self._pieces.get(piece.id):
                self._keep(current.model_copy(update={"page": current.page + 1}))

    def _keep(self, piece: Piece) -> Piece:
        with self._lock:
            with replacing(self.folder_of(piece) / "piece.json") as temporary:
                temporary.write_text(piece.model_dump_json(indent=1), "utf-8")
            self._pieces[piece.id] = piece
            self.version += 1
            return piece


@contextmanager
def open_library(folder: Path) -> Iterator[Library]:
    """The library of a folder, which no other studio may use meanwhile. Raises ``InputError``."""
    with exclusive(folder / "lock", wait=False) as held:
        if not held:
            raise InputError(
                f"{folder}: another studio uses this folder; close it, or choose another --folder"
            )
        yield Library(folder)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _stopped(interpretation: Interpretation) -> Interpretation:
    if interpretation.state not in UNFINISHED:
        return interpretation
    return interpretation.model_copy(update={"state": "cancelled", "error": STOPPED})
