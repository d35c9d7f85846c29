"""How a list uses the machine: the number of processes, and rendering while another score is synthesized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from score_to_audio import (
    Checkpoint,
    Parameters,
    Performance,
    Prompt,
    Score,
    Spec,
    Waveform,
    jobs,
    registry,
    workers,
)
from score_to_audio.errors import InputError
from score_to_audio.parameters import validated
from score_to_audio.settings import ExecutionSettings, Pipeline, PipelineSettings
from score_to_audio.store import Store
from score_to_audio.testing import example_performance
from score_to_audio.workers import process_count, run_jobs
from tests.trial.trial_kit import write_scores

PATIENCE = 60
GIGABYTE = 1_000_000_000


def pipeline(needs: tuple[int | None, int | None], devices: tuple[str, str] = ("cpu", "cpu")) -> Pipeline:
    """Of models that take so many MB of memory in a process."""
    whole = PipelineSettings(renderer="score").resolve()
    renderer, synthesizer = (
        replace(plugin, spec=replace(plugin.spec, process_memory=need), device=device)
        for plugin, need, device in zip((whole.renderer, whole.synthesizer), needs, devices, strict=True)
    )
    return replace(whole, renderer=renderer, synthesizer=synthesizer)


@pytest.mark.parametrize(
    ("needs", "devices", "scores", "memory", "wanted"),
    [
        ((300, 200), ("cpu", "cpu"), 10, 100, 8),
        ((300, 200), ("cpu", "cpu"), 3, 100, 3),
        ((300, 200), ("cpu", "cpu"), 1, 100, 0),  # one score alone stays in this process
        ((300, 200), ("cpu", "cpu"), 10, 2, 3),  # 80 % of the memory, 0.5 GB each
        ((300, 200), ("cpu", "cpu"), 10, 0.7, 0),
        ((300, None), ("cpu", "cpu"), 10, 100, 0),  # a model that uses all cores
        ((300, 200), ("cpu", "cuda"), 10, 100, 0),
    ],
)
def test_processes_are_chosen_by_models_scores_cores_and_memory(
    needs: tuple[int | None, int | None],
    devices: tuple[str, str],
    scores: int,
    memory: float,
    wanted: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 8)
    monkeypatch.setattr(workers, "available_memory", lambda: int(memory * GIGABYTE))
    models = pipeline(needs, devices)
    assert process_count(ExecutionSettings(), models, scores) == wanted
    assert process_count(ExecutionSettings(deadline=5), models, scores) == max(wanted, 1)
    assert process_count(ExecutionSettings(processes=2), models, scores) == 2
    assert process_count(ExecutionSettings(processes=0), models, scores) == 0


def test_a_number_of_processes_may_be_text() -> None:
    assert validated(ExecutionSettings, {"processes": "3"}).processes == 3
    assert validated(ExecutionSettings, {"processes": "auto"}).processes == "auto"
    for wrong in ("-1", "257", "many"):
        with pytest.raises(InputError, match="processes"):
            validated(ExecutionSettings, {"processes": wrong})


@pytest.mark.slow
def test_a_list_gives_the_same_bytes_in_processes_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 2)
    plan = jobs.plan([write_scores(tmp_path / "scores", 2)])
    models = PipelineSettings(renderer="score", loudness="none").resolve()
    settings = {"auto": ExecutionSettings(), "here": ExecutionSettings(processes=0)}
    for name, execution in settings.items():
        outcomes = list(run_jobs(plan, models, Store(tmp_path / "store" / name), tmp_path / name, execution))
        assert not any(one.error for one in outcomes)
    assert process_count(settings["auto"], models, len(plan)) == 2
    for job in plan:
        for suffix in ("mid", "wav"):
            auto, here = (tmp_path / name / f"{job.name}.{suffix}" for name in settings)
            assert auto.read_bytes() == here.read_bytes()


rendered: dict[str, Event] = {}


class Renders:
    """Says what it has rendered."""

    spec = Spec(name="renders", version="1", summary="", parameters=Parameters)

    def __init__(
        self, parameters: Parameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None: ...

    def render(self, score: Score, *, seed: int) -> Performance:
        rendered[score.path.stem].set()
        return replace(example_performance(), score_ids=None)


class Waits:
    """Synthesizes the first score only when the second one is rendered."""

    spec = Spec(name="waits", version="1", summary="", parameters=Parameters)

    def __init__(
        self, parameters: Parameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None: ...

    def synthesize(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> Waveform:
        assert rendered["score-001"].wait(PATIENCE)
        return Waveform(np.full((1, 3200), 0.5, np.float32), 32000)


def test_the_next_score_is_rendered_while_another_device_synthesizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = jobs.plan([write_scores(tmp_path / "scores", 3)])
    rendered.update({job.name: Event() for job in plan})
    monkeypatch.setattr(registry, "plugin", lambda kind, _name: Renders if kind == "renderer" else Waits)
    monkeypatch.setattr(registry, "_built", {})
    models = PipelineSettings(renderer="renders", synthesizer="waits").resolve()
    models = replace(models, synthesizer=replace(models.synthesizer, device="cuda"))
    store = Store(tmp_path / "store")
    outcomes = list(run_jobs(plan, models, store, tmp_path / "out", ExecutionSettings()))
    assert [one.error for one in outcomes] == [None, None, None]
