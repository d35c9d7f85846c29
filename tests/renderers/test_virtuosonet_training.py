"""Training VirtuosoNet, without files: recurrences, batches, passes and losses."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from renderers.virtuosonet import features as columns
from renderers.virtuosonet.features import (
    OUTPUT_KEYS,
    UNNORMALISED_COPIES,
    WIDTHS,
    NoteFeatures,
    pitch_vectors,
)
from renderers.virtuosonet.generation import PerformanceGenerator
from renderers.virtuosonet.network import GroupIndices, NetworkSizes, VirtuosoNetwork
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.recurrence import torch_gru
from renderers.virtuosonet.training import forward
from renderers.virtuosonet.training.batches import (
    Batch,
    Slice,
    TrainingPiece,
    batch,
    grouped,
    piece_of,
    slices,
)
from renderers.virtuosonet.training.examples import (
    TrainingExample,
    from_arrays,
    mean_performance,
    measure_means,
    plausible,
    to_arrays,
)
from renderers.virtuosonet.training.layout import input_width, new_statistics, statistics_section
from renderers.virtuosonet.training.losses import loss
from renderers.virtuosonet.training.scan import run_gru

SIZES = {"note": 8, "voice": 6, "beat": 10, "measure": 6, "encoder": 9, "final": 12, "performance": 7}


def example(*, notes: int = 60, performances: int = 2, seed: int = 0) -> TrainingExample:
    """An invented example: two notes per beat, four beats per measure, two voices."""
    random = np.random.default_rng(seed)
    values = {key: random.normal(size=(notes, width)) for key, width in WIDTHS.items()}
    pitch = random.integers(40, 90, notes)
    values["midi_pitch"] = pitch[:, None].astype(np.float64)
    values["pitch"] = pitch_vectors(pitch)
    played = random.normal(size=(performances, notes, len(OUTPUT_KEYS))).astype(np.float32)
    return TrainingExample(
        name="invented",
        features=NoteFeatures(values),
        beat=np.arange(notes) // 2,
        measure=np.arange(notes) // 8,
        voice=1 + np.arange(notes) % 2,
        performances=played,
        known=random.random((performances, notes)) < 0.9,
    )


@pytest.fixture(scope="module")
def examples() -> list[TrainingExample]:
    return [example(notes=60, seed=0), example(notes=44, seed=1)]


@pytest.fixture(scope="module")
def statistics(examples: list[TrainingExample]) -> Statistics:
    return new_statistics(examples)


@pytest.fixture(scope="module")
def pieces(examples: list[TrainingExample], statistics: Statistics) -> list[TrainingPiece]:
    return [piece_of(one, statistics) for one in examples]


@pytest.fixture(scope="module")
def network(statistics: Statistics) -> VirtuosoNetwork:
    torch.manual_seed(0)
    return VirtuosoNetwork(NetworkSizes(inputs=input_width(statistics), style=5, heads=2, **SIZES))


def whole(pieces: list[TrainingPiece], statistics: Statistics) -> Batch:
    chosen = [Slice(index, 0, len(one.beat), -1, 0, False) for index, one in enumerate(pieces)]
    return batch(pieces, chosen, statistics)


# ----------------------------------------------------------------------------------------- recurrences


@pytest.mark.parametrize(("layers", "bidirectional"), [(2, True), (1, True), (1, False)])
def test_the_recurrence_is_pytorchs_with_its_gradients(layers: int, bidirectional: bool) -> None:
    torch.manual_seed(1)
    gru = nn.GRU(7, 5, layers, batch_first=True, bidirectional=bidirectional)
    rows = torch.randn(20, 7, requires_grad=True)
    shuffled = torch.randperm(20)
    sequences = [shuffled[:3], shuffled[3:14], shuffled[14:]]
    weights = torch.randn(20, 5 * (1 + bidirectional))

    def plain() -> torch.Tensor:
        if bidirectional:
            return torch_gru(gru, rows, sequences)
        parts = [gru(rows[one].unsqueeze(0))[0].squeeze(0) for one in sequences]
        return torch.zeros(20, 5).index_copy(0, shuffled, torch.cat(parts))

    results = []
    for made in (run_gru(gru, rows, sequences), plain()):
        wanted = [rows, *gru.parameters()]
        results.append([made, *torch.autograd.grad((made * weights).sum(), wanted)])
    for own, theirs in zip(*results, strict=True):
        torch.testing.assert_close(own, theirs, atol=2e-6, rtol=1e-5)


# --------------------------------------------------------------------------------------------- batches


def test_passes_converge_to_what_is_generated(
    network: VirtuosoNetwork, pieces: list[TrainingPiece], statistics: Statistics
) -> None:
    side_by_side = whole(pieces, statistics)
    z = torch.randn(2, 5, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        score = forward.encode(network, side_by_side)
        made = forward.feedback_of_target(side_by_side)
        for _ in range(12):
            made = forward.decode(network, score, side_by_side, z, made)
        generate = PerformanceGenerator(network.performance_decoder)
        notes, measures = (
            made.notes.split(side_by_side.note_counts),
            made.measures.split(side_by_side.measure_counts),
        )
        for index, piece in enumerate(pieces):
            alone = network.encode(torch.from_numpy(piece.inputs), groups(piece))
            generated = generate(alone, torch.from_numpy(piece.residuals), z[index])
            np.testing.assert_allclose(notes[index].numpy(), generated.notes, atol=2e-6)
            np.testing.assert_allclose(measures[index].numpy(), generated.measures, atol=2e-6)


def test_styles_are_those_of_the_pieces_alone(
    network: VirtuosoNetwork, pieces: list[TrainingPiece], statistics: Statistics
) -> None:
    side_by_side = whole(pieces, statistics)
    with torch.no_grad():
        style = forward.style(
            network.performance_encoder, forward.encode(network, side_by_side), side_by_side
        )
        for index, piece in enumerate(pieces):
            alone = network.encode(torch.from_numpy(piece.inputs), groups(piece))
            mean, log_variance = network.style(alone, torch.from_numpy(piece.mean.notes))
            torch.testing.assert_close(style.mean[index], mean)
            torch.testing.assert_close(style.log_variance[index], log_variance)


def groups(piece: TrainingPiece) -> GroupIndices:
    return GroupIndices(*(torch.from_numpy(one) for one in (piece.beat, piece.measure, piece.voice)))


def test_slices_are_whole_measures_and_all_notes(pieces: list[TrainingPiece], statistics: Statistics) -> None:
    chosen = slices(pieces, 16, 0.5, np.random.default_rng(3))
    for index, piece in enumerate(pieces):
        own = sorted((one.start, one.end) for one in chosen if one.piece == index)
        assert own[0][0] == 0
        assert own[-1][1] == len(piece.beat)
        assert all(end == start for (_, end), (start, _) in pairwise(own))
        assert all(start == 0 or piece.measure[start] != piece.measure[start - 1] for start, _ in own)
        assert len(own) > 2
    assert {one.performance for one in chosen} == {-1, 0, 1}
    made = [batch(pieces, group, statistics) for group in grouped(chosen, 4)]
    assert all(len(one.note_counts) <= 4 for one in made)
    assert sum(sum(one.note_counts) for one in made) == sum(len(piece.beat) for piece in pieces)
    assert all(len(one.inputs) == sum(one.note_counts) for one in made)


def test_a_transposed_slice_has_the_features_of_the_other_key(
    examples: list[TrainingExample], statistics: Statistics
) -> None:
    piece = piece_of(examples[0], statistics)
    values = examples[0].features.columns
    pitch = values["midi_pitch"] + 2
    other = NoteFeatures({**values, "midi_pitch": pitch, "pitch": pitch_vectors(pitch[:, 0].astype(int))})
    moved = batch([piece], [Slice(0, 0, 60, -1, 2, False)], statistics)
    np.testing.assert_allclose(moved.inputs.numpy(), statistics.inputs(other), atol=1e-6)


def test_a_hidden_composer_is_unknown(pieces: list[TrainingPiece], statistics: Statistics) -> None:
    hidden = batch(pieces, [Slice(0, 0, 60, -1, 0, True)], statistics).inputs.numpy()
    composer = list(statistics.columns("composer_vec"))
    assert (hidden[:, composer] == [0.0] * (len(composer) - 1) + [1.0]).all()
    others = [column for column in range(hidden.shape[1]) if column not in composer]
    assert (hidden[:, others] == pieces[0].inputs[:, others]).all()


# -------------------------------------------------------------------------------------------- examples


def test_examples_survive_a_file(examples: list[TrainingExample]) -> None:
    again = from_arrays(to_arrays(examples[0]))
    assert again.name == "invented"
    assert set(again.features.columns) == set(WIDTHS)
    for key, values in examples[0].features.columns.items():
        np.testing.assert_allclose(again.features.columns[key], values, rtol=1e-6)
    np.testing.assert_array_equal(again.performances, examples[0].performances)
    np.testing.assert_array_equal(again.known, examples[0].known)


def test_the_mean_does_not_lean_towards_who_played_a_note(examples: list[TrainingExample]) -> None:
    performances = np.zeros((2, 4, len(OUTPUT_KEYS)), np.float32)
    performances[0, :, columns.VELOCITY] = 50
    performances[1, :, columns.VELOCITY] = 70
    known = np.array([[True, True, True, True], [True, True, False, True]])
    mean, found = mean_performance(replace(examples[0], performances=performances, known=known))
    np.testing.assert_allclose(mean[:, columns.VELOCITY], 60)
    assert found.all()


def test_measures_have_the_means_of_their_notes() -> None:
    values = np.zeros((4, len(OUTPUT_KEYS)), np.float32)
    values[:, columns.BEAT_TEMPO] = [1, 2, 3, 9]
    values[:, columns.VELOCITY] = [10, 20, 30, 99]
    known = np.array([True, True, True, False])
    means, found = measure_means(values, known, np.array([0, 0, 1, 2]))
    np.testing.assert_allclose(means[:2], [[1.5, 15], [3, 30]])
    assert found.tolist() == [True, True, False]


def test_alignment_errors_are_not_learnt() -> None:
    performance = np.zeros((4, len(OUTPUT_KEYS)))
    performance[:, columns.BEAT_TEMPO] = 2
    performance[1, columns.BEAT_TEMPO] = 3.2
    performance[2, columns.ONSET_DEVIATION] = 4
    performance[3, columns.ARTICULATION] = np.nan
    assert plausible(performance).tolist() == [True, False, False, False]


def test_statistics_have_the_layout_of_the_published_ones(statistics: Statistics) -> None:
    section = statistics_section(statistics)
    again = Statistics.from_checkpoint(section)
    assert (again.input_keys, again.mean["velocity"]) == (statistics.input_keys, statistics.mean["velocity"])
    pitch = statistics.columns("pitch")
    assert section["key_to_dim"]["input"]["pitch"] == (pitch.start, pitch.stop)
    assert section["key_to_dim"]["input"][f"{UNNORMALISED_COPIES[-1]}_unnorm"][1] == input_width(statistics)


# ---------------------------------------------------------------------------------------------- losses


def test_the_loss_knows_level_shape_and_spread(pieces: list[TrainingPiece], statistics: Statistics) -> None:
    learnt = whole(pieces, statistics)
    # A tempo belongs to a beat: let all notes of a beat have that of its first.
    target = learnt.target.clone()
    first = torch.searchsorted(learnt.groups.beat, learnt.groups.beat)
    target[:, columns.BEAT_TEMPO] = target[first, columns.BEAT_TEMPO]
    learnt = replace(learnt, target=target, known=torch.ones_like(learnt.known))
    style = forward.Style(torch.zeros(2, 5), torch.zeros(2, 5))

    def parts(notes: torch.Tensor) -> dict[str, float]:
        outputs = forward.Outputs(notes, learnt.measure_target)
        return {name: value.item() for name, value in vars(loss(outputs, learnt, style)).items()}

    perfect = parts(target)
    # Not exactly 0, because of the floor of the variances, about 1 % of them here.
    assert perfect["shape"] < 0.3
    assert all(abs(value) < 1e-5 for name, value in perfect.items() if name != "shape"), perfect
    louder, flatter, mirrored = parts(target + 1), parts(target * 0.5), parts(-target)
    assert louder["level"] > 1
    assert louder["shape"] == pytest.approx(perfect["shape"], abs=1e-4)
    assert flatter["spread"] > 1
    assert flatter["shape"] < 0.6
    assert mirrored["shape"] > 10
    assert mirrored["spread"] == pytest.approx(perfect["spread"], abs=1e-4)
