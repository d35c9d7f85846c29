"""What a list, the store and a first sound cost.

    python -m benchmarks.lists list SCORES... [--every 7] [--processes 1,auto]
    python -m benchmarks.lists start [--renderer kth-rules] [--synthesizer sampled-piano]
    python -m benchmarks.lists store
    python -m benchmarks.lists first

Processor time counts the command and all its processes; wall-clock time means little beside other work, so
the load of the machine is printed too.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

EXAMPLES = Path(__file__).parents[1] / "examples" / "scores"
PRELOADED = (
    "score_to_audio.workers",
    "score_to_audio.stages",
    "adapters.kth_rules",
    "adapters.sampled_piano",
)
FIRST_SECOND = """
import sys
from pathlib import Path
from score_to_audio.formats.midi import read_performance
from score_to_audio.registry import build, resolve

performance = read_performance(Path(sys.argv[1]))
piano = build(resolve("synthesizer", "sampled-piano"))
samples = 0
for block in piano.stream(performance, prompt=None, seed=0).blocks:
    samples += block.shape[1]
    if samples >= 48000:
        break
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("list", "start", "store", "first"))
    parser.add_argument("scores", nargs="*", type=Path, help="files and folders; default: the examples")
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth score of a folder")
    parser.add_argument("--processes", default="1,auto", help="comma-separated, a run of the list for each")
    parser.add_argument("--renderer", default="kth-rules")
    parser.add_argument("--synthesizer", default="sampled-piano")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.what == "list":
            lists(folder, scores_in(given.scores or [EXAMPLES], given.every), given)
        elif given.what == "start":
            starts(given.renderer, given.synthesizer)
        elif given.what == "store":
            store(folder, scores_in(given.scores or [EXAMPLES], given.every))
        else:
            first(folder, scores_in(given.scores or [EXAMPLES], given.every))
    print(f"load of the machine: {' '.join(f'{one:.1f}' for one in os.getloadavg())}, {os.cpu_count()} cores")


def scores_in(paths: list[Path], every: int) -> list[Path]:
    from score_to_audio import jobs

    return [job.score for job in jobs.plan([str(path) for path in paths])][::every]


def processor_time() -> float:
    """Of the children that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def lists(folder: Path, scores: list[Path], given: argparse.Namespace) -> None:
    digests: dict[str, dict[str, str]] = {}
    for processes in given.processes.split(","):
        out = folder / processes
        options = ["-r", given.renderer, "-s", given.synthesizer, "-f", "ogg", "--processes", processes]
        command = [sys.executable, "-m", "score_to_audio.cli", "run", *map(str, scores), "-o", str(out)]
        environment = os.environ | {"SCORE_TO_AUDIO_STORE": str(folder / f"store-{processes}")}
        started, used = time.perf_counter(), processor_time()
        subprocess.run([*command, *options], env=environment, stdout=subprocess.DEVNULL, check=True)
        seconds, used = time.perf_counter() - started, processor_time() - used
        length = sum(entry["sound_seconds"] for entry in _manifest(out))
        print(
            f"--processes {processes}: {len(scores)} scores, {length:.0f} s of sound in {seconds:.0f} s, "
            f"{used:.0f} s of processor time ({used / seconds:.2f} cores)",
            flush=True,
        )
        results = [*out.glob("*.ogg"), *out.glob("*.mid")]
        digests[processes] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in results}
    sounds = list(digests.values())
    print("same bytes:", all(one == sounds[0] for one in sounds))


def _manifest(out: Path) -> list[dict[str, Any]]:
    from score_to_audio.manifest import read_manifest

    return read_manifest(out)


def ready(connection: Connection, renderer: str, synthesizer: str) -> None:
    """What a worker does before its first score."""
    from score_to_audio.registry import build
    from score_to_audio.settings import PipelineSettings

    pipeline = PipelineSettings(renderer=renderer, synthesizer=synthesizer).resolve()
    build(pipeline.renderer)
    build(pipeline.synthesizer)
    connection.send(time.process_time())


def starts(renderer: str, synthesizer: str) -> None:
    """From the start of a worker process to its first score."""
    methods: tuple[Literal["spawn", "forkserver"], ...] = ("spawn", "forkserver")
    for method in methods:
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(list(PRELOADED))
        for number in range(3):
            ours, theirs = context.Pipe()
            started = time.perf_counter()
            process = context.Process(target=ready, args=(theirs, renderer, synthesizer))
            process.start()
            used = ours.recv()
            seconds = time.perf_counter() - started
            process.join()
            print(f"{method}, process {number + 1}: {seconds:.2f} s, {used:.2f} s of processor time in it")


def store(folder: Path, scores: list[Path]) -> None:
    """Bytes in the store and as WAV; time to deliver."""
    from score_to_audio import stages
    from score_to_audio.settings import PipelineSettings
    from score_to_audio.store import Store

    pipeline, kept = PipelineSettings().resolve(), Store(folder / "store")
    sizes = {"flac": 0, "wav": 0}
    spent = dict.fromkeys(sizes, 0.0)
    for score in scores:
        played = stages.render(score, pipeline.renderer, kept, score_options=pipeline.score_options).artifact
        made = stages.synthesize(kept.path(played), pipeline.synthesizer, kept)
        for suffix in sizes:
            file, started = folder / f"{score.stem}.{suffix}", time.process_time()
            stages.deliver(made.artifact, file, kept)
            spent[suffix] += time.process_time() - started
            sizes[suffix] += file.stat().st_size
    for suffix, size in sizes.items():
        print(f"{len(scores)} sounds as {suffix}: {size / 1e6:.1f} MB, delivered in {spent[suffix]:.2f} s")
    print(f"FLAC is {sizes['flac'] / sizes['wav']:.0%} of WAV")


def first(folder: Path, scores: list[Path]) -> None:
    """Processor time of a process until a second of sound is there, imports included."""
    from renderers.kth_rules.rendering import render
    from score_to_audio.formats.midi import write_performance
    from score_to_audio.formats.scores.reader import read_score

    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for score in scores:
        write_performance(render(read_score(score).parsed, seed=0), folder / "performance.mid")
        times = []
        for _ in range(5):
            before = processor_time()
            command = [sys.executable, "-c", FIRST_SECOND, str(folder / "performance.mid")]
            subprocess.run(command, env=environment, check=True)
            times.append(processor_time() - before)
        print(f"{score.stem:40} {min(times):.2f} to {max(times):.2f} s until the first second of sound")


if __name__ == "__main__":
    main()
