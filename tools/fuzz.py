"""Feeds damaged files to the product for as long as you like: `python tools/fuzz.py --minutes 60`.

What has to hold, the seeds and the damage are those of tests/fuzz, of which some hundreds run with the tests.
Where atheris is installed (`pip install atheris`), coverage guides the choice of files, else chance does.
Each target gets a turn of a minute or so in a process of its own, so that a crash of native code or a lack of
memory ends a turn and not the hunt. Findings, one per place in the code, are in CORPUS/findings: the file and
what was wrong with it. Exit code 1 where there are any.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import re
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

INSTRUMENTED = ["adapters", "renderers", "score_to_audio", "mido", "pretty_midi", "partitura"]
"""Packages whose coverage counts; all of torch would take a minute to prepare."""
try:
    import atheris  # type: ignore[import-not-found]
except ImportError:
    atheris = None
coverage: Any = atheris.instrument_imports(include=INSTRUMENTED) if atheris else nullcontext()

with coverage:
    from tests.fuzz.mutations import LARGEST
    from tests.fuzz.targets import TARGETS, Target, check, load_libraries, mutated

TURN = 90
"""Seconds."""
MEMORY = 6 << 30
"""Bytes of address space for a turn; the libraries alone take 3 GB of it."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    arguments.add_argument("--minutes", type=float, default=60.0)
    arguments.add_argument("--corpus", type=Path, default=Path(tempfile.gettempdir()) / "score-to-audio-fuzz")
    arguments.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    arguments.add_argument("--turn", metavar="SECONDS", type=float, help="one turn at one target, here")
    given = arguments.parse_args()
    if given.turn is not None:
        take_turn(given.targets[0], given.corpus, given.turn)
        return
    deadline = time.monotonic() + 60 * given.minutes
    while time.monotonic() < deadline:
        for name in given.targets:
            seconds = min(TURN, deadline - time.monotonic())
            if seconds > 1:
                start_turn(name, given.corpus, seconds)
    findings = sorted((given.corpus / "findings").glob("*.txt"))
    for finding in findings:
        print(f"{finding}: {finding.read_text('utf-8').splitlines()[-1][:200]}")
    print(f"{len(findings)} findings")
    sys.exit(1 if findings else 0)


def start_turn(name: str, corpus: Path, seconds: float) -> None:
    command = [
        sys.executable,
        __file__,
        "--targets",
        name,
        "--corpus",
        str(corpus),
        "--turn",
        f"{seconds:.0f}",
    ]
    corpus.mkdir(parents=True, exist_ok=True)
    with (corpus / f"{name}.log").open("ab") as log:
        code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
    if code:
        last = corpus / f"{name}.last"
        content = last.read_bytes() if last.exists() else b""
        record(name, corpus, content, f"the process ended with {code}; see {name}.log")


def take_turn(name: str, corpus: Path, seconds: float) -> None:
    logging.disable(logging.WARNING)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with coverage:
        load_libraries(TARGETS[name])
    if atheris:
        _by_coverage(name, corpus, seconds)
    else:
        _by_chance(name, corpus, seconds)


def _by_chance(name: str, corpus: Path, seconds: float) -> None:
    target, random = TARGETS[name], Random()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try_one(name, target, corpus, mutated(target, random))


def _by_coverage(name: str, corpus: Path, seconds: float) -> None:
    target = TARGETS[name]
    folder = corpus / name
    folder.mkdir(parents=True, exist_ok=True)
    for content in target.seeds():
        (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)

    def mutate(data: bytes, largest: int, seed: int) -> bytes:
        random = Random(seed)
        damaged = target.damage(data, random) if data and random.randrange(20) else mutated(target, random)
        return damaged[:largest]

    flags = [
        f"-max_total_time={seconds:.0f}",
        f"-max_len={LARGEST}",
        "-timeout=300",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
    ]
    atheris.Setup(
        [sys.argv[0], *flags, f"-artifact_prefix={corpus}/native-", str(folder)],
        lambda data: try_one(name, target, corpus, data),
        custom_mutator=mutate,
    )
    atheris.Fuzz()


def try_one(name: str, target: Target, corpus: Path, content: bytes) -> None:
    (corpus / f"{name}.last").write_bytes(content)
    with tempfile.TemporaryDirectory() as folder:
        if problem := check(target, content, Path(folder)):
            record(name, corpus, content, problem)


def record(name: str, corpus: Path, content: bytes, problem: str) -> None:
    """One finding for each kind of error and place that raised it."""
    places = re.findall(r'File "([^"]*)", line (\d+)', problem)
    ours = [place for place in places if "site-packages" not in place[0]]
    kind = re.sub(r"/\S*|\d+|'[^']*'|\"[^\"]*\"", "", problem.strip().splitlines()[-1])[:80]
    label = hashlib.sha256(repr((kind, ours[-1:], places[-1:])).encode()).hexdigest()[:12]
    findings = corpus / "findings"
    findings.mkdir(parents=True, exist_ok=True)
    if not (findings / f"{name}-{label}.txt").exists():
        (findings / f"{name}-{label}{TARGETS[name].suffix}").write_bytes(content)
        (findings / f"{name}-{label}.txt").write_text(problem, "utf-8")
        print(f"finding {name}-{label}: {problem.strip().splitlines()[-1][:200]}", flush=True)


if __name__ == "__main__":
    main()
