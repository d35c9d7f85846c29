"""Progress on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from score_to_audio import logs

MEMORY = 900.0
"""Seconds of the past from which the time that remains is estimated: a score may take minutes."""


class Display:
    """Progress bars on a terminal, nothing but the results' lines otherwise."""

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
                speed_estimate_period=MEMORY,
            )
            self.all = self.live.add_task("all", total=total, unit="scores", visible=total > 1)
            self.one = self.live.add_task("", total=1, unit="", visible=False)

    def __enter__(self) -> Display:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back."""
        if self.live:
            self.live.stop()

    def overall(self, done: float, total: float, unit: str) -> None:
        """Takes reports of progress that are about everything."""
        if self.live:
            self.live.update(self.all, completed=done, total=total, unit=unit)

    def item(self, name: str) -> Any:
        """A block during which reports of progress belong to ``name``."""
        from contextlib import contextmanager

        from score_to_audio import progress

        @contextmanager
        def block() -> Any:
            with progress.listening(self._listener(name)):
                yield
            if self.live:
                self.live.advance(self.all)

        return block()

    def _listener(self, name: str) -> Callable[[float, float, str], None]:
        def listen(done: float, total: float, unit: str) -> None:
            if self.live:
                self.live.update(
                    self.one, description=name, completed=done, total=total, unit=unit, visible=True
                )

        if self.live:
            self.live.reset(self.one, description=name, visible=False, total=1, unit="")
        return listen

    def line(self, text: str) -> None:
        if self.live:
            self.live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr if text.startswith("error:") else sys.stdout, flush=True)
