"""VirtuosoNet: a hierarchical attention network over notes, beats and measures, with gated recurrent units.

The variant "han_measnote_gru". Jeong et al., "VirtuosoNet: A Hierarchical RNN-based System for Modeling
Expressive Piano Performance", ISMIR 2019, section 4. Names of modules are those of the published state dict;
``lstm`` and ``output_lstm`` are GRUs all the same. A piece is one sequence: T notes, B beats, M measures.
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
"""Tempo and velocity of a measure, fed to everything below it."""
RESIDUALS = 8
"""Columns of the residual information of a measure."""


@dataclass(frozen=True)
class NetworkSizes:
    """Widths of the layers; in a bidirectional one, of each direction."""

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
        return cls(
            inputs=inputs,
            note=config["note"]["size"],
            voice=config["voice"]["size"],
            beat=config["beat"]["size"],
            measure=config["measure"]["size"],
            encoder=config["encoder"]["size"],
            final=config["final"]["size"],
            performance=config["performance"]["size"],
            style=config["encoded_vector_size"],
            heads=config["num_attention_head"],
            note_layers=config["note"]["layer"],
            voice_layers=config["voice"]["layer"],
            beat_layers=config["beat"]["layer"],
            measure_layers=config["measure"]["layer"],
        )


@dataclass(frozen=True)
class Places:
    """Which beat, measure and voice each of the T notes belongs to; beats and measures from 0, no gaps."""

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
        """[B] a measure owns the beats from that of its first note up to that of the next one's."""
        first_notes = torch.searchsorted(
            self.measure, torch.arange(self.measures, device=self.measure.device)
        )
        first_beats = self.beat[first_notes]
        beats = torch.arange(self.beats, device=self.beat.device)
        return torch.searchsorted(first_beats, beats, right=True) - 1


@dataclass(frozen=True)
class EncodedScore:
    """What the network knows about a score."""

    embedded: Tensor
    """[T, note]"""
    note_rnn: Tensor
    """[T, 2 note]"""
    voice_rnn: Tensor
    """[T, 2 voice]"""
    beat_nodes: Tensor
    """[B, 2 (note + voice)]"""
    beat: Tensor
    """[B, 2 beat]"""
    measure_nodes: Tensor
    """[M, 2 beat]"""
    measure: Tensor
    """[M, 2 measure]"""
    places: Places

    @property
    def note(self) -> Tensor:
        """[T, 2 (note + voice)]"""
        return torch.cat([self.note_rnn, self.voice_rnn], dim=1)


class ContextAttention(nn.Module):
    """Weighs the members of each group by how well they fit learned context vectors, one per head."""

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
        """[N, size] with a group index [N] for each -> [groups, size], an average of the members each.

        A group without members gives zeros.
        """
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
    """A linear map of the note features; columns beyond its width are not used."""

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

    def forward(self, embedded: Tensor, places: Places, run_gru: RunGru = torch_gru) -> EncodedScore:
        voices = [torch.nonzero(places.voice == voice).flatten() for voice in places.voice.unique()]
        note_rnn = run_gru(self.lstm, embedded, None)
        voice_rnn = run_gru(self.voice_net, embedded, voices)
        beat_nodes = self.beat_attention(torch.cat([note_rnn, voice_rnn], 1), places.beat, places.beats)
        beat = run_gru(self.beat_rnn, beat_nodes, None)
        measure_nodes = self.measure_attention(beat, places.measure_of_beat(), places.measures)
        measure = run_gru(self.measure_rnn, measure_nodes, None)
        return EncodedScore(embedded, note_rnn, voice_rnn, beat_nodes, beat, measure_nodes, measure, places)


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
        beat_spanned: Tensor,
        measure_spanned: Tensor,
        performance: Tensor,
        run_gru: RunGru = torch_gru,
    ) -> tuple[Tensor, Tensor]:
        """Mean and log variance [style] from normalised features [T, 11]; a row of zeros is a note that
        was not played. The spanned vectors [T, ...] are those of each note's beat and measure (``spanned``).
        """
        played = (performance != 0).any(dim=1, keepdim=True)
        embedded = self.performance_embedding_layer(performance) * played
        combined = torch.cat([score.note, beat_spanned, measure_spanned, embedded], dim=1)
        contracted = self.performance_contractor(combined)
        summary = run_gru(self.performance_note_encoder, contracted, None).mean(dim=0)
        return self.performance_encoder_mean(summary), self.performance_encoder_var(summary)


def spanned(vectors: Tensor, index: Tensor) -> Tensor:
    """The vector of each note's beat or measure [T, ...]."""
    return vectors[index]


def spanned_as_published(vectors: Tensor, index: Tensor) -> Tensor:
    """``spanned`` with the published mistake: where the first two notes lie in different beats (measures),
    only the notes up to the first minimum of the index differences get a vector."""
    filled = int(torch.argmin(index[1:] - index[:-1])) + 1 if len(index) > 1 else 1
    result = vectors[index].clone()
    if filled != 1:
        result[filled:] = 0
    return result


class MeasureDecoder(nn.Module):
    """Tempo and velocity of the measures, one after the other."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        inputs = 2 * sizes.measure + sizes.encoder + RESIDUALS + MEASURE_OUTPUTS
        self.rnn = nn.GRU(inputs, sizes.measure, batch_first=True)
        self.fc = nn.Linear(sizes.measure, MEASURE_OUTPUTS)


class PerformanceDecoder(nn.Module):
    """Weights of the autoregressive part; ``generation.py`` runs it."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.sizes = sizes
        measure = 2 * sizes.measure + MEASURE_OUTPUTS
        beat = 2 * sizes.beat
        note = 2 * (sizes.note + sizes.voice)
        below = OUTPUTS - 1
        self.style_vector_expandor = nn.Sequential(nn.Linear(sizes.style, sizes.encoder))
        self.measure_decoder = MeasureDecoder(sizes)
        self.result_for_tempo_attention = ContextAttention(below, 1)
        self.beat_tempo_forward = nn.GRU(
            beat + measure + OUTPUTS + sizes.encoder, sizes.beat, batch_first=True
        )
        self.beat_tempo_fc = nn.Linear(sizes.beat, 1)
        self.output_lstm = nn.GRU(
            note + beat + measure + OUTPUTS + sizes.encoder, sizes.final, batch_first=True
        )
        self.fc = nn.Linear(sizes.final, below)


class VirtuosoNet(nn.Module):
    """The whole network; its state dict is that of the published checkpoint."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.note_embedder = NoteEmbedder(sizes)
        self.score_encoder = ScoreEncoder(sizes)
        self.performance_encoder = PerformanceEncoder(sizes)
        self.performance_decoder = PerformanceDecoder(sizes)

    def encode(self, features: Tensor, places: Places, run_gru: RunGru = torch_gru) -> EncodedScore:
        """Normalised note features [T, at least inputs] -> what the decoder and the style encoder need."""
        encoded: EncodedScore = self.score_encoder(self.note_embedder(features), places, run_gru)
        return encoded

    def style(
        self,
        score: EncodedScore,
        performance: Tensor,
        *,
        as_published: bool = False,
        run_gru: RunGru = torch_gru,
    ) -> tuple[Tensor, Tensor]:
        """Mean and log variance [style] of the style vector of a performance (normalised [T, 11])."""
        span = spanned_as_published if as_published else spanned
        beat = span(score.beat, score.places.beat)
        measure = span(score.measure, score.places.measure)
        mean, log_variance = self.performance_encoder(score, beat, measure, performance, run_gru)
        return mean, log_variance
