"""What a batch costs around the models, on many short scores, and what a second process or worker gains.

    python -m benchmarks.batch [--scores 1000] [--burn 0.25] [--only overhead|processes|workers]

The flow runs on the server that PREFECT_API_URL names, else on a temporary one, whose start is part of the
time from command to exit. Renderer and synthesizer are the trial plug-ins of the tests; what they take
themselves is a line of its own, and subtracted nowhere.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from score_to_audio import jobs
from score_to_audio.settings import PipelineSettings
from score_to_audio.store import Store
from tests.flows.batch_site import DEPLOYMENT, WORKER, deploy_shards
from tests.flows.conftest import serving
from tests.trial.trial_kit import install_trial_plugins, write_scores

MEGABYTE = 1 << 20
SHARD = 40
"""Scores per flow run of a worker."""
SETTLED = 0.5
"""Share of the run after which memory should no longer grow."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=int, default=1000)
    parser.add_argument("--burn", type=float, default=0.25, help="seconds of work per stage")
    parser.add_argument("--only", choices=("overhead", "processes", "workers"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sys.path.insert(0, str(install_trial_plugins(folder / "plugins")))
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [str(folder / "plugins"), os.environ.get("PYTHONPATH", "")]
        )
        if arguments.only in (None, "overhead"):
            overhead(folder / "overhead", arguments.scores)
        if arguments.only in (None, "processes"):
            processes(folder / "processes", arguments.burn)
        if arguments.only in (None, "workers"):
            workers(folder / "workers", arguments.burn)


def row(name: str, value: float, unit: str) -> None:
    print(f"{name:<62}{value:>10.2f} {unit}", flush=True)


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def overhead(folder: Path, count: int) -> None:
    """Per score: without Prefect, within the flow, and from command to exit."""
    scores = write_scores(folder / "scores", count)
    pipeline = PipelineSettings(renderer="trial", synthesizer="trial").resolve()
    plan, alone = jobs.plan([scores]), Store(folder / "alone")
    jobs.run(plan[0], pipeline, Store(folder / "warm"), folder / "warm-up")  # imports

    def models() -> None:
        from score_to_audio.formats.scores.reader import read_score
        from score_to_audio.registry import build

        for job in plan:
            performance = build(pipeline.renderer).render(read_score(job.score), seed=0)
            list(build(pipeline.synthesizer).stream(performance, prompt=None, seed=0).blocks)

    def direct() -> None:
        for job in plan:
            jobs.run(job, pipeline, alone, folder / "direct")

    row("the models alone, with reading the score, per score", 1000 * timed(models) / count, "ms")
    for label in ("new", "cached"):
        row(f"without Prefect, {label}, per score", 1000 * timed(direct) / count, "ms")
    empty = batch(folder / "one", write_scores(folder / "one" / "scores", 1))
    row("batch of one score, from command to exit", empty.seconds, "s")
    for label in ("new", "cached"):
        done = batch(folder, scores)
        row(f"batch, {label}, {count} scores, from command to exit", done.seconds, "s")
        row(f"batch, {label}, per score, with start and end", 1000 * done.seconds / count, "ms")
        row("    without start and end", 1000 * (done.seconds - empty.seconds) / (count - 1), "ms")
        row("    memory of the driver, most", done.peak, "MB")
        row("    memory of the driver, growth over the second half", done.growth, "MB")


class Done:
    """How long a batch took, and the resident memory of its process, MB."""

    def __init__(self, seconds: float, sizes: list[float]) -> None:
        self.seconds, self.peak = seconds, max(sizes)
        self.growth = sizes[-1] - sizes[int(SETTLED * len(sizes))]


def batch(folder: Path, scores: Path, *options: str) -> Done:
    command = [sys.executable, "-m", "score_to_audio.cli", "batch", str(scores), "-o", str(folder / "out")]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "-r", "trial", "-s", "trial", *options],
        env=os.environ | {"SCORE_TO_AUDIO_STORE": str(folder / "store")},
        stdout=subprocess.DEVNULL,
    )
    with _sizes(process.pid) as sizes:
        if process.wait():
            raise SystemExit("the batch failed")
    return Done(time.perf_counter() - started, sizes)


@contextmanager
def _sizes(process: int) -> Iterator[list[float]]:
    """Resident memory of a process in MB, a value every 0.2 s from its first results on."""
    sizes, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            try:
                pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
            except (OSError, IndexError):
                continue
            if pages:
                sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield sizes
    finally:
        over.set()
        watcher.join()


def processes(folder: Path, burn: float) -> None:
    """The same work by one and by two processes: throughput while both are busy."""
    scores = write_scores(folder / "scores", 40)
    busy = ("--set", f"renderer.burn={burn}", "--set", f"synthesizer.burn={burn}")
    seconds, busy_time = {}, {}
    for count in (1, 2):
        few = write_scores(folder / "few", 2)
        for name in ("out", "store"):
            shutil.rmtree(folder / name, ignore_errors=True)
        start = batch(folder, few, "--processes", str(count), *busy).seconds
        for name in ("out", "store"):
            shutil.rmtree(folder / name, ignore_errors=True)
        seconds[count] = batch(folder, scores, "--processes", str(count), *busy).seconds
        row(f"{count} processes, 40 scores, from command to exit", seconds[count], "s")
        row("    of it start and end, with two scores", start, "s")
        busy_time[count] = seconds[count] - start
    row("one process to two, start and end included", seconds[1] / seconds[2], "times")
    row("one process to two, 38 scores between start and end", busy_time[1] / busy_time[2], "times")


def workers(folder: Path, burn: float) -> None:
    """The same work by one and by two Prefect workers, beside their server on the same two cores."""
    scores = write_scores(folder / "scores", 2 * SHARD)
    options = [
        *("-r", "trial", "-s", "trial", *DEPLOYMENT, "--shard", str(SHARD)),
        *("--set", f"renderer.burn={burn}", "--set", f"synthesizer.burn={burn}"),
    ]
    seconds, rate = {}, {}
    with serving(folder) as server:
        deploy_shards(server)
        for count in (1, 2):
            out = folder / f"out-{count}"
            command = ["-m", "score_to_audio.cli", "batch", str(scores), "-o", str(out), *options]
            own_store = {"SCORE_TO_AUDIO_STORE": str(folder / f"store-{count}")}
            site = replace(server, environment={**server.environment, **own_store})
            with ExitStack() as running:
                for number in range(count):
                    running.enter_context(site.running(f"worker-{number}", *WORKER))
                started = time.perf_counter()
                subprocess.run(
                    [sys.executable, *command],
                    env=site.environment,
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
                seconds[count] = time.perf_counter() - started
            rate[count] = count * sum(_rates_of_shards(out)) / 2
            row(f"{count} workers, {2 * SHARD} scores, from command to exit", seconds[count], "s")
            row("    scores per second while all work", rate[count], "")
    row("one worker to two, from command to exit", seconds[1] / seconds[2], "times")
    row("one worker to two, while all work", rate[2] / rate[1], "times")


def _rates_of_shards(output: Path) -> list[float]:
    """Scores per second between the first and the last result of each shard."""
    ends = [path.stat().st_mtime for path in sorted(output.glob("*.wav"))]
    shards = [sorted(ends[start : start + SHARD]) for start in range(0, len(ends), SHARD)]
    return [(SHARD - 1) / (times[-1] - times[0]) for times in shards]


if __name__ == "__main__":
    main()
