"""The studio's queue: interpretations are made one after the other, in a process that can be killed."""

from __future__ import annotations

from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock, Thread

from score_to_audio import progress
from score_to_audio.comparison.studio.library import (
    STOPPED,
    UNFINISHED,
    Interpretation,
    Library,
    Piece,
    State,
    now,
)
from score_to_audio.comparison.studio.page import renew_page
from score_to_audio.errors import EXPECTED_ERRORS, InputError, sentence
from score_to_audio.jobs import Job
from score_to_audio.parameters import validated
from score_to_audio.settings import ExecutionSettings
from score_to_audio.store import ArtifactStore
from score_to_audio.workers import WorkerPool

CANCELLED = "cancelled"
ONE_WORKER = validated(ExecutionSettings, {})


@dataclass(frozen=True)
class Progress:
    """Of the interpretation that is being made."""

    interpretation: str
    """Its id."""
    done: float = 0.0
    total: float = 0.0
    """0 where nothing is known yet."""
    unit: str = "starting"


class Queue:
    """Makes the waiting interpretations of a library, the oldest request first."""

    def __init__(self, library: Library, store: ArtifactStore) -> None:
        self.progress: Progress | None = None
        self._library, self._store = library, store
        self._waiting: SimpleQueue[tuple[Piece, Interpretation] | None] = SimpleQueue()
        self._pool = WorkerPool(ONE_WORKER)
        self._lock = Lock()
        self._thread = Thread(target=self._serve, name="studio queue", daemon=True)
        self._thread.start()

    def add(self, piece: Piece, interpretation: Interpretation) -> None:
        self._waiting.put((piece, interpretation))

    def cancel(self, piece: Piece, interpretation: Interpretation, reason: str = CANCELLED) -> None:
        """Kills the process that works on it; does nothing for a finished interpretation."""
        with self._lock:
            if self._state(piece, interpretation) not in UNFINISHED:
                return
            self._library.update(piece, interpretation.id, state="cancelled", error=reason)
            if self.progress and self.progress.interpretation == interpretation.id:
                self._pool.close()
                self._pool = WorkerPool(ONE_WORKER)

    def cancel_all(self, reason: str) -> None:
        for piece in self._library.pieces():
            for interpretation in piece.interpretations:
                self.cancel(piece, interpretation, reason)

    def close(self) -> None:
        """Cancel everything and end the thread."""
        self._waiting.put(None)
        self.cancel_all(STOPPED)
        self._thread.join(timeout=5)
        self._pool.close()

    def _serve(self) -> None:
        while (request := self._waiting.get()) is not None:
            self._make(*request)

    def _make(self, piece: Piece, interpretation: Interpretation) -> None:
        with self._lock:
            if self._state(piece, interpretation) != "waiting":
                return
            self.progress = Progress(interpretation.id)
            self._library.update(piece, interpretation.id, state="working", error="")
            pool = self._pool
        try:
            with progress.listening(self._report):
                pool.run(
                    Job(self._library.score(piece), interpretation.id),
                    interpretation.settings,
                    self._store.location,
                    self._library.folder_of(piece) / "files",
                )
            self._finish(piece, interpretation, state="done", made=now())
            self._write_page(piece)
        except Exception as error:  # a defect fails one interpretation, the studio goes on
            known = isinstance(error, EXPECTED_ERRORS)
            reason = sentence(error) if known else f"{type(error).__name__}: {error} (this is a defect)"
            self._finish(piece, interpretation, state="failed", error=reason)
        finally:
            with self._lock:
                self.progress = None

    def _state(self, piece: Piece, interpretation: Interpretation) -> State | None:
        """None where it was removed."""
        try:
            return self._library.piece(piece.id).interpretation(interpretation.id).state
        except InputError:
            return None

    def _finish(self, piece: Piece, interpretation: Interpretation, **changes: str) -> None:
        with self._lock:
            if self._state(piece, interpretation) in ("working", "done"):  # not cancelled meanwhile
                self._library.update(piece, interpretation.id, **changes)

    def _report(self, done: float, total: float, unit: str) -> None:
        if (current := self.progress) is not None:
            self.progress = Progress(current.interpretation, done, total, unit)

    def _write_page(self, piece: Piece) -> None:
        self._report(0, 0, "writing the page")
        renew_page(piece.id, self._library, self._store)
