"""Progress on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from score_to_audio import logs, progress

ESTIMATION_PERIOD = 900.0
"""Seconds of the past that estimate the remaining time: a score may take minutes."""


class Display:
    """Progress bars on a terminal; elsewhere only the lines of results."""

    def __init__(self, *, total: int, quiet: bool) -> None:
        self.live: Any = None
        if sys.stderr.isatty() and not quiet and logs.wanted() == "text":
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self.live = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
                speed_estimate_period=ESTIMATION_PERIOD,
            )
            self.all = self.live.add_task("all", total=total, unit="scores", visible=total > 1)
            self.one = self.live.add_task("", total=1, unit="", visible=False)

    def __enter__(self) -> Display:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def overall(self, done: float, total: float, unit: str) -> None:
        """Takes reports of progress on the whole run."""
        if self.live:
            self.live.update(self.all, completed=done, total=total, unit=unit)

    @contextmanager
    def item(self, name: str) -> Iterator[None]:
        """A block whose reports of progress are about ``name``."""
        if not self.live:
            yield
            return

        def listen(done: float, total: float, unit: str) -> None:
            self.live.update(self.one, description=name, completed=done, total=total, unit=unit, visible=True)

        self.live.reset(self.one, description=name, visible=True, total=1, unit="")
        with progress.listening(listen):
            yield
        self.live.advance(self.all)

    def line(self, text: str) -> None:
        if self.live:
            self.live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr if text.startswith("error:") else sys.stdout, flush=True)
