"""Serves the studio until it is interrupted."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from score_to_audio.comparison.studio.address import announced
from score_to_audio.comparison.studio.app import make_app
from score_to_audio.comparison.studio.library import open_library
from score_to_audio.comparison.studio.queue import Queue
from score_to_audio.comparison.studio.security import LOOPBACK, Guard
from score_to_audio.errors import InputError
from score_to_audio.store import ArtifactStore


def serve(
    folder: Path,
    store: ArtifactStore,
    *,
    scores: Path | None = None,
    outputs: Sequence[Path] = (),
    host: str = "127.0.0.1",
    port: int = 0,
    open_browser: bool = True,
) -> None:
    """Serve on ``host`` and ``port`` (0: a free one). Raises ``InputError`` for an address that is taken."""
    with open_library(folder) as library, _listening(host, port) as listener:
        bound = listener.getsockname()[1]
        is_local = host in ("127.0.0.1", "localhost", "::1")
        token = "" if is_local else secrets.token_urlsafe(24)
        names = LOOPBACK if is_local else (*LOOPBACK, host, socket.gethostname())
        queue = Queue(library, store)
        app = Guard(
            make_app(library, queue, store, scores=scores, outputs=outputs),
            hosts=[f"{name}:{bound}" for name in names],
            token=token,
        )
        shown = {"0.0.0.0": socket.gethostname(), "::1": "[::1]"}.get(host, host)
        address = f"http://{shown}:{bound}/"
        admission = f"?token={token}" if token else ""
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        try:
            print(f"the studio is at {address}{admission}  (Ctrl-C ends it)", flush=True)
            if open_browser:
                webbrowser.open(address + admission)
            with announced(folder, address, outputs):
                server.run(sockets=[listener])
        except KeyboardInterrupt:  # the way to end it
            pass
        finally:
            queue.close()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # a browser that is opened now waits
    except OSError as error:
        listener.close()
        raise InputError(f"{host}:{port}: {error.strerror}; choose another --port") from error
    return listener
