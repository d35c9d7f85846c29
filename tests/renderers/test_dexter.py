"""DExter beyond parity: any score, checkpoint and option."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adapters.dexter import read_checkpoint
from renderers.dexter import sampler, windows
from renderers.dexter.encoding import pedal_until_next
from renderers.dexter.network import Denoiser, DenoiserConfig
from renderers.dexter.performance import decoded, pedal_through_chords
from renderers.dexter.performance_codec import DATASET_MEANS, DATASET_STDS
from renderers.dexter.score_codec import ScoreColumns, beats, score_columns
from score_to_audio import Controls, Performance, TimeSignature
from score_to_audio.errors import InputError
from score_to_audio.formats.midi import performance_to_midi, write_performance
from score_to_audio.registry import build, resolve
from score_to_audio.testing import example_score, renderer_checks, shortest_score
from tests.parity.golden_files import REPOSITORY, fill

SCORE = REPOSITORY / "examples/scores/chopin_prelude_op28_no7.musicxml"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small network in the layout of the published checkpoint."""
    network = Denoiser(DenoiserConfig(channels=16, layers=4))
    fill(network, "test")
    hyper_parameters = {"timesteps": 40, "seg_len": 30, "dilation_base": 2, "dilation_bound": 4}
    path = tmp_path_factory.mktemp("dexter") / "tiny.ckpt"
    torch.save({"state_dict": network.state_dict(), "hyper_parameters": hyper_parameters, "epoch": 1}, path)
    return str(path)


def render(score: Any, checkpoint: str, seed: int = 0, **options: Any) -> Performance:
    model = build(resolve("renderer", "dexter", {"checkpoint": checkpoint, **options}, device="cpu"))
    performance: Performance = model.render(score, seed=seed)
    return performance


@pytest.mark.parametrize("index", range(len(renderer_checks("dexter"))))
def test_conformance(index: int, checkpoint: str) -> None:
    renderer_checks("dexter", {"checkpoint": checkpoint})[index]()


def test_an_average_of_draws_is_between_them(checkpoint: str) -> None:
    """It starts with the draw of the seed and depends on the seed less than one draw."""
    score = example_score()
    single = [render(score, checkpoint, seed).velocity.astype(float) for seed in range(4)]
    averages = [render(score, checkpoint, seed, draws=8).velocity.astype(float) for seed in range(4)]
    assert np.std(averages, axis=0).mean() < 0.7 * np.std(single, axis=0).mean()
    assert (render(score, checkpoint, draws=1).velocity == single[0]).all()


@pytest.mark.parametrize("name", ["dpm-solver++", "ddim", "ddpm"])
def test_every_note_is_played_whatever_the_network_says(name: str, checkpoint: str) -> None:
    from score_to_audio.formats.scores.reader import read_score

    score = read_score(SCORE)
    performance = render(score, checkpoint, sampler=name)
    assert sorted(performance.score_ids or ()) == sorted(score.parsed.notes.id)
    assert (performance.offset > performance.onset).all()


@pytest.mark.parametrize("compatibility", ["none", "official"])
def test_wild_numbers_stay_playable_and_none_are_refused(
    compatibility: str, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = example_score()
    wild = np.random.default_rng(0).choice(np.float32([-1e6, -900, 0, 900, 1e6]), (24, 5))
    monkeypatch.setattr("renderers.dexter.generation.CodecGenerator.generate", lambda *_, **__: wild)
    assert len(render(score, checkpoint, compatibility=compatibility)) == 24
    missing = np.full((24, 5), np.nan, np.float32)
    monkeypatch.setattr("renderers.dexter.generation.CodecGenerator.generate", lambda *_, **__: missing)
    with pytest.raises(InputError, match="not a number"):
        render(score, checkpoint, compatibility=compatibility)


def test_a_seed_is_a_performance(checkpoint: str) -> None:
    first, again, other = (
        performance_to_midi(render(example_score(), checkpoint, seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_short_scores_and_official_behaviour(checkpoint: str) -> None:
    assert len(render(shortest_score(), checkpoint)) == 1
    assert len(render(shortest_score(), checkpoint, compatibility="official")) == 1
    official = render(example_score(), checkpoint, compatibility="official")
    assert len(official.controls) == len(official) == 24


def test_base_tempo_sets_the_mean_tempo(checkpoint: str) -> None:
    def length(tempo: float) -> float:
        return float(render(example_score(), checkpoint, base_tempo=tempo).onset[-1])

    assert length(60) / length(120) == pytest.approx(2, rel=0.05)


def test_transfer_starts_from_the_source(checkpoint: str, tmp_path: Path) -> None:
    written = render(example_score(), checkpoint)
    plain = build(resolve("renderer", "score")).render(example_score(), seed=0)
    write_performance(plain, tmp_path / "source.mid")
    # A small change stays close to the source; a complete one does not.
    near, far = (
        render(example_score(), checkpoint, source=tmp_path / "source.mid", change=change)
        for change in (0.06, 1.0)
    )
    assert len(near) == len(far) == len(written)

    def distance(other: Performance) -> float:
        return float(np.abs(other.velocity - plain.velocity.mean()).mean())

    assert distance(near) < distance(far)


def test_a_foreign_source_is_refused(checkpoint: str, tmp_path: Path) -> None:
    notes = np.arange(30)
    write_performance(
        Performance(notes * 0.5, notes * 0.5 + 0.4, np.full(30, 100), np.full(30, 64)), tmp_path / "other.mid"
    )
    with pytest.raises(InputError, match="give a performance of this score"):
        render(example_score(), checkpoint, source=tmp_path / "other.mid")


# --------------------------------------------------------------------------------------- checkpoints


def save(path: Path, **changes: Any) -> str:
    network = Denoiser(DenoiserConfig(channels=8, layers=2))
    content = {"state_dict": network.state_dict(), "hyper_parameters": {}} | changes
    torch.save(content, path)
    return str(path)


def test_a_checkpoint_says_its_statistics(tmp_path: Path) -> None:
    from adapters.dexter import read_checkpoint

    means, stds = [1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5
    path = save(tmp_path / "a.ckpt", hyper_parameters={"dataset_means": means, "dataset_stds": stds})
    assert read_checkpoint(Path(path))[2].means == tuple(means)
    # Null in the file, as in the authors' later configuration: the sheet's constants.
    path = save(tmp_path / "b.ckpt", hyper_parameters={"dataset_means": None})
    settings = read_checkpoint(Path(path))[2]
    assert (settings.means, settings.stds) == (DATASET_MEANS, DATASET_STDS)


def test_omegaconf_objects_are_data(tmp_path: Path) -> None:
    import omegaconf

    from adapters.dexter import read_checkpoint

    tree = omegaconf.OmegaConf.create({"sampling": {"type": "cfdg_ddpm", "w": 1.2}, "means": [0.0] * 5})
    found = {"sampling": tree.sampling, "dataset_means": tree.means, "seg_len": 50}
    settings = read_checkpoint(Path(save(tmp_path / "a.ckpt", hyper_parameters=found)))[2]
    assert (settings.means, settings.window) == ((0.0,) * 5, 50)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state_dict": {"weight": torch.ones(2)}}, "has no input_projection.weight"),
        ({"hyper_parameters": {"sampling": {"type": "ddpm_x0"}}}, "only 'cfdg_ddpm' is known"),
        ({"hyper_parameters": {"dataset_stds": [0.0] * 5}}, "are not five numbers each"),
    ],
)
def test_other_checkpoints_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = save(tmp_path / "x.ckpt", **changes)
    with pytest.raises(InputError, match=message):
        render(example_score(), path)


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    tensors = Denoiser(DenoiserConfig(channels=8, layers=2)).state_dict()
    del tensors["skip_projection.bias"]
    with pytest.raises(InputError, match=r"lacks skip_projection\.bias \(8,\)"):
        render(example_score(), save(tmp_path / "x.ckpt", state_dict=tensors))


# ------------------------------------------------------------------------------------------ windows


@given(st.integers(1, 300), st.integers(12, 60), st.sampled_from(["average", "crossfade"]))
def test_windows_that_agree_join_without_a_trace(notes: int, length: int, how: windows.Joining) -> None:
    codec = np.random.default_rng(notes).standard_normal((notes, 4)).astype(np.float32)
    cut = windows.cut(codec, length, 10)
    joined = windows.join(cut, notes, 10, how)
    assert joined.shape == codec.shape
    np.testing.assert_allclose(joined, codec, atol=1e-6)


@given(st.integers(2, 200))
def test_a_constant_column_is_zero_and_others_fill_the_range(length: int) -> None:
    cut = torch.arange(float(length))[None, :, None].expand(1, length, 4).clone()
    cut[:, :, 3] = 7
    normalised = windows.normalised_condition(cut)
    assert not normalised[:, :, 3].any()
    assert (normalised[:, :, 0].min(), normalised[:, :, 0].max()) == (0, 1)


def test_crossfade_moves_from_one_window_to_the_next() -> None:
    pair = torch.stack([torch.zeros(20, 1), torch.ones(20, 1)])
    joined = windows.join(pair, 30, 10, "crossfade")[:, 0]
    assert (np.diff(joined) >= 0).all()
    assert np.abs(np.diff(joined)).max() < 0.1


# ------------------------------------------------------------------------------------------ samplers


def test_noise_of_a_window_does_not_depend_on_its_neighbours() -> None:
    alone = sampler.window_noise(5, 3, (4, 5), 2)
    assert torch.equal(alone, sampler.window_noise(5, 3, (4, 5), 2))
    assert not torch.equal(alone, sampler.window_noise(5, 4, (4, 5), 2))


@pytest.mark.parametrize(("solver", "accuracy"), [(sampler.ddim, 0.07), (sampler.dpm_solver, 0.03)])
def test_few_step_samplers_find_gaussian_data(solver: Any, accuracy: float) -> None:
    """Where the data are N(m, s^2) the best prediction is known, and the sampled data must be N(m, s^2)."""
    mean, deviation = 1.5, 0.3
    s = sampler.schedule()

    def predict(x: torch.Tensor, step: int) -> torch.Tensor:
        signal, noise = s.sqrt_alphas_cumprod[step], s.sqrt_one_minus_alphas_cumprod[step]
        return noise * (x - signal * mean) / (signal**2 * deviation**2 + noise**2)

    x = torch.randn((20_000, 1), generator=torch.Generator().manual_seed(1))
    *_, data = solver(x, predict, s, sampler.few_steps(s, 30))
    assert float(data.mean()) == pytest.approx(mean, abs=0.02)
    assert float(data.std()) == pytest.approx(deviation, rel=accuracy)


@given(st.integers(2, 500))
def test_few_steps_run_from_noise_to_data(count: int) -> None:
    steps = sampler.few_steps(sampler.schedule(), count)
    assert steps[0] == 998
    assert steps[-1] == 0
    assert all(a > b for a, b in pairwise(steps))
    assert min(count, 200) * 0.8 <= len(steps) <= count


# ---------------------------------------------------------------------------------------- the score


def test_beats_follow_the_time_signatures() -> None:
    signatures = (TimeSignature(0, 4, 4), TimeSignature(4, 6, 8), TimeSignature(7, 2, 2))
    quarters = np.array([0.0, 4.0, 5.5, 7.0, 9.0])
    np.testing.assert_allclose(beats(quarters, signatures), [0, 4, 7, 10, 11])


def test_score_columns_are_sorted_by_onset_and_pitch() -> None:
    columns = score_columns(example_score().parsed)
    keys = list(zip(columns.onset_beat, columns.codec[:, 2], strict=True))
    assert keys == sorted(keys)
    assert set(columns.ids) == set(example_score().parsed.notes.id)


# ------------------------------------------------------------------------------------------ codec "own"


def test_the_pedal_is_its_mean_until_the_next_onset() -> None:
    """Down for the second half of the first chord, and from there on."""
    controls = Controls(np.array([0.5]), np.array([64]), np.array([127]))
    onset_beat = np.array([0, 0, 1], np.float32)
    mean = pedal_until_next(controls, onset_beat, np.array([0.0, 0.1, 1.0]))
    np.testing.assert_allclose(mean, [0.5, 0.5, 1.0])
    assert not pedal_until_next(Controls.none(), onset_beat, np.zeros(3)).any()


def test_a_mean_pedal_is_lifted_first_and_then_pressed() -> None:
    columns = ScoreColumns(
        codec=np.array([[0, 1, 60, 1], [1, 1, 62, 1], [2, 1, 64, 1], [3, 1, 65, 1]], np.float32),
        onset_beat=np.arange(4, dtype=np.float32),
        duration_beat=np.ones(4, np.float32),
        ids=("a", "b", "c", "d"),
    )
    codec = np.array([[1.0, 0.5, 0, 0, pedal] for pedal in (0.25, 1.0, 0.5, 0.0)], np.float32)
    controls = pedal_through_chords(codec, decoded(codec, columns), columns)
    assert list(zip(controls.time.tolist(), controls.value.tolist(), strict=True)) == [
        (0.75, 127),
        (2.0, 0),
        (2.5, 127),
        (3.0, 0),
    ]


def test_v_and_the_noise_say_the_same() -> None:
    """The exact v gives the exact noise, at every step."""
    steps = sampler.schedule(100)
    data, noise = (
        torch.full((1, 3, 5), 0.7),
        torch.randn((1, 3, 5), generator=torch.Generator().manual_seed(0)),
    )
    for step in (0, 50, 99):
        signal, spread = steps.sqrt_alphas_cumprod[step], steps.sqrt_one_minus_alphas_cumprod[step]
        x, v = signal * data + spread * noise, signal * noise - spread * data
        torch.testing.assert_close(sampler.noise_of(v, x, signal, spread, "v"), noise)
        assert sampler.noise_of(v, x, signal, spread, "epsilon") is v


def test_an_unknown_prediction_is_refused(checkpoint: str, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["training"] = {"mode": "x_0"}
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="predicts 'x_0'"):
        read_checkpoint(tmp_path / "other.ckpt")
