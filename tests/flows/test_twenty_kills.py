"""Batches by two workers while the driver, the workers and the server are killed at random moments."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest

from score_to_audio.manifest import read_manifest
from tests.flows.batch_site import DEPLOYMENT, PAUSE, WORKERS, Site, prepared

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.kills]

SCORES, KILLS = 60, 20


def test_results_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    moments = random.Random(20)
    victims = ["driver", *WORKERS, "server"] * (KILLS // 4)
    moments.shuffle(victims)
    with prepared(tmp_path, SCORES) as site:
        site.finish()
        expected = site.results()
        assert len(expected) == 2 * SCORES
        for worker in WORKERS:
            site.start_worker(worker)
        while victims:
            site.clear()
            kill_until_done(site, victims, moments, expected)
            assert site.results() == expected
            entries = read_manifest(site.root / "out")
            assert [entry["error"] for entry in entries] == [None] * SCORES
            assert site.leftovers() == []


def kill_until_done(
    site: Site, victims: list[str], moments: random.Random, expected: dict[str, bytes]
) -> None:
    """A batch to its end, started again whenever it was killed or found no server; takes victims while there
    are any."""
    kills = 0
    driver = site.start_driver(*DEPLOYMENT)
    while victims:
        site.wait_for_stages(site.stages_done() + moments.randrange(1, 20), driver)
        if driver.poll() is not None:
            break
        time.sleep(moments.uniform(0, PAUSE))
        victim = victims.pop()
        site.kill(victim)
        kills += 1
        for name, content in site.results().items():
            assert content == expected[name], f"{name} is visible but not whole"
        if victim == "driver":
            driver = site.start_driver(*DEPLOYMENT)
    while site.wait(driver):
        said = (site.root / "driver.log").read_text()[-3000:]
        assert re.search(
            "the Prefect server (.* does not answer|cannot do its work)", said.splitlines()[-1]
        ), said
        driver = site.start_driver(*DEPLOYMENT)
    # two are under way at a kill, and a shard whose driver died may go on beside its successor
    assert site.stages_done() <= 2 * SCORES + 2 * kills
