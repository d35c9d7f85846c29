"""What the pipeline costs around the models: start-up, stages, flow overhead per score, memory.

    python -m benchmarks.pipeline [--scores 50]

The flow runs on the server that PREFECT_API_URL names, else on a temporary one.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from score_to_audio import stages
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.jobs import Job
from score_to_audio.registry import build
from score_to_audio.settings import PipelineSettings
from score_to_audio.store import Store

SCORES = Path(__file__).parents[1] / "examples" / "scores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=int, default=50, help="short scores for the flow")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SCORE_TO_AUDIO_STORE"] = str(Path(folder) / "store")
        start_up()
        one_score(Path(folder))
        flow(Path(folder), arguments.scores)


def row(name: str, value: float, unit: str = "s") -> None:
    print(f"{name:<52}{value:>10.3f} {unit}", flush=True)


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def start_up() -> None:
    def command(*arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "score_to_audio.cli", *arguments], check=True, capture_output=True
        )

    for arguments in (("--help",), ("models", "list"), ("store", "info")):
        times = [timed(lambda arguments=arguments: command(*arguments)) for _ in range(5)]  # type: ignore[misc]
        row(f"start-up: score-to-audio {' '.join(arguments)}", statistics.median(times))


def one_score(folder: Path) -> None:
    path = SCORES / "chopin_prelude_op28_no4.musicxml"
    row("read a score (602 notes), first time", timed(lambda: read_score(path).parsed))
    row("read a score, again", timed(lambda: read_score(path).parsed))
    pipeline = PipelineSettings(renderer="score").resolve()
    row("build the models", timed(lambda: (build(pipeline.renderer), build(pipeline.synthesizer))))
    for label in ("new", "cached"):
        store = Store(folder / "store")
        rendered = stages.render(path, pipeline.renderer, store, score_options=pipeline.score_options)
        row(f"render, {label}", rendered.seconds)
        made = stages.synthesize(store.path(rendered.artifact), pipeline.synthesizer, store)
        row(f"synthesize, {label}", made.seconds)
    from score_to_audio.formats.midi import read_performance

    length = read_performance(Store(folder / "store").path(rendered.artifact)).end
    row("length of the sound", length)


def flow(folder: Path, count: int) -> None:
    """The same short score under many names and contents, so that every one is new once."""
    from flows.pipeline import score_to_audio

    text = (SCORES / "chopin_prelude_op28_no7.musicxml").read_text("utf-8")
    scores = folder / "scores"
    scores.mkdir()
    for index in range(count):
        (scores / f"{index:04}.musicxml").write_text(text + f"<!-- {index} -->", encoding="utf-8")
    store = Store(folder / "store")
    pipeline = PipelineSettings(renderer="score").resolve()
    alone = Store(folder / "alone")
    jobs = [Job(path, path.stem) for path in sorted(scores.iterdir())]

    def without_prefect() -> None:
        for job in jobs:
            made = stages.render(job.score, pipeline.renderer, alone, score_options=pipeline.score_options)
            stages.synthesize(alone.path(made.artifact), pipeline.synthesizer, alone)

    shutil.rmtree(store.folder)
    for label in ("new", "cached"):
        direct = timed(without_prefect)
        row(f"{count} scores without Prefect, {label}, per score", direct / count)
        through = timed(lambda: score_to_audio([scores], folder / "out", return_state=True))
        row(f"{count} scores as a flow, {label}, per score", through / count)
        row("    of it overhead (with the flow's start and end)", (through - direct) / count)
    row("most memory of the driver", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB")


if __name__ == "__main__":
    main()
