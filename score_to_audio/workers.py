"""Worker processes that run one job at a time and can be killed: for parallel runs and for limits.

A model may hang or allocate without bound in native code, where no exception reaches it. The kernel enforces
the limits instead: an interval timer whose default action kills the process, and a limit on its data segment.
A worker that dies is replaced; the kernel frees its locks.
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
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from score_to_audio import jobs, progress
from score_to_audio.errors import EXPECTED_ERRORS, StageError
from score_to_audio.jobs import Job, Outcome
from score_to_audio.machine import available_memory, cores
from score_to_audio.registry import build
from score_to_audio.settings import ExecutionSettings, Pipeline, PipelineSettings
from score_to_audio.store import ArtifactStore, open_store

LOADING_SECONDS = 600.0
"""Added to the first deadline of a worker, for loading the models."""
REPORT_SECONDS = 0.2
"""A worker reports its progress at most this often."""
MEMORY_SHARE = 0.8
"""Of the available memory, for the processes that are started without being asked for."""
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run_jobs(
    plan: Sequence[Job],
    pipeline: Pipeline,
    store: ArtifactStore,
    output: Path,
    execution: ExecutionSettings,
    *,
    around: Callable[[str], AbstractContextManager[Any]] = nullcontext,
) -> Iterator[Outcome]:
    """Run all jobs, in this process or in workers as ``execution`` says; yields outcomes as they come.

    A job that fails yields an outcome with its error. ``around``: a context manager around each job that
    runs in this process, made from the path of the score.
    """
    processes = process_count(execution, pipeline, len(plan))
    if not processes:
        yield from _run_here(plan, pipeline, store, output, around)
        return
    execution = execution.model_copy(update={"processes": processes})
    with WorkerPool(execution) as pool, ThreadPoolExecutor(pool.size) as threads:

        def run(job: Job) -> Outcome:
            found = jobs.find(job, pipeline, store, output)
            return found or pool.run(job, pipeline.settings, store.location, output)

        waiting = iter(plan)
        running: set[Future[Outcome]] = set()
        try:
            while True:
                for job in itertools.islice(waiting, 2 * pool.size - len(running)):
                    running.add(threads.submit(_attempted, job, run))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            pool.close()  # the threads return at once when their workers are gone
            raise


def process_count(execution: ExecutionSettings, pipeline: Pipeline, scores: int) -> int:
    """Worker processes for a list; 0 where this process does the work."""
    chosen = execution.processes
    wanted = chosen if isinstance(chosen, int) else _automatic(pipeline, scores)
    return max(wanted, 1) if execution.deadline or execution.memory_limit else wanted


def _automatic(pipeline: Pipeline, scores: int) -> int:
    """One per core if the models use one each; 0 instead of 1, which would gain nothing."""
    plugins = (pipeline.renderer, pipeline.synthesizer)
    needs = [plugin.spec.process_memory for plugin in plugins if plugin.device == "cpu"]
    memory = sum(need for need in needs if need is not None)
    if None in needs or len(needs) < len(plugins) or not memory:
        return 0
    fitting = int(MEMORY_SHARE * available_memory() / (memory * 1_000_000))
    count = min(cores(), fitting, scores)
    return count if count > 1 else 0


def _run_here(
    plan: Sequence[Job],
    pipeline: Pipeline,
    store: ArtifactStore,
    output: Path,
    around: Callable[[str], AbstractContextManager[Any]],
) -> Iterator[Outcome]:
    """One job after the other; on two devices, the next is rendered while this one is synthesized."""
    ahead = ThreadPoolExecutor(max_workers=1)
    overlaps = pipeline.renderer.device != pipeline.synthesizer.device
    try:
        for job, following in itertools.zip_longest(plan, plan[1:]):
            if overlaps and following:
                ahead.submit(jobs.render_ahead, following, pipeline, store)
            with around(str(job.score)):
                outcome = _attempted(job, lambda job: jobs.run(job, pipeline, store, output))
            yield outcome
    finally:
        ahead.shutdown(wait=False, cancel_futures=True)


def _attempted(job: Job, run: Callable[[Job], Outcome]) -> Outcome:
    try:
        return run(job)
    except EXPECTED_ERRORS as error:
        return jobs.failed(job, error)


class WorkerPool:
    """A fixed number of workers; ``run`` waits while all of them are busy. Thread-safe."""

    def __init__(self, execution: ExecutionSettings) -> None:
        self.size = max(execution.processes, 1) if isinstance(execution.processes, int) else 1
        self._workers = [_Worker(execution) for _ in range(self.size)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def run(self, job: Job, settings: PipelineSettings, store: str, output: Path) -> Outcome:
        """``jobs.run`` in a worker, whose progress is reported in the calling thread.

        Raises what ``jobs.run`` raises, and ``StageError`` for a worker that died.
        """
        worker = self._idle.get()
        try:
            return worker.run(job, settings, store, output)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """Kill all workers."""
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@lru_cache
def shared_pool(execution: ExecutionSettings) -> WorkerPool:
    """One pool per process and limits, kept until the process ends: its workers keep their models loaded."""
    pool = WorkerPool(execution)
    atexit.register(pool.close)
    return pool


@lru_cache(maxsize=1)
def _starter() -> ThreadPoolExecutor:
    """The thread that starts all workers. It lives as long as this process: PR_SET_PDEATHSIG kills a worker
    when the thread that started it ends, and threads of task runners come and go."""
    return ThreadPoolExecutor(max_workers=1)


class _Worker:
    """A process, started on first use and again after it died."""

    def __init__(self, execution: ExecutionSettings) -> None:
        self._execution = execution
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._closed = False

    def run(self, job: Job, settings: PipelineSettings, store: str, output: Path) -> Outcome:
        connection = self._connected()
        try:
            connection.send((job, settings, store, output))
            while isinstance(answer := connection.recv(), tuple):
                progress.report(*answer)
        except (EOFError, OSError):
            raise StageError(f"{job.score}: {self._cause_of_death()}") from None
        if isinstance(answer, Outcome):
            return answer
        raise _chained(answer)

    def _connected(self) -> Connection:
        if self._process is not None and not self._process.is_alive():  # killed while idle
            self._stop()
        if self._connection is None:
            context = multiprocessing.get_context("spawn")  # threads and CUDA do not survive a fork
            self._connection, theirs = context.Pipe()
            arguments = (theirs, self._execution, os.getpid())
            self._process = context.Process(target=_serve, args=arguments, daemon=True)
            _starter().submit(self._process.start).result()
            theirs.close()
        return self._connection

    def _cause_of_death(self) -> str:
        """Why the process died; the next job gets a new one."""
        process = self._process
        if self._closed or process is None:
            return "cancelled"
        process.join()
        code = process.exitcode
        self._stop()
        if code == -signal.SIGALRM:
            return f"not done within the deadline of {self._execution.deadline:g} s"
        if code is not None and code < 0:
            return f"the process that worked on it was killed ({signal.Signals(-code).name})"
        return f"the process that worked on it ended (exit code {code})"

    def close(self) -> None:
        self._closed = True
        if self._process is not None:
            self._process.kill()

    def _stop(self) -> None:
        if self._process is not None and self._connection is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = self._connection = None


def _chained(errors: list[BaseException]) -> BaseException:
    """An error with its causes: pickle keeps each error, but not the links."""
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]


# ----------------------------------------------------------------------------------- in the worker


def _serve(connection: Connection, execution: ExecutionSettings, parent: int) -> None:
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if execution.memory_limit is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (execution.memory_limit, execution.memory_limit))
    resolved: Pipeline | None = None
    while True:
        try:
            job, settings, store, output = connection.recv()
        except EOFError:
            return
        answer: Outcome | list[BaseException]
        try:
            if resolved is None or resolved.settings != settings:
                _set_alarm(execution.deadline, LOADING_SECONDS)
                resolved = settings.resolve()
                _load(resolved)
            _set_alarm(execution.deadline)
            with progress.listening(_sending_to(connection)):
                answer = jobs.run(job, resolved, open_store(store), output)
        except MemoryError as error:
            answer = [_out_of_memory(error, job, execution)]
        except Exception as error:
            answer = _picklable_chain(error)
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.send(answer)


def _sending_to(connection: Connection) -> progress.Report:
    last = -REPORT_SECONDS

    def send(done: float, total: float, unit: str) -> None:
        nonlocal last
        if done >= total or time.monotonic() - last >= REPORT_SECONDS:
            last = time.monotonic()
            connection.send((done, total, unit))

    return send


def _set_alarm(deadline: float | None, extra: float = 0.0) -> None:
    if deadline is not None:
        signal.setitimer(signal.ITIMER_REAL, deadline + extra)


def _die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _load(pipeline: Pipeline) -> None:
    with contextlib.suppress(Exception):  # the job meets the same error and reports it
        build(pipeline.renderer)
        build(pipeline.synthesizer)


def _out_of_memory(error: MemoryError, job: Job, execution: ExecutionSettings) -> BaseException:
    if execution.memory_limit is None:
        return MemoryError(*error.args)
    return StageError(
        f"{job.score}: needs more than the memory limit of {execution.memory_limit / 1e6:.0f} MB"
    )


def _picklable_chain(error: BaseException | None) -> list[BaseException]:
    """An error and its causes; those that cannot be pickled become a ``RuntimeError`` with their text."""
    chain: list[BaseException] = []
    while error is not None:
        try:
            chain.append(pickle.loads(pickle.dumps(error)))
        except Exception:
            chain.append(RuntimeError(f"{type(error).__name__}: {error}"))
        error = error.__cause__
    return chain
