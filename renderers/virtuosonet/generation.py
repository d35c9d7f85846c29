"""The autoregressive decoder: performance features from an encoded score and a style vector.

Jeong et al., ISMIR 2019, section 4.3. Contributions that do not depend on earlier outputs are computed by one
matrix product for all steps; a step multiplies the hidden state and the few previous outputs only.
"""

from __future__ import annotations

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
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.recurrence import Floats, GruStepper, gru_cell, product

MASKED = -1e10
"""Similarity of outputs that are exactly zero, which masks them in the attention."""


@dataclass(frozen=True)
class DecoderOutputs:
    """The outputs of the decoder, normalised."""

    notes: Floats
    """[T, 11]; columns as ``features.OUTPUT_KEYS``."""
    measures: Floats
    """[M, 2] tempo and velocity of the measures."""
    style: Floats
    """[encoder] the style vector, expanded."""


def residual_info(inputs: Tensor, statistics: Statistics, measures: int) -> Tensor:
    """[M, 8] inputs of the measure decoder, taken from the normalised features [T, columns]: tempo columns of
    the first note, and the tempo words of note number m (meant was the first note of measure m, but the
    weights were trained with this)."""
    of_piece = [*statistics.columns("qpm_primo"), *statistics.columns("tempo_primo")]
    note = torch.arange(measures).clamp(max=len(inputs) - 1)
    words = inputs[note][:, list(statistics.columns("tempo"))]
    return torch.cat([inputs[0, of_piece].expand(measures, -1), words], dim=1)


def _linear(layer: nn.Linear) -> tuple[Floats, Floats]:
    return np.ascontiguousarray(layer.weight.detach().numpy().T), layer.bias.detach().numpy()


class PerformanceGenerator:
    """A decoder with constant weights, prepared for generation on the CPU."""

    def __init__(self, decoder: PerformanceDecoder) -> None:
        self._style = decoder.style_vector_expandor
        self._measures = _MeasureWeights(decoder)
        self._tempos = _TempoWeights(decoder)
        self._notes = _NoteWeights(decoder)

    @torch.inference_mode()
    def __call__(self, score: EncodedScore, residuals: Tensor, z: Tensor) -> DecoderOutputs:
        """A performance in the style ``z`` [style]; ``residuals`` from ``residual_info``. Deterministic."""
        style = self._style(z).numpy()
        with np.errstate(over="ignore"):  # see GruStepper
            measures = self._measures.generate(score.measure.numpy(), style, residuals.numpy())
            measure = np.concatenate([score.measure.numpy(), measures], axis=1)
            notes = self._generate_notes(score, measure, style)
        return DecoderOutputs(notes, measures, style)

    def _generate_notes(self, score: EncodedScore, measure: Floats, style: Floats) -> Floats:
        """[T, 11]"""
        beat_of_note, measure_of_note = score.groups.beat.numpy(), score.groups.measure.numpy()
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
    """The decoder of measures: tempo and velocity, from those of the measure before."""

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
    """The decoder of beats: the tempo, from the outputs of the beat before."""

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
        """[10] attention over the outputs of the notes of a beat [n, 10]."""
        similarity = np.tanh(played @ self.attention_weights + self.attention_bias) @ self.context
        similarity[played.sum(axis=1) == 0] = MASKED
        weights = np.exp(similarity - similarity.max())
        summary: Floats = (weights / weights.sum()) @ played
        return summary

    def step(self, stepper: GruStepper, gates: Floats, previous: Floats, hidden: Floats) -> None:
        """Update ``hidden`` [1, 1, H] in place; ``previous`` [11]: tempo and summary of the beat before."""
        gates += (previous @ self.feedback).reshape(gates.shape)
        stepper.step(gates, hidden, hidden)

    def tempo(self, hidden: Floats) -> np.float32:
        return np.float32((hidden[0, 0] @ self.weights + self.bias)[0])


class _NoteWeights:
    """The decoder of notes: the ten other outputs, from those of the note before and the tempo of its
    beat."""

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
        """[T, 3, 1, 1, H]. Beats, measures and style are projected once and indexed per note."""
        gates = self._of_note(score.note.numpy())
        gates += self._of_beat(score.beat.numpy())[score.groups.beat.numpy()]
        gates += self._of_measure(measure)[score.groups.measure.numpy()]
        gates += style @ self._of_style + self.cell.input_bias
        return gates.reshape(len(gates), 3, 1, 1, -1)

    def step(self, stepper: GruStepper, gates: Floats, previous: Floats, hidden: Floats) -> None:
        """Update ``hidden`` [1, 1, H] and ``previous[1:]``, the note's outputs, in place."""
        gates += (previous @ self.feedback).reshape(gates.shape)
        stepper.step(gates, hidden, hidden)
        now = previous[1:]
        np.matmul(hidden[0, 0], self.weights, out=now)
        now += self.bias
