"""Kills the driver, a worker or the server of a batch at random moments, again and again, and compares.

    python -m benchmarks.kill_rounds [--rounds 20] [--seed 9] [--scores 30]

Each round starts with an empty store and an empty output folder, kills one of them (-9, with its children) a
random time after a random number of stages is done, starts again what was killed, runs the batch to its end
and compares every result with those of an undisturbed run, bit by bit. Exits with 1 at the first difference.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from score_to_audio.manifest import read_manifest
from tests.flows.batch_site import DEPLOYMENT, PATIENCE, PAUSE, WORKERS, Site, prepared


def disturbed(site: Site, victim: str, stages: int, moment: float, *deployment: str) -> str:
    """Start a batch, kill the victim ``moment`` seconds after so many stages are done; what became of the
    driver."""
    driver = site.start_driver(*deployment)
    site.wait_for_stages(stages, driver)
    time.sleep(moment)
    over = driver.poll() is not None
    site.kill(victim)
    if over:
        return "was over"
    if victim == "driver":
        return "was killed"
    return f"went on and ended with {driver.wait(PATIENCE)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--scores", type=int, default=30)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        prepared(Path(folder), arguments.scores) as site,
    ):
        site.finish()
        expected = site.results()
        assert len(expected) == 2 * arguments.scores
        for worker in WORKERS:
            site.start_worker(worker)
        moments = random.Random(arguments.seed)
        for number in range(arguments.rounds):
            if not is_undamaged_after(number, site, expected, moments):
                raise SystemExit(1)


def is_undamaged_after(number: int, site: Site, expected: dict[str, bytes], moments: random.Random) -> bool:
    """One round; half of them in the driver's own process, half by the two workers."""
    here = number % 2 == 0
    deployment = () if here else DEPLOYMENT
    victims = ("driver", "server") if here else ("driver", *WORKERS, "server")
    victim = victims[number // 2 % len(victims)]
    stages, moment = moments.randrange(1, len(expected) - 4), moments.uniform(0, PAUSE)
    site.clear()
    became = disturbed(site, victim, stages, moment, *deployment)
    files, made = len(site.results()), site.stages_done()
    site.finish(*deployment)
    same = site.results() == expected
    recorded, left = len(read_manifest(site.root / "out")), len(site.leftovers())
    print(
        f"{number + 1:>3}. {'one process' if here else 'two workers'}: {victim} killed after "
        f"{stages} stages; driver {became}, with {files} files and {made} stages made; now "
        f"{'all equal' if same else 'DIFFERENT'}, {recorded} recorded, {left} leftovers, "
        f"{site.stages_done() - len(expected)} stages made twice",
        flush=True,
    )
    return same and recorded == len(expected) // 2 and not left


if __name__ == "__main__":
    main()
