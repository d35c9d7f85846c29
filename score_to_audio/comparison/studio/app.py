"""The studio's web application: its page, the calls of its script, and the files it serves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from pathlib import Path
from threading import Lock, Timer
from typing import Any
from urllib.parse import quote

from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from score_to_audio import jobs, stages
from score_to_audio.comparison.studio import choices
from score_to_audio.comparison.studio.library import Interpretation, Library, Piece
from score_to_audio.comparison.studio.page import PAGE, renew_page, stored_results
from score_to_audio.comparison.studio.queue import Queue
from score_to_audio.comparison.studio.security import CONTENT_POLICY
from score_to_audio.errors import InputError, ScoreToAudioError, sentence
from score_to_audio.exports import make_exports
from score_to_audio.formats.scores.files import MAX_FILE_BYTES
from score_to_audio.jobs import Job
from score_to_audio.settings import audio_format
from score_to_audio.store import ArtifactStore

STUDIO, LISTENING = "score_to_audio.comparison.studio", "score_to_audio.comparison.listening"
WEB = {
    "index.html": (STUDIO, "text/html"),
    "studio.css": (STUDIO, "text/css"),
    "studio.js": (STUDIO, "text/javascript"),
    "parts.js": (LISTENING, "text/javascript"),
}
"""File -> package whose folder ``web`` has it, and media type."""
POLL_SECONDS = 0.2
"""Between looks for changes that are sent to open pages."""
CLOSED_SECONDS = 60.0
"""After the last page was closed, unfinished work is cancelled."""
CLOSED = "the page was closed; play it again"


class OpenPages:
    """Counts the pages that listen, and cancels unfinished work when the last one stays closed."""

    def __init__(self, queue: Queue) -> None:
        self._queue, self._lock, self._count = queue, Lock(), 0
        self._timer: Timer | None = None

    def opened(self) -> None:
        with self._lock:
            self._count += 1
            if self._timer:
                self._timer.cancel()

    def closed(self) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                self._timer = Timer(CLOSED_SECONDS, self._cancel)
                self._timer.daemon = True
                self._timer.start()

    def _cancel(self) -> None:
        with self._lock:
            if self._count:
                return
        self._queue.cancel_all(CLOSED)


def make_app(
    library: Library, queue: Queue, store: ArtifactStore, *, scores: Path | None, outputs: Sequence[Path]
) -> FastAPI:
    """``scores``: a folder to choose from; ``outputs``: folders of finished results that are served."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    pages = OpenPages(queue)

    @app.exception_handler(ScoreToAudioError)
    def refuse(_request: Request, error: ScoreToAudioError) -> JSONResponse:
        return JSONResponse({"error": sentence(error)}, 400 if isinstance(error, InputError) else 500)

    @app.get("/api/choices")
    def form() -> dict[str, Any]:
        return {
            **choices.choices(),
            "outputs": [str(folder) for folder in outputs],
            "scores": scores is not None,
        }

    @app.get("/api/events")
    async def events(request: Request) -> StreamingResponse:
        return StreamingResponse(_changes(request, library, queue, pages), media_type="text/event-stream")

    @app.post("/api/pieces")
    async def upload(request: Request, name: str) -> dict[str, str]:
        content = await _limited_body(request)
        return {"id": (await run_in_threadpool(library.add, name, content)).id}

    @app.get("/api/scores")
    def offered() -> list[str]:
        return [job.name for job in _offered(scores)]

    @app.post("/api/scores/{number}")
    def choose(number: int) -> dict[str, str]:
        found = _offered(scores)
        if number >= len(found):
            raise InputError("this score is no longer in the folder; reload the page")
        return {"id": library.add(found[number].score.name, found[number].score.read_bytes()).id}

    @app.delete("/api/pieces/{piece}")
    def remove(piece: str) -> None:
        found = library.piece(piece)
        for interpretation in found.interpretations:
            queue.cancel(found, interpretation)
        library.remove(found)

    @app.post("/api/pieces/{piece}/interpretations")
    def play(piece: str, settings: dict[str, Any] = Body()) -> dict[str, str]:  # noqa: B008
        wanted = choices.accepted(settings)
        interpretation = library.add_interpretation(library.piece(piece), choices.label(wanted), wanted)
        if interpretation.state == "waiting":
            queue.add(library.piece(piece), interpretation)
        return {"id": interpretation.id}

    @app.post("/api/pieces/{piece}/interpretations/{interpretation}/cancel")
    def cancel(piece: str, interpretation: str) -> None:
        found = library.piece(piece)
        queue.cancel(found, found.interpretation(interpretation))

    @app.delete("/api/pieces/{piece}/interpretations/{interpretation}")
    def remove_interpretation(piece: str, interpretation: str) -> None:
        found = library.piece(piece)
        one = found.interpretation(interpretation)
        queue.cancel(found, one)
        library.remove_interpretation(found, interpretation)
        if one.state == "done":
            renew_page(piece, library, store)

    @app.get("/pieces/{piece}/page/{path:path}")
    def page(piece: str, path: str) -> Response:
        return _file_below(library.folder_of(library.piece(piece)) / PAGE, path or "index.html")

    @app.get("/pieces/{piece}/interpretations/{interpretation}.{format}")
    def download(piece: str, interpretation: str, format: str) -> FileResponse:
        found = library.piece(piece)
        one = found.interpretation(interpretation)
        name = f"{found.title} - {one.settings.renderer}.{format}"
        return FileResponse(_result(library, store, found, one, format), filename=name.replace("/", "-"))

    @app.get("/outputs/{number}/{path:path}")
    def output(number: int, path: str) -> Response:
        if number >= len(outputs):
            raise HTTPException(404)
        return _file_below(outputs[number], path)

    @app.get("/")
    @app.get("/{name}")
    def web(name: str = "index.html") -> Response:
        if name not in WEB:
            raise HTTPException(404)
        package, media_type = WEB[name]
        content = (files(package) / "web" / name).read_bytes()
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return app


async def _limited_body(request: Request) -> bytes:
    content = bytearray()
    async for block in request.stream():
        content += block
        if len(content) > MAX_FILE_BYTES:
            raise InputError(f"the file is larger than {MAX_FILE_BYTES // 2**20} MiB; a score may not be")
    return bytes(content)


def _offered(scores: Path | None) -> list[Job]:
    return jobs.plan([scores]) if scores else []


def _result(
    library: Library, store: ArtifactStore, piece: Piece, interpretation: Interpretation, format: str
) -> Path:
    """The file in this format, from the delivered files or made from the store's sound."""
    delivered = library.folder_of(piece) / "files" / f"{interpretation.id}.{format}"
    if format in ("mid", *choices.DELIVERED) and delivered.is_file():
        return delivered
    score = library.score(piece)
    pipeline = interpretation.settings.model_copy(
        update={"alignment": format in choices.ALIGNMENTS}
    ).resolve()
    found = stored_results(score, interpretation, pipeline, store)
    if alignment := choices.ALIGNMENTS.get(format):
        made = make_exports(score, interpretation.id, pipeline, found["performance"], store)[alignment]
    else:
        wanted = audio_format(format)
        tags = jobs.tags(score, replace(pipeline, formats=(wanted,)))
        made = stages.encode(found["audio"].artifact, wanted, store, loudness=pipeline.loudness, tags=tags)
    stages.deliver(made.artifact, delivered, store)
    return delivered


async def _changes(request: Request, library: Library, queue: Queue, pages: OpenPages) -> AsyncIterator[str]:
    """Server-sent events: the whole state at first and after each change."""
    seen: object = None
    pages.opened()
    try:
        while not await request.is_disconnected():
            current = (library.version, queue.progress)
            if current != seen:
                seen = current
                yield f"data: {json.dumps(_state(library, queue))}\n\n"
            await asyncio.sleep(POLL_SECONDS)
    finally:
        pages.closed()


def _state(library: Library, queue: Queue) -> dict[str, Any]:
    progress = queue.progress
    return {
        "pieces": [piece.model_dump(mode="json") for piece in library.pieces()],
        "progress": progress and vars(progress),
    }


def _file_below(folder: Path, path: str) -> Response:
    """A file of a folder, or the list of a subfolder; 404 for whatever lies outside, also through links."""
    root = folder.resolve()
    found = (root / path).resolve()
    if not found.is_relative_to(root):
        raise HTTPException(404)
    if found.is_file():
        return FileResponse(
            found, headers={"Content-Security-Policy": CONTENT_POLICY, "Cache-Control": "no-cache"}
        )
    if found.is_dir():
        return HTMLResponse(_listing(found, root))
    raise HTTPException(404)


def _listing(folder: Path, root: Path) -> str:
    names = sorted(f"{one.name}/" if one.is_dir() else one.name for one in folder.iterdir())
    shown = ["../", *names] if folder != root else names
    items = "".join(
        f'<li><a href="{quote(name)}">{escape(name)}</a>' for name in shown if name[0] != "." or name == "../"
    )
    title = escape(folder.name)
    return f'<!doctype html><meta charset="utf-8"><title>{title}</title><h1>{title}</h1><ul>{items}</ul>'
