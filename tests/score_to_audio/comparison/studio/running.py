"""A studio in a process of its own, and calls as its page makes them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.trial.trial_kit import install_trial_plugins

PATIENCE = 120.0


@dataclass
class Studio:
    """Where it listens."""

    address: str
    process: subprocess.Popen[str]
    headers: dict[str, str] = field(default_factory=dict)

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and content; a body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if body is not None else {}
        request = Request(self.address + path.lstrip("/"), data, kind | dict(headers or {}), method=method)
        try:
            with urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        status, content = self.call(method, path, body)
        assert status == 200, content
        return json.loads(content)

    def state(self) -> dict[str, Any]:
        """The first of the server-sent events."""
        with urlopen(self.address + "api/events", timeout=60) as events:
            return json.loads(events.readline().removeprefix(b"data: "))  # type: ignore[no-any-return]

    def piece(self, id: str) -> dict[str, Any]:
        return next(piece for piece in self.state()["pieces"] if piece["id"] == id)

    def wait(self, piece: str, number: int, *states: str) -> dict[str, Any]:
        """The interpretation of this number, once it is in one of the states."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found: dict[str, Any] = self.piece(piece)["interpretations"][number]
            if found["state"] in states:
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.1)


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Studio]:
    """``score-to-audio studio`` with the trial plug-ins; its files are below ``folder``."""
    plugins = folder / "plugins"
    if not plugins.exists():
        install_trial_plugins(plugins)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH")])),
        "SCORE_TO_AUDIO_STORE": str(folder / "store"),
        "SCORE_TO_AUDIO_PROMPTS": str(folder / "prompts"),
    }
    command = [
        *(sys.executable, "-m", "score_to_audio.cli", "studio", "--folder", str(folder / "studio")),
        *("--port", "0", "--no-open", *arguments),
    ]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://\S+", line)
        assert address, line
        yield Studio(address[0], process)
    finally:
        process.terminate()
        process.wait(PATIENCE)
