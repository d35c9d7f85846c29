"""Kills the driver, a worker or the server of a batch at random moments, again and again, and compares.

    python -m benchmarks.kill_rounds [--rounds 20] [--seed 9] [--scores 30]

Each round starts with an empty store and an empty output folder, kills one of the three (-9, with its
children) after a random time, starts again what was killed, runs the batch to its end and compares every
result with those of an undisturbed run, bit by bit. Exits with 1 at the first difference.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from score_to_audio.manifest import read_manifest
from tests.flows.conftest import free_port, kill_with_children
from tests.trial.trial_kit import install_trial_plugins, write_scores

PROJECT = Path(__file__).parents[1]
DRIVER = """
import sys
from flows import shards
shards.LOST_AFTER = 3 * shards.BEAT
from score_to_audio.cli import main
main()
"""
"""The command line, less patient than usual with processes that show no sign of life."""
PATIENCE = 280
"""Seconds after which a batch counts as hanging."""


@dataclass
class Site:
    """A folder with a server, two workers, scores, a store and results."""

    root: Path
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.root / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command],
                cwd=PROJECT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.processes[name]

    def start_server(self) -> None:
        port = self.environment["PREFECT_API_URL"].split(":")[2].split("/")[0]
        self.start("server", "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port)
        while self.prefect("work-pool", "ls"):
            time.sleep(0.5)

    def start_worker(self, name: str) -> None:
        self.start(name, "-m", "prefect", "worker", "start", "--pool", "local", "--limit", "1")

    def prefect(self, *arguments: str) -> int:
        command = [sys.executable, "-m", "prefect", *arguments]
        return subprocess.run(
            command, cwd=PROJECT, env=self.environment, capture_output=True, check=False
        ).returncode

    def start_driver(self, *more: str) -> subprocess.Popen[bytes]:
        options = ("-r", "trial", "-s", "trial", "--set", "renderer.pause=0.1", "--shard", "10")
        return self.start(
            "driver",
            *("-c", DRIVER, "batch", str(self.root / "scores"), "-o", str(self.root / "out")),
            *options,
            *more,
        )

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        kill_with_children(process.pid)
        process.wait()

    def clear(self) -> None:
        for folder in ("store", "out"):
            shutil.rmtree(self.root / folder, ignore_errors=True)

    def results(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.root / "out").glob("score-*")}


def prepared(root: Path, scores: int) -> Site:
    write_scores(root / "scores", scores)
    environment = os.environ | {
        "PYTHONPATH": str(install_trial_plugins(root / "plugins")),
        "SCORE_TO_AUDIO_STORE": str(root / "store"),
        "PREFECT_HOME": str(root / "home"),
        "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "DO_NOT_TRACK": "1",
    }
    site = Site(root, environment)
    site.start_server()
    for arguments in (
        ("work-pool", "create", "local", "--type", "process"),
        ("--no-prompt", "deploy", "--name", "batch-shard"),
    ):
        if site.prefect(*arguments):
            raise SystemExit(f"prefect {' '.join(arguments)} failed")
    return site


def finished(site: Site, *deployment: str) -> None:
    code = site.start_driver(*deployment).wait(PATIENCE)
    if code:
        raise SystemExit(f"the batch ended with {code}; see {site.root}/driver.log")


def disturbed(site: Site, victim: str, moment: float, *deployment: str) -> str:
    """Start a batch, kill the victim after ``moment`` seconds; what became of the driver."""
    driver = site.start_driver(*deployment)
    time.sleep(moment)
    over = driver.poll() is not None
    site.kill(victim)
    if victim == "server":
        site.start_server()
    elif victim != "driver":
        site.start_worker(victim)
    if over:
        return "was over"
    if victim == "driver":
        return "killed"
    return f"went on and ended with {driver.wait(PATIENCE)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--scores", type=int, default=30)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        site = prepared(Path(folder), arguments.scores)
        try:
            finished(site)
            expected = site.results()
            assert len(expected) == 2 * arguments.scores
            for worker in ("worker-1", "worker-2"):
                site.start_worker(worker)
            for number in range(arguments.rounds):
                site.clear()
                # half the rounds in the driver's own process, half by the two workers
                here = number % 2 == 0
                deployment = () if here else ("--deployment", "batch-shard/batch-shard")
                victim = moments.choice(("driver", "server") if here else ("driver", "worker-1", "server"))
                moment = moments.uniform(*((2.5, 8.0) if here else (4.0, 20.0)))
                became = disturbed(site, victim, moment, *deployment)
                done = len(site.results()) if (site.root / "out").is_dir() else 0
                finished(site, *deployment)
                same = site.results() == expected
                recorded = len(read_manifest(site.root / "out"))
                left = len(list((site.root / "out").glob(".score-to-audio-*")))
                print(
                    f"{number + 1:>3}. {'one process' if here else 'two workers'}: {victim} killed after "
                    f"{moment:.1f} s, {done} files there when it was over (driver {became}); then "
                    f"{'all equal' if same else 'DIFFERENT'}, {recorded} recorded, {left} leftovers",
                    flush=True,
                )
                if not same or recorded != arguments.scores or left:
                    raise SystemExit(1)
        finally:
            for name in list(site.processes):
                site.kill(name)


if __name__ == "__main__":
    main()
