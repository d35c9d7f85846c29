"""Processes that carry out jobs one at a time, and can be killed: for limits on time and memory.

A model may hang or eat memory in native code, where no exception reaches it. So a limited job runs in a child
process under limits of the kernel: an alarm whose default action ends the process, whatever it is doing and
whatever the clock on the wall does, and a limit on its data. A dead child is replaced; its locks are free.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import itertools
import multiprocessing
import os
import pickle
import resource
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from score_to_audio import jobs
from score_to_audio.errors import StageError
from score_to_audio.jobs import Job, Outcome
from score_to_audio.registry import build
from score_to_audio.stages import Pipeline
from score_to_audio.store import ArtifactStore, open_store

LOADING_TIME = 600.0
"""Seconds that the models may take to load, on top of the first deadline."""
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Isolation:
    """How jobs run apart from this process."""

    processes: int = 1
    deadline: float | None = None
    """Seconds for one score."""
    memory: int | None = None
    """Bytes of data that a process may hold, models included."""


def run(job: Job, pipeline: Pipeline, store: ArtifactStore, output: Path, isolation: Isolation) -> Outcome:
    """``jobs.run`` in a child process; raises what that raises, and ``StageError`` for a child that died.

    Waits while all children are busy. They live until this process ends, each with the models it loaded.
    """
    idle = _children(isolation)
    child = idle.get()
    try:
        return child.run(job, pipeline, store, output)
    finally:
        idle.put(child)


@cache
def _children(isolation: Isolation) -> SimpleQueue[_Child]:
    idle: SimpleQueue[_Child] = SimpleQueue()
    for _ in range(isolation.processes):
        idle.put(_Child(isolation))
    return idle


@cache
def _starter() -> ThreadPoolExecutor:
    """A thread that lives as long as this process: the kernel takes the thread that started a child for its
    parent (see ``_die_with``), and those that run tasks come and go."""
    return ThreadPoolExecutor(max_workers=1)


class _Child:
    """A process, started when it is first needed and again when it died."""

    def __init__(self, isolation: Isolation) -> None:
        self.isolation = isolation
        self.process: Any = None
        self.connection: Connection | None = None
        atexit.register(self.stop)

    def run(self, job: Job, pipeline: Pipeline, store: ArtifactStore, output: Path) -> Outcome:
        connection = self._connected()
        try:
            connection.send((job, pipeline, store.location, output))
            answer = connection.recv()
        except (EOFError, ConnectionError):
            raise StageError(f"{job.score}: {self._death()}") from None
        if isinstance(answer, Outcome):
            return answer
        raise _linked(answer)

    def _connected(self) -> Connection:
        if self.process is not None and not self.process.is_alive():  # killed while it had nothing to do
            self.stop()
        if self.connection is None:
            context = multiprocessing.get_context("spawn")  # threads and CUDA do not survive a fork
            self.connection, theirs = context.Pipe()
            self.process = context.Process(
                target=_serve, args=(theirs, self.isolation, os.getpid()), daemon=True
            )
            _starter().submit(self.process.start).result()
            theirs.close()
        return self.connection

    def _death(self) -> str:
        """Why the process died; the next job gets a new one."""
        self.process.join()
        code = self.process.exitcode
        self.stop()
        if code == -signal.SIGALRM:
            return f"not done within the deadline of {self.isolation.deadline:g} s"
        if code is not None and code < 0:
            return f"the process that worked on it was killed ({signal.Signals(-code).name})"
        return f"the process that worked on it ended (exit code {code})"

    def stop(self) -> None:
        if self.connection is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
        self.process = self.connection = None


def _linked(chain: list[BaseException]) -> BaseException:
    """An error with its causes: pickle keeps each, but not what links them."""
    for error, cause in itertools.pairwise(chain):
        error.__cause__ = cause
    return chain[0]


# ------------------------------------------------------------------------------------------- the child


def _serve(connection: Connection, isolation: Isolation, parent: int) -> None:
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and is interrupted as well
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if isolation.memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (isolation.memory, isolation.memory))
    first = True
    while True:
        try:
            job, pipeline, store, output = connection.recv()
        except EOFError:
            return
        if first and isolation.deadline is not None:
            signal.setitimer(signal.ITIMER_REAL, isolation.deadline + LOADING_TIME)
            _load(pipeline)
        first = False
        if isolation.deadline is not None:
            signal.setitimer(signal.ITIMER_REAL, isolation.deadline)
        answer = _attempt(job, pipeline, open_store(store), output, isolation)
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.send(answer)


def _die_with(parent: int) -> None:
    """Leave no child that hangs for ever behind a parent that was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _load(pipeline: Pipeline) -> None:
    for prepared in (pipeline.renderer, pipeline.synthesizer):
        with contextlib.suppress(Exception):  # the job itself will meet it and say so
            build(prepared)


def _attempt(
    job: Job, pipeline: Pipeline, store: ArtifactStore, output: Path, isolation: Isolation
) -> Outcome | list[BaseException]:
    try:
        return jobs.run(job, pipeline, store, output)
    except MemoryError as error:
        if isolation.memory is None:
            return [MemoryError(*error.args)]
        limit = f"the memory limit of {isolation.memory / 1e6:.0f} MB"
        return [StageError(f"{job.score}: needs more than {limit}")]
    except Exception as error:
        return _chain(error)


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and its causes, as far as they can be sent."""
    chain: list[BaseException] = []
    while error is not None:
        try:
            chain.append(pickle.loads(pickle.dumps(error)))
        except Exception:
            chain.append(RuntimeError(f"{type(error).__name__}: {error}"))
        error = error.__cause__
    return chain
