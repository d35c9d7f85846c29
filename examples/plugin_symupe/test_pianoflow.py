"""The conformance suite, with a stub in the place of the weights; the calls, where symupe is installed."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pianoflow
import pytest

from score_to_audio import InputError, Performance
from score_to_audio.formats.midi import performance_from_midi, performance_to_midi, read_performance
from score_to_audio.testing import example_score, renderer_checks


class StubGenerator:
    """Plays the file's notes, each a little late, with noise from the global generator."""

    def perform_score(self, score: Path, **options: Any) -> list[Any]:
        np.random.seed(options["seed"])  # noqa: NPY002
        played = read_performance(score)
        late = np.sort(np.random.uniform(0, 0.01, len(played)))  # noqa: NPY002
        performance = Performance(played.onset + late, played.offset + late, played.pitch, played.velocity)
        midi = SimpleNamespace(dumps_midi=lambda: performance_to_midi(performance))
        return [SimpleNamespace(perf_midi=midi)]


needs_symupe = pytest.mark.skipif(find_spec("symupe") is None, reason="symupe is not installed")


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pianoflow, "load_generator", lambda *_, **__: StubGenerator())


@pytest.mark.parametrize("check", renderer_checks("pianoflow"), ids=lambda check: check.__name__)
@pytest.mark.usefixtures("stub")
def test_conformance(check):
    check()


@pytest.mark.usefixtures("stub")
def test_every_note_has_its_id():
    score = example_score()
    performance = pianoflow.PianoFlow(pianoflow.PianoFlowParameters(), checkpoints={}, device="cpu").render(
        score, seed=0
    )
    written = dict(zip(score.parsed.notes.id, score.parsed.notes.pitch.tolist(), strict=True))
    assert sorted(performance.score_ids) == sorted(written)
    assert [written[name] for name in performance.score_ids] == performance.pitch.tolist()


def test_the_score_keeps_its_times_and_tempo():
    score = example_score()
    content, ids = pianoflow.score_midi(score)
    played = performance_from_midi(content, name="score")
    assert sum(map(len, ids.values())) == len(score.parsed.notes)
    np.testing.assert_allclose(played.onset, score.parsed.notes.onset * 60 / 96, atol=1e-3)


@needs_symupe
def test_the_package_has_this_interface(tmp_path):
    symupe = pianoflow.import_symupe()
    from symupe.inference.performance import PerformanceRenderingResult

    inspect.signature(symupe.AutoGenerator.from_pretrained).bind("model", device="cpu")
    perform = inspect.signature(symupe.PerformanceGenerator.perform_score)
    perform.bind(None, Path("score.mid"), num_samples=1, cfm_steps=10, seed=0, show_progress=False)
    assert "perf_midi" in inspect.signature(PerformanceRenderingResult).parameters

    import symusic

    path = tmp_path / "score.mid"
    path.write_bytes(pianoflow.score_midi(example_score())[0])
    read = symusic.Score(str(path))
    assert [len(track.notes) for track in read.tracks] == [24]
    assert len(performance_from_midi(read.dumps_midi(), name="score")) == 24


@needs_symupe
def test_missing_weights_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"^PianoFlow cannot be loaded from .*renderer\.model"):
        pianoflow.load_generator(str(tmp_path), "cpu")
