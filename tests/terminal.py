"""Commands in a real terminal: a pseudo-terminal whose Ctrl-C reaches the whole foreground process group."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress


class Terminal:
    """A running command and what it has written."""

    def __init__(self, process: int, descriptor: int) -> None:
        self._process, self._descriptor = process, descriptor
        self.output = ""

    def press_ctrl_c(self) -> None:
        os.write(self._descriptor, b"\x03")

    def read(self, seconds: float) -> bool:
        """Read for at most so long; False once the command has closed the terminal."""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return True
        try:
            block = os.read(self._descriptor, 65536)
        except OSError:  # Linux reports a closed pseudo-terminal as EIO
            return False
        self.output += block.decode(errors="replace")
        return bool(block)

    def exit_code(self, patience: float) -> int:
        """Of the command, once it has ended; negative for a signal."""
        deadline = time.monotonic() + patience
        while self.read(0.1):
            assert time.monotonic() < deadline, f"the command still runs:\n{self.output}"
        return os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])


@contextmanager
def terminal(*arguments: str, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """``score-to-audio ARGUMENTS`` in a terminal of 100 columns."""
    command = [sys.executable, "-m", "score_to_audio.cli", *arguments]
    process, descriptor = pty.fork()
    if process == 0:
        os.execve(
            sys.executable, command, {**environment, "TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1"}
        )
    try:
        yield Terminal(process, descriptor)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        os.close(descriptor)
