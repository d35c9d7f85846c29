"""From an encoded score and a style vector to a performance, measure by measure, beat by beat, note by note.

Everything that does not depend on earlier outputs goes through one matrix product for all steps; what is left
of a step are products with the hidden state and with the few previous outputs.
Jeong et al., ISMIR 2019, section 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from renderers.virtuosonet.network import (
    MEASURE_OUTPUTS,
    OUTPUTS,
    EncodedScore,
    PerformanceDecoder,
)
from renderers.virtuosonet.recurrence import Floats, GruStepper, gru_cell, product

ABSENT = -1e10
"""Similarity given to outputs that are exactly zero, so that they get no attention."""


@dataclass(frozen=True)
class Generated:
    """A performance as the network gives it, normalised."""

    notes: Floats
    """[T, 11]; columns as ``features.OUTPUT_KEYS``."""
    measures: Floats
    """[M, 2] tempo and velocity of the measures."""
    style: Floats
    """[encoder] the style vector as the decoder sees it."""


def residual_info(
    features: Tensor, piece_columns: Sequence[int], tempo_columns: Sequence[int], measures: int
) -> Tensor:
    """[M, 8] what is told to the measure decoder directly, from normalised features [T, ...].

    Of the first note ``piece_columns``, and the tempo words of note number m: the first note of measure m
    was meant, but the weights were trained with this.
    """
    of_piece = features[0, list(piece_columns)].expand(measures, -1)
    note = torch.arange(measures).clamp(max=len(features) - 1)
    return torch.cat([of_piece, features[note][:, list(tempo_columns)]], dim=1)


def _linear(layer: nn.Linear) -> tuple[Floats, Floats]:
    return np.ascontiguousarray(layer.weight.detach().numpy().T), layer.bias.detach().numpy()


class Generator:
    """A decoder whose weights no longer change, laid out for generation on the CPU."""

    def __init__(self, decoder: PerformanceDecoder) -> None:
        self._style = decoder.style_vector_expandor
        self._measures = _MeasureWeights(decoder)
        self._tempos = _TempoWeights(decoder)
        self._notes = _NoteWeights(decoder)

    @torch.inference_mode()
    def __call__(self, score: EncodedScore, residuals: Tensor, z: Tensor) -> Generated:
        """A performance in the style ``z`` [style]; ``residuals`` as ``residual_info``. Deterministic."""
        style = self._style(z).numpy()
        with np.errstate(over="ignore"):  # of closed gates, see GruStepper
            measures = self._measures.generate(score.measure.numpy(), style, residuals.numpy())
            measure = np.concatenate([score.measure.numpy(), measures], axis=1)
            notes = self._generate_notes(score, measure, style)
        return Generated(notes, measures, style)

    def _generate_notes(self, score: EncodedScore, measure: Floats, style: Floats) -> Floats:
        """[T, 11]"""
        beat_of_note, measure_of_note = score.places.beat.numpy(), score.places.measure.numpy()
        starts = np.flatnonzero(np.diff(beat_of_note, prepend=-1))
        tempo_gates = self._tempos.project(score.beat.numpy(), measure[measure_of_note[starts]], style)
        note_gates = self._notes.project(score, measure, style)
        tempos, notes = self._tempos, self._notes
        outputs = np.zeros((len(beat_of_note), OUTPUTS), np.float32)
        tempo_hidden = np.zeros((1, 1, tempos.cell.size), np.float32)
        hidden = np.zeros((1, 1, notes.cell.size), np.float32)
        previous = np.zeros(OUTPUTS, np.float32)
        tempo_stepper, stepper = GruStepper([tempos.cell]), GruStepper([notes.cell])
        before = np.intp(0)
        for beat, (start, end) in enumerate(zip(starts, [*starts[1:], len(outputs)], strict=True)):
            previous[1:], own = tempos.summary(outputs[before : max(start, 1), 1:]), previous[1:].copy()
            tempos.step(tempo_stepper, tempo_gates[beat], previous, tempo_hidden)
            previous[0] = tempos.tempo(tempo_hidden)
            previous[1:] = own
            for note in range(start, end):
                notes.step(stepper, note_gates[note], previous, hidden)
                outputs[note] = previous
            before = start
        return outputs


class _MeasureWeights:
    """Tempo and velocity of measures, from those of the measure before."""

    def __init__(self, decoder: PerformanceDecoder) -> None:
        rnn = decoder.measure_decoder.rnn
        self.cell, self.feedback = gru_cell(rnn).split_inputs(
            rnn.input_size - MEASURE_OUTPUTS, MEASURE_OUTPUTS
        )
        self.weights, self.bias = _linear(decoder.measure_decoder.fc)

    def generate(self, measure: Floats, style: Floats, residuals: Floats) -> Floats:
        """[M, 2]"""
        count = len(measure)
        inputs = np.concatenate([measure, np.tile(style, (count, 1)), residuals], axis=1)
        gates = self.cell.project(inputs)
        outputs = np.zeros((count, MEASURE_OUTPUTS), np.float32)
        hidden = np.zeros((1, 1, self.cell.size), np.float32)
        previous = np.zeros(MEASURE_OUTPUTS, np.float32)
        stepper = GruStepper([self.cell])
        for step in range(count):
            now = gates[step]
            now += previous @ self.feedback
            stepper.step(now.reshape(3, 1, 1, -1), hidden, hidden)
            previous = hidden[0, 0] @ self.weights + self.bias
            outputs[step] = previous
        return outputs


class _TempoWeights:
    """The tempo of a beat, from what was played in the beat before."""

    def __init__(self, decoder: PerformanceDecoder) -> None:
        rnn = decoder.beat_tempo_forward
        first = rnn.input_size - OUTPUTS - decoder.sizes.encoder
        self.cell, self.feedback = gru_cell(rnn).split_inputs(first, OUTPUTS)
        self.weights, self.bias = _linear(decoder.beat_tempo_fc)
        attention = decoder.result_for_tempo_attention
        self.attention_weights, self.attention_bias = _linear(attention.attention_net)
        self.context: Floats = attention.context_vector.detach().numpy().reshape(-1)

    def project(self, beat: Floats, measure: Floats, style: Floats) -> Floats:
        """[B, 3, 1, 1, H] from beats [B, ...] and the measures of their first notes [B, ...]."""
        inputs = np.concatenate([beat, measure, np.tile(style, (len(beat), 1))], axis=1)
        return self.cell.project(inputs).reshape(len(beat), 3, 1, 1, -1)

    def summary(self, played: Floats) -> Floats:
        """[10] an average over the outputs of the notes of a beat [n, 10]."""
        similarity = np.tanh(played @ self.attention_weights + self.attention_bias) @ self.context
        similarity[played.sum(axis=1) == 0] = ABSENT
        weights = np.exp(similarity - similarity.max())
        summary: Floats = (weights / weights.sum()) @ played
        return summary

    def step(self, stepper: GruStepper, gates: Floats, previous: Floats, hidden: Floats) -> None:
        """Move ``hidden`` [1, 1, H] on; ``previous`` [11]: tempo and summary of the beat before."""
        gates += (previous @ self.feedback).reshape(gates.shape)
        stepper.step(gates, hidden, hidden)

    def tempo(self, hidden: Floats) -> np.float32:
        return np.float32((hidden[0, 0] @ self.weights + self.bias)[0])


class _NoteWeights:
    """The ten other outputs of a note, from those of the note before and the tempo of its beat."""

    def __init__(self, decoder: PerformanceDecoder) -> None:
        rnn = decoder.output_lstm
        first = rnn.input_size - OUTPUTS - decoder.sizes.encoder
        self.cell, self.feedback = gru_cell(rnn).split_inputs(first, OUTPUTS)
        self.weights, self.bias = _linear(decoder.fc)
        sizes = decoder.sizes
        widths = (2 * (sizes.note + sizes.voice), 2 * sizes.beat, 2 * sizes.measure + MEASURE_OUTPUTS)
        of_note, of_beat, of_measure, self._of_style = np.split(self.cell.input_weights, np.cumsum(widths))
        self._of_note, self._of_beat, self._of_measure = (
            product(weights) for weights in (of_note, of_beat, of_measure)
        )

    def project(self, score: EncodedScore, measure: Floats, style: Floats) -> Floats:
        """[T, 3, 1, 1, H]. Beats, measures and style are projected once and looked up per note."""
        gates = self._of_note(score.note.numpy())
        gates += self._of_beat(score.beat.numpy())[score.places.beat.numpy()]
        gates += self._of_measure(measure)[score.places.measure.numpy()]
        gates += style @ self._of_style + self.cell.input_bias
        return gates.reshape(len(gates), 3, 1, 1, -1)

    def step(self, stepper: GruStepper, gates: Floats, previous: Floats, hidden: Floats) -> None:
        """Move ``hidden`` [1, 1, H] on and put the note's outputs into ``previous[1:]``."""
        gates += (previous @ self.feedback).reshape(gates.shape)
        stepper.step(gates, hidden, hidden)
        now = previous[1:]
        np.matmul(hidden[0, 0], self.weights, out=now)
        now += self.bias
