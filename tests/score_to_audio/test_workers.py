"""Jobs in worker processes: models that raise, hang, exhaust memory or die, and the jobs beside them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from score_to_audio import jobs, registry
from score_to_audio.settings import ExecutionSettings, Pipeline, PipelineSettings
from score_to_audio.store import Store
from score_to_audio.workers import run_jobs
from tests.trial.trial_kit import install_trial_plugins, write_scores

pytestmark = pytest.mark.slow

TROUBLE = "score-001=hang,score-002=eat,score-003=die,score-004=raise"


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    monkeypatch.syspath_prepend(str(install_trial_plugins(tmp_path / "plugins")))
    registry.entries.cache_clear()
    monkeypatch.setattr(registry, "_built", {})
    trial = {"log": str(tmp_path / "log"), "trouble": TROUBLE}
    yield PipelineSettings(renderer="trial", synthesizer="trial", renderer_options=trial).resolve()
    registry.entries.cache_clear()


def test_one_bad_score_stops_nothing_and_leaves_no_trace(tmp_path: Path, pipeline: Pipeline) -> None:
    scores = write_scores(tmp_path / "scores", 6)
    plan = jobs.plan([scores])
    (scores / "score-005.musicxml").write_text("<score-partwise>")
    store = Store(tmp_path / "store")
    limits = ExecutionSettings(deadline=2.0, memory_limit=4_000_000_000)
    outcomes = {one.job.name: one for one in run_jobs(plan, pipeline, store, tmp_path / "out", limits)}
    assert {name: one.error for name, one in outcomes.items() if name != "score-005"} == {
        "score-000": None,
        "score-001": f"{scores}/score-001.musicxml: not done within the deadline of 2 s",
        "score-002": f"{scores}/score-002.musicxml: needs more than the memory limit of 4000 MB",
        "score-003": f"{scores}/score-003.musicxml: the process that worked on it was killed (SIGSEGV)",
        "score-004": f"trial failed on {scores}/score-004.musicxml (KeyError: 'a defect')",
    }
    assert [outcomes[name].exit_code for name in sorted(outcomes)] == [0, 1, 1, 1, 1, 2]
    assert not list((tmp_path / "out").glob(".score-to-audio-*"))
    alone = jobs.run(plan[0], pipeline, Store(tmp_path / "other"), tmp_path / "alone")
    for file in alone.files:
        assert file.read_bytes() == (tmp_path / "out" / file.name).read_bytes()
    # two processes died of a score, so the models were loaded three times, each time for both stages
    assert (tmp_path / "log").read_text().splitlines().count("loaded") == 3 + 1


def test_processes_give_the_same_bytes_and_the_store_answers_without_them(
    tmp_path: Path, pipeline: Pipeline
) -> None:
    plan = jobs.plan([write_scores(tmp_path / "scores", 1)])
    plan += [jobs.Job(score, f"copy-{n}") for n, score in enumerate([plan[0].score] * 5)]
    store, output = Store(tmp_path / "store"), tmp_path / "out"
    two = ExecutionSettings(processes=2)
    first = list(run_jobs(plan, pipeline, store, output, two))
    assert len(first) == 6
    assert not any(one.error for one in first)
    assert len({one.files[1].read_bytes() for one in first}) == 1
    done = (tmp_path / "log").read_text()
    assert all(one.cached for one in run_jobs(plan, pipeline, store, output, two))
    assert (tmp_path / "log").read_text() == done


PARENT = """
import sys
from pathlib import Path
from score_to_audio import jobs
from score_to_audio.settings import ExecutionSettings, PipelineSettings
from score_to_audio.store import Store
from score_to_audio.workers import run_jobs

if __name__ == "__main__":
    root = Path(sys.argv[1])
    trial = {"log": str(root / "log"), "trouble": "score-000=hang"}
    pipeline = PipelineSettings(renderer="trial", synthesizer="trial", renderer_options=trial).resolve()
    plan = jobs.plan([root / "scores"])
    list(run_jobs(plan, pipeline, Store(root / "store"), root / "out", ExecutionSettings(processes=1)))
"""


def test_a_worker_that_hangs_dies_with_its_parent(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores", 1)
    plugins = install_trial_plugins(tmp_path / "plugins")
    (tmp_path / "parent.py").write_text(PARENT)
    path = os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)]
    parent = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path})
    deadline = time.monotonic() + 60
    while not list((tmp_path / "store").rglob(".lock")):  # the job runs
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = Path(f"/proc/{parent.pid}/task").glob("*/children")
    workers = [int(child) for tasks in children for child in tasks.read_text().split()]
    assert workers
    parent.kill()
    parent.wait()
    while any(map(_is_alive, workers)):
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.05)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, signal.SIGCONT)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
