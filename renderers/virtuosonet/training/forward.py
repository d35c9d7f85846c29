"""The network over a batch, with gradients: all steps of a recurrence at once.

A step depends on the outputs of the steps before it. In training these come from the target performance
(teacher forcing, Williams & Zipser, Neural Computation 1(2), 1989) or from an earlier pass of the network
over the whole batch (parallel scheduled sampling, Duckworth et al., arXiv:1906.04331), so that a pass needs
no loop. Repeated passes converge to the outputs of ``generation.PerformanceGenerator``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from renderers.virtuosonet.generation import MASKED
from renderers.virtuosonet.network import EncodedScore, PerformanceEncoder, VirtuosoNetwork
from renderers.virtuosonet.training.batches import Batch
from renderers.virtuosonet.training.scan import run_gru


@dataclass(frozen=True)
class Outputs:
    """The network's outputs for a batch, normalised."""

    notes: Tensor
    """[T, 11]"""
    measures: Tensor
    """[M, 2]"""


@dataclass(frozen=True)
class Style:
    """The distribution of the style vectors of S slices."""

    mean: Tensor
    """[S, style]"""
    log_variance: Tensor
    """[S, style]"""

    def sample(self, generator: torch.Generator) -> Tensor:
        noise = torch.randn(self.mean.shape, generator=generator)
        return self.mean + noise * torch.exp(self.log_variance / 2)


def run(gru: nn.GRU, rows: Tensor, counts: Sequence[int]) -> Tensor:
    """A GRU over sequences that lie one after the other [sum of counts, features]."""
    return run_gru(gru, rows, list(torch.arange(sum(counts)).split(list(counts))))


def encode(network: VirtuosoNetwork, batch: Batch) -> EncodedScore:
    """The scores of a batch."""
    encoder = network.score_encoder
    counts = {
        encoder.lstm: batch.note_counts,
        encoder.beat_rnn: batch.beat_counts,
        encoder.measure_rnn: batch.measure_counts,
    }

    def run_in_slices(gru: nn.GRU, rows: Tensor, voices: Sequence[Tensor] | None) -> Tensor:
        return run(gru, rows, counts[gru]) if voices is None else run_gru(gru, rows, voices)

    return network.encode(batch.inputs, batch.groups, run_in_slices)


def style(encoder: PerformanceEncoder, score: EncodedScore, batch: Batch) -> Style:
    """The style vectors of the batch's targets, one per slice: ``PerformanceEncoder.forward`` on a batch."""
    embedded = encoder.performance_embedding_layer(batch.target) * batch.known[:, None]
    groups = batch.groups
    beat, measure = score.beat[groups.beat], score.measure[groups.measure]
    contracted = encoder.performance_contractor(torch.cat([score.note, beat, measure, embedded], dim=1))
    summary = run(encoder.performance_note_encoder, contracted, batch.note_counts)
    means = torch.stack([one.mean(dim=0) for one in summary.split(batch.note_counts)])
    return Style(encoder.performance_encoder_mean(means), encoder.performance_encoder_var(means))


def feedback_of_target(batch: Batch) -> Outputs:
    """The target in place of an earlier pass; zeros where it is not known."""
    return Outputs(batch.target, batch.measure_target * batch.measure_known[:, None])


def mixed(one: Outputs, other: Outputs, share: float, batch: Batch, generator: torch.Generator) -> Outputs:
    """For each slice the outputs of ``one``, with probability ``share``, or those of ``other``."""
    chosen = torch.rand(len(batch.note_counts), generator=generator) < share

    def mix(a: Tensor, b: Tensor, counts: Sequence[int]) -> Tensor:
        return torch.where(chosen.repeat_interleave(torch.tensor(counts))[:, None], a, b)

    return Outputs(
        mix(one.notes, other.notes, batch.note_counts),
        mix(one.measures, other.measures, batch.measure_counts),
    )


def decode(
    network: VirtuosoNetwork, score: EncodedScore, batch: Batch, z: Tensor, earlier: Outputs
) -> Outputs:
    """One pass over the batch in the styles ``z`` [S, style], given the outputs of an earlier one."""
    decoder, groups = network.performance_decoder, score.groups
    vectors = decoder.style_vector_expandor(z)
    of_measure, of_beat, of_note = (
        vectors.repeat_interleave(torch.tensor(counts), dim=0)
        for counts in (batch.measure_counts, batch.beat_counts, batch.note_counts)
    )
    rnn = decoder.measure_decoder
    before = _shifted(earlier.measures, batch.measure_counts)
    inputs = torch.cat([score.measure, of_measure, batch.residuals, before], dim=1)
    measures = rnn.fc(run(rnn.rnn, inputs, batch.measure_counts))
    measure = torch.cat([score.measure, measures], dim=1)

    first_notes = torch.searchsorted(groups.beat, torch.arange(groups.beats))
    measure_of_beat = groups.measure[first_notes]
    summary = _summary(network, earlier.notes[:, 1:], groups.beat, groups.beats)
    before = torch.cat([earlier.notes[first_notes, :1], summary], dim=1)
    before = _shifted(before, batch.beat_counts)
    inputs = torch.cat([score.beat, measure[measure_of_beat], before, of_beat], dim=1)
    tempo = decoder.beat_tempo_fc(run(decoder.beat_tempo_forward, inputs, batch.beat_counts))[groups.beat]

    before = torch.cat([tempo, _shifted(earlier.notes[:, 1:], batch.note_counts)], dim=1)
    of_score = [score.note, score.beat[groups.beat], measure[groups.measure]]
    inputs = torch.cat([*of_score, before, of_note], dim=1)
    notes = decoder.fc(run(decoder.output_lstm, inputs, batch.note_counts))
    return Outputs(torch.cat([tempo, notes], dim=1), measures)


def _shifted(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Each sequence shifted by one step, starting with zeros."""
    result = torch.cat([rows.new_zeros(1, rows.shape[1]), rows[:-1]])
    starts = torch.tensor([0, *counts[:-1]]).cumsum(0)
    return result.index_fill(0, starts, 0.0)


def _summary(network: VirtuosoNetwork, played: Tensor, beat: Tensor, beats: int) -> Tensor:
    """[B, 10] attention over the outputs [T, 10] of the notes of each beat; rows of zeros are masked."""
    attention = network.performance_decoder.result_for_tempo_attention
    similarity = attention.similarity(played)[:, 0]
    similarity = similarity.masked_fill(played.sum(dim=1) == 0, MASKED)
    highest = similarity.new_full((beats,), MASKED).scatter_reduce(0, beat, similarity, "amax")
    weights = torch.exp(similarity - highest.detach()[beat])
    total = weights.new_zeros(beats).index_add(0, beat, weights)
    return played.new_zeros(beats, played.shape[1]).index_add(
        0, beat, played * (weights / total[beat])[:, None]
    )
