"""Jobs in processes of their own: models that raise, hang, eat memory or die, and what becomes of others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from score_to_audio import jobs, registry, workers
from score_to_audio.errors import InputError, StageError
from score_to_audio.stages import Pipeline, prepare_pipeline
from score_to_audio.store import Store
from score_to_audio.workers import Isolation
from tests.trial.trial_kit import install_trial_plugins, write_scores

pytestmark = pytest.mark.slow

TROUBLE = "score-001=hang,score-002=eat,score-003=die,score-004=raise"
LIMITS = Isolation(processes=1, deadline=2.0, memory=4_000_000_000)


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    monkeypatch.syspath_prepend(str(install_trial_plugins(tmp_path / "plugins")))
    registry.entries.cache_clear()
    monkeypatch.setattr(registry, "_built", {})
    trial = {"log": str(tmp_path / "log"), "trouble": TROUBLE}
    yield prepare_pipeline(renderer="trial", synthesizer="trial", renderer_options=trial)
    registry.entries.cache_clear()


def test_one_bad_score_stops_nothing_and_leaves_no_trace(tmp_path: Path, pipeline: Pipeline) -> None:
    plan = jobs.plan([write_scores(tmp_path / "scores", 6)])
    (tmp_path / "scores" / "score-005.musicxml").write_text("<score-partwise>")
    store, errors = Store(tmp_path / "store"), {}
    for job in plan:
        try:
            outcome = workers.run(job, pipeline, store, tmp_path / "out", LIMITS)
            assert outcome == jobs.find(job, pipeline, store, tmp_path / "out") or not outcome.cached
        except (StageError, InputError) as error:
            errors[job.name] = error
    scores = tmp_path / "scores"
    assert {name: str(error) for name, error in errors.items() if name != "score-005"} == {
        "score-001": f"{scores}/score-001.musicxml: not done within the deadline of 2 s",
        "score-002": f"{scores}/score-002.musicxml: needs more than the memory limit of 4000 MB",
        "score-003": f"{scores}/score-003.musicxml: the process that worked on it was killed (SIGSEGV)",
        "score-004": f"trial failed on {scores}/score-004.musicxml (KeyError: 'a defect')",
    }
    assert isinstance(errors["score-005"], InputError)
    assert isinstance(errors["score-004"].__cause__, KeyError)
    assert not list((tmp_path / "out").glob(".score-to-audio-*"))
    alone = jobs.run(plan[0], pipeline, Store(tmp_path / "other"), tmp_path / "alone")
    for file in alone.files:
        assert file.read_bytes() == (tmp_path / "out" / file.name).read_bytes()
    # two processes died of a score, so the models were loaded three times, each time for both stages
    assert (tmp_path / "log").read_text().splitlines().count("loaded") == 3 + 1


PARENT = """
import sys
from pathlib import Path
from score_to_audio import jobs, workers
from score_to_audio.stages import prepare_pipeline
from score_to_audio.store import Store

if __name__ == "__main__":
    root = Path(sys.argv[1])
    trial = {"log": str(root / "log"), "trouble": "score-000=hang"}
    pipeline = prepare_pipeline(renderer="trial", synthesizer="trial", renderer_options=trial)
    job = jobs.plan([root / "scores"])[0]
    child = workers._children(workers.Isolation())
    one = child.get()
    one._connected()
    print(one.process.pid, flush=True)
    child.put(one)
    workers.run(job, pipeline, Store(root / "store"), root / "out", workers.Isolation())
"""


def test_a_child_that_hangs_dies_with_its_parent(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores", 1)
    plugins = install_trial_plugins(tmp_path / "plugins")
    (tmp_path / "parent.py").write_text(PARENT)
    path = os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH")]))
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert parent.stdout
    child = int(parent.stdout.readline())
    deadline = time.monotonic() + 60
    while not list((tmp_path / "store").rglob(".lock")):  # the job is under way
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while _is_alive(child):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, signal.SIGCONT)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
