"""VirtuosoNet: a hierarchical attention network over notes, beats and measures, with gated recurrent units.

The variant "han_measnote_gru" of Jeong et al., "VirtuosoNet: A Hierarchical RNN-based System for Modeling
Expressive Piano Performance", ISMIR 2019, section 4. Names of modules are those of the published state dict
(``lstm`` and ``output_lstm`` are GRUs). A piece is one sequence of T notes, B beats, M measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from renderers.virtuosonet.recurrence import RunGru, torch_gru

OUTPUTS = 11
"""Columns of a performance."""
MEASURE_OUTPUTS = 2
"""Tempo and velocity of a measure, inputs of the decoders of beats and notes."""
RESIDUALS = 8
"""Columns of the residual information of a measure (``generation.residual_info``)."""


@dataclass(frozen=True)
class NetworkSizes:
    """Widths of the layers; of bidirectional layers that of each direction."""

    inputs: int
    note: int
    voice: int
    beat: int
    measure: int
    encoder: int
    final: int
    performance: int
    style: int
    """Width of the style vector z."""
    heads: int
    note_layers: int = 2
    voice_layers: int = 2
    beat_layers: int = 2
    measure_layers: int = 1

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, inputs: int) -> NetworkSizes:
        """From the ``network_params`` of a checkpoint. ``inputs``: width of its note embedder."""
        sized = ("note", "voice", "beat", "measure", "encoder", "final", "performance")
        return cls(
            inputs=inputs,
            style=config["encoded_vector_size"],
            heads=config["num_attention_head"],
            **{name: config[name]["size"] for name in sized},
            **{f"{name}_layers": config[name]["layer"] for name in sized[:4]},
        )


@dataclass(frozen=True)
class GroupIndices:
    """[T] indices of the beat, measure and voice of each note; beats and measures from 0 without gaps."""

    beat: Tensor
    measure: Tensor
    voice: Tensor

    @property
    def beats(self) -> int:
        return int(self.beat[-1]) + 1

    @property
    def measures(self) -> int:
        return int(self.measure[-1]) + 1

    def measure_of_beat(self) -> Tensor:
        """[B] index of the measure of each beat; a measure starts with the beat of its first note."""
        first_beats = self.beat[torch.searchsorted(self.measure, torch.arange(self.measures))]
        return torch.searchsorted(first_beats, torch.arange(self.beats), right=True) - 1


@dataclass(frozen=True)
class EncodedScore:
    """The hidden states of the score encoder."""

    note_rnn: Tensor
    """[T, 2 note]"""
    voice_rnn: Tensor
    """[T, 2 voice]"""
    beat: Tensor
    """[B, 2 beat]"""
    measure: Tensor
    """[M, 2 measure]"""
    groups: GroupIndices

    @property
    def note(self) -> Tensor:
        """[T, 2 (note + voice)]"""
        return torch.cat([self.note_rnn, self.voice_rnn], dim=1)


class ContextAttention(nn.Module):
    """Averages the members of each group by their similarity to a learned context vector per head."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_net = nn.Linear(size, size)
        self.context_vector = nn.Parameter(torch.empty(heads, size // heads, 1))
        nn.init.uniform_(self.context_vector, -1, 1)

    def similarity(self, members: Tensor) -> Tensor:
        """[N, size] -> [N, heads]"""
        hidden = torch.tanh(self.attention_net(members)).view(len(members), self.heads, -1)
        return (hidden * self.context_vector.squeeze(-1)).sum(-1)

    def forward(self, members: Tensor, group: Tensor, groups: int) -> Tensor:
        """Members [N, size] with group indices [N] -> [groups, size]; zeros for a group without members."""
        similarity = self.similarity(members)
        index = group.unsqueeze(1).expand_as(similarity)
        highest = similarity.new_zeros(groups, self.heads)
        highest = highest.scatter_reduce(0, index, similarity, "amax", include_self=False)
        weights = torch.exp(similarity - highest[group])
        total = weights.new_zeros(groups, self.heads).index_add(0, group, weights)
        weights = weights / total[group]
        weighted = members.view(len(members), self.heads, -1) * weights.unsqueeze(-1)
        return members.new_zeros(groups, members.shape[1]).index_add(0, group, weighted.flatten(1))


class NoteEmbedder(nn.Module):
    """A linear map of the note features; ignores columns beyond its width."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.fc = nn.Linear(sizes.inputs, sizes.note)

    def forward(self, features: Tensor) -> Tensor:
        """[T, at least inputs] -> [T, note]"""
        embedded: Tensor = self.fc(features[:, : self.fc.in_features])
        return embedded


class ScoreEncoder(nn.Module):
    """Notes, in order and voice by voice, then beats, then measures."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        note = 2 * (sizes.note + sizes.voice)
        self.lstm = _bidirectional(sizes.note, sizes.note, sizes.note_layers)
        self.voice_net = _bidirectional(sizes.note, sizes.voice, sizes.voice_layers)
        self.beat_attention = ContextAttention(note, sizes.heads)
        self.beat_rnn = _bidirectional(note, sizes.beat, sizes.beat_layers)
        self.measure_attention = ContextAttention(2 * sizes.beat, sizes.heads)
        self.measure_rnn = _bidirectional(2 * sizes.beat, sizes.measure, sizes.measure_layers)

    def forward(self, embedded: Tensor, groups: GroupIndices, run_gru: RunGru = torch_gru) -> EncodedScore:
        voices = [torch.nonzero(groups.voice == voice).flatten() for voice in groups.voice.unique()]
        note_rnn = run_gru(self.lstm, embedded, None)
        voice_rnn = run_gru(self.voice_net, embedded, voices)
        beat_nodes = self.beat_attention(torch.cat([note_rnn, voice_rnn], 1), groups.beat, groups.beats)
        beat = run_gru(self.beat_rnn, beat_nodes, None)
        measure_nodes = self.measure_attention(beat, groups.measure_of_beat(), groups.measures)
        measure = run_gru(self.measure_rnn, measure_nodes, None)
        return EncodedScore(note_rnn, voice_rnn, beat, measure, groups)


def _bidirectional(inputs: int, hidden: int, layers: int) -> nn.GRU:
    return nn.GRU(inputs, hidden, layers, batch_first=True, bidirectional=True)


class PerformanceEncoder(nn.Module):
    """A performance of a score -> the distribution of its style vector."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        note = 2 * (sizes.note + sizes.voice + sizes.beat + sizes.measure)
        self.performance_embedding_layer = nn.Linear(OUTPUTS, sizes.performance)
        self.performance_contractor = nn.Linear(note + sizes.performance, sizes.encoder)
        self.performance_note_encoder = _bidirectional(sizes.encoder, sizes.encoder, 1)
        self.performance_encoder_mean = nn.Linear(2 * sizes.encoder, sizes.style)
        self.performance_encoder_var = nn.Linear(2 * sizes.encoder, sizes.style)

    def forward(
        self,
        score: EncodedScore,
        beat_of_note: Tensor,
        measure_of_note: Tensor,
        performance: Tensor,
        run_gru: RunGru = torch_gru,
    ) -> tuple[Tensor, Tensor]:
        """Mean and log variance [style] from normalised features [T, 11]; a row of zeros is a note that was
        not played. ``beat_of_note``, ``measure_of_note``: [T, ...] the vectors of each note's beat and
        measure."""
        played = (performance != 0).any(dim=1, keepdim=True)
        embedded = self.performance_embedding_layer(performance) * played
        combined = torch.cat([score.note, beat_of_note, measure_of_note, embedded], dim=1)
        contracted = self.performance_contractor(combined)
        summary = run_gru(self.performance_note_encoder, contracted, None).mean(dim=0)
        return self.performance_encoder_mean(summary), self.performance_encoder_var(summary)


class MeasureDecoder(nn.Module):
    """Tempo and velocity of the measures, one after the other."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        inputs = 2 * sizes.measure + sizes.encoder + RESIDUALS + MEASURE_OUTPUTS
        self.rnn = nn.GRU(inputs, sizes.measure, batch_first=True)
        self.fc = nn.Linear(sizes.measure, MEASURE_OUTPUTS)


class PerformanceDecoder(nn.Module):
    """Weights of the autoregressive decoder, which ``generation.py`` runs."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.sizes = sizes
        measure = 2 * sizes.measure + MEASURE_OUTPUTS
        beat = 2 * sizes.beat
        note = 2 * (sizes.note + sizes.voice)
        other_outputs = OUTPUTS - 1
        self.style_vector_expandor = nn.Sequential(nn.Linear(sizes.style, sizes.encoder))
        self.measure_decoder = MeasureDecoder(sizes)
        self.result_for_tempo_attention = ContextAttention(other_outputs, 1)
        self.beat_tempo_forward = nn.GRU(
            beat + measure + OUTPUTS + sizes.encoder, sizes.beat, batch_first=True
        )
        self.beat_tempo_fc = nn.Linear(sizes.beat, 1)
        self.output_lstm = nn.GRU(
            note + beat + measure + OUTPUTS + sizes.encoder, sizes.final, batch_first=True
        )
        self.fc = nn.Linear(sizes.final, other_outputs)


class VirtuosoNetwork(nn.Module):
    """The whole network; its state dict is that of the published checkpoint."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.note_embedder = NoteEmbedder(sizes)
        self.score_encoder = ScoreEncoder(sizes)
        self.performance_encoder = PerformanceEncoder(sizes)
        self.performance_decoder = PerformanceDecoder(sizes)

    def encode(self, features: Tensor, groups: GroupIndices, run_gru: RunGru = torch_gru) -> EncodedScore:
        """Normalised note features [T, at least inputs] -> inputs of the decoder and the style encoder."""
        encoded: EncodedScore = self.score_encoder(self.note_embedder(features), groups, run_gru)
        return encoded

    def style(
        self, score: EncodedScore, performance: Tensor, run_gru: RunGru = torch_gru
    ) -> tuple[Tensor, Tensor]:
        """Mean and log variance [style] of the style vector of a performance (normalised [T, 11])."""
        beat, measure = score.beat[score.groups.beat], score.measure[score.groups.measure]
        mean, log_variance = self.performance_encoder(score, beat, measure, performance, run_gru)
        return mean, log_variance
