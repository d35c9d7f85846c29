"""VirtuosoNet's network: the fast recurrence against PyTorch's, and gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from renderers.virtuosonet.features import WIDTHS
from renderers.virtuosonet.generation import DecoderOutputs, residual_info
from renderers.virtuosonet.inference import FrozenModel
from renderers.virtuosonet.network import (
    ContextAttention,
    EncodedScore,
    GroupIndices,
    NetworkSizes,
    VirtuosoNetwork,
)
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.recurrence import FrozenGrus, torch_gru
from tests.renderers.virtuosonet_plain import plain_generation

SIZES = NetworkSizes(
    inputs=79, note=8, voice=6, beat=10, measure=6, encoder=9, final=12, performance=7, style=5, heads=4
)


STATISTICS = Statistics(mean={}, deviation={}, input_keys=tuple(WIDTHS))


@pytest.fixture(scope="module")
def network() -> VirtuosoNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return VirtuosoNetwork(SIZES).eval()


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    """A second thread costs more time than these small products."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def groups(notes: int) -> GroupIndices:
    index = torch.arange(notes)
    return GroupIndices(beat=index // 3, measure=index // 12, voice=1 + index % 2)


def inputs(notes: int) -> torch.Tensor:
    return torch.randn(notes, 84, generator=torch.Generator().manual_seed(2))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=7),
    hidden=st.integers(1, 9),
    layers=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_the_fast_recurrence_is_pytorchs(lengths: list[int], hidden: int, layers: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    gru = nn.GRU(4, hidden, layers, batch_first=True, bidirectional=True)
    rows = torch.randn(sum(lengths), 4, generator=generator)
    sequences = list(torch.randperm(len(rows), generator=generator).split(lengths))
    with torch.inference_mode():
        expected = torch_gru(gru, rows, sequences)
        torch.testing.assert_close(FrozenGrus()(gru, rows, sequences), expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(FrozenGrus()(gru, rows), torch_gru(gru, rows), rtol=0, atol=1e-6)


def test_wide_cells_and_many_sequences() -> None:
    gru = nn.GRU(4, 300, batch_first=True, bidirectional=True)
    rows = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    sequences = list(torch.arange(60).split(10))
    with torch.inference_mode():
        expected = torch_gru(gru, rows, sequences)
        torch.testing.assert_close(FrozenGrus()(gru, rows, sequences), expected, rtol=0, atol=1e-6)


def test_saturated_gates_do_not_warn() -> None:
    gru = nn.GRU(2, 3, batch_first=True, bidirectional=True)
    rows = torch.tensor([[1e4, -1e4], [-1e4, 1e4]])
    with torch.inference_mode():
        torch.testing.assert_close(FrozenGrus()(gru, rows), torch_gru(gru, rows), rtol=0, atol=1e-6)


def test_attention_averages_within_groups() -> None:
    attention = ContextAttention(8, 2)
    members = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        result = attention(members, torch.tensor([0, 0, 0, 2, 2]), 3)
        weights = torch.softmax(attention.similarity(members[:3]), dim=0)
    assert torch.equal(result[1], torch.zeros(8))
    expected = torch.cat([weights[:, :1].T @ members[:3, :4], weights[:, 1:].T @ members[:3, 4:]], dim=1)
    torch.testing.assert_close(result[:1], expected)


def generate(network: VirtuosoNetwork, notes: int, z: torch.Tensor) -> tuple[EncodedScore, DecoderOutputs]:
    model = FrozenModel(network, STATISTICS)
    with torch.inference_mode():
        encoded = model.encode(inputs(notes), groups(notes))
        return encoded, model.generate(inputs(notes), encoded, z)


@pytest.mark.parametrize("notes", [1, 2, 13, 40])
def test_generation(network: VirtuosoNetwork, notes: int) -> None:
    zero, one = torch.zeros(5), torch.ones(5)
    _, first = generate(network, notes, zero)
    assert first.notes.shape == (notes, 11)
    assert np.array_equal(first.notes, generate(network, notes, zero)[1].notes)
    assert not np.allclose(first.notes, generate(network, notes, one)[1].notes, atol=1e-3)


def test_notes_of_a_beat_share_its_tempo(network: VirtuosoNetwork) -> None:
    tempo = generate(network, 40, torch.zeros(5))[1].notes[:, 0]
    assert (tempo == tempo[np.arange(40) // 3 * 3]).all()
    assert len(set(tempo.tolist())) > 1


def test_generation_equals_a_plain_loop(network: VirtuosoNetwork) -> None:
    """The same decoder written as one step of the whole GRU after the other."""
    z = torch.full((5,), 0.3)
    encoded, generated = generate(network, 40, z)
    residuals = residual_info(inputs(40), STATISTICS, encoded.groups.measures)
    expected = plain_generation(network, encoded, residuals, z).numpy()
    np.testing.assert_allclose(generated.notes, expected, rtol=0, atol=2e-6)


def test_encoding_passes_gradients_on(network: VirtuosoNetwork) -> None:
    encoded = network.encode(inputs(12), groups(12))
    mean, log_variance = network.style(encoded, torch.randn(12, 11))
    (mean.sum() + log_variance.sum()).backward()
    gradient = network.score_encoder.lstm.weight_ih_l0.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    network.zero_grad(set_to_none=True)


def test_a_measure_owns_the_beats_from_its_first_note_on() -> None:
    where = GroupIndices(
        beat=torch.tensor([0, 0, 1, 2, 2, 3]),
        measure=torch.tensor([0, 0, 0, 1, 1, 1]),
        voice=torch.ones(6, dtype=torch.long),
    )
    assert where.measure_of_beat().tolist() == [0, 0, 1, 1]


def test_more_measures_than_notes_have_residuals() -> None:
    assert residual_info(inputs(2), STATISTICS, 3).shape == (3, 8)
