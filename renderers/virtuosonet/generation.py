"""The autoregressive decoder: performance features from an encoded score and a style vector.

Jeong et al., ISMIR 2019, section 4.3. Contributions that do not depend on earlier outputs are computed by one
matrix product for all steps; a step multiplies the hidden state and the few previous outputs only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from renderers.virtuosonet.network import (
    MEASURE_OUTPUTS,
    OUTPUTS,
    ContextAttention,
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


class PerformanceGenerator:
    """A decoder with constant weights, prepared for generation on the CPU."""

    def __init__(self, decoder: PerformanceDecoder) -> None:
        sizes = decoder.sizes
        rnn = decoder.measure_decoder.rnn
        self._style = decoder.style_vector_expandor
        self._measures = _FeedbackGru(
            rnn, decoder.measure_decoder.fc, rnn.input_size - MEASURE_OUTPUTS, MEASURE_OUTPUTS
        )
        rnn = decoder.beat_tempo_forward
        before_feedback = rnn.input_size - OUTPUTS - sizes.encoder
        self._tempos = _FeedbackGru(rnn, decoder.beat_tempo_fc, before_feedback, OUTPUTS)
        self._attention = _BeatAttention(decoder.result_for_tempo_attention)
        rnn = decoder.output_lstm
        before_feedback = rnn.input_size - OUTPUTS - sizes.encoder
        self._notes = _FeedbackGru(rnn, decoder.fc, before_feedback, OUTPUTS)
        widths = (2 * (sizes.note + sizes.voice), 2 * sizes.beat, 2 * sizes.measure + MEASURE_OUTPUTS)
        *of_score, self._of_style = np.split(self._notes.cell.input_weights, np.cumsum(widths))
        self._of_note, self._of_beat, self._of_measure = (product(weights) for weights in of_score)

    @torch.inference_mode()
    def __call__(self, score: EncodedScore, residuals: Tensor, z: Tensor) -> DecoderOutputs:
        """A performance in the style ``z`` [style]; ``residuals`` from ``residual_info``. Deterministic."""
        style = self._style(z).numpy()
        with np.errstate(over="ignore"):  # see GruStepper
            measures = self._generate_measures(score.measure.numpy(), style, residuals.numpy())
            measure = np.concatenate([score.measure.numpy(), measures], axis=1)
            notes = self._generate_notes(score, measure, style)
        return DecoderOutputs(notes, measures, style)

    def _generate_measures(self, measure: Floats, style: Floats, residuals: Floats) -> Floats:
        """[M, 2] tempo and velocity of measures, each from those of the measure before."""
        inputs = np.concatenate([measure, np.tile(style, (len(measure), 1)), residuals], axis=1)
        step = self._measures.start()
        outputs = np.zeros((len(measure), MEASURE_OUTPUTS), np.float32)
        previous = np.zeros(MEASURE_OUTPUTS, np.float32)
        for index, gates in enumerate(self._measures.cell.project(inputs)):
            outputs[index] = previous = step(gates, previous)
        return outputs

    def _generate_notes(self, score: EncodedScore, measure: Floats, style: Floats) -> Floats:
        """[T, 11] a beat's tempo from the outputs of the beat before, a note's other outputs from those of
        the note before and the tempo of its beat."""
        beat_of_note, measure_of_note = score.groups.beat.numpy(), score.groups.measure.numpy()
        starts = np.flatnonzero(np.diff(beat_of_note, prepend=-1))
        beat_inputs = (score.beat.numpy(), measure[measure_of_note[starts]], np.tile(style, (len(starts), 1)))
        tempo_gates = self._tempos.cell.project(np.concatenate(beat_inputs, axis=1))
        note_gates = self._note_gates(score, measure, style)
        step_tempo, step_note = self._tempos.start(), self._notes.start()
        outputs = np.zeros((len(beat_of_note), OUTPUTS), np.float32)
        previous = np.zeros(OUTPUTS, np.float32)
        before = 0
        for beat, (start, end) in enumerate(pairwise([*starts.tolist(), len(outputs)])):
            summary = self._attention(outputs[before : max(start, 1), 1:])
            previous[0] = step_tempo(tempo_gates[beat], np.concatenate([previous[:1], summary]))[0]
            for note in range(start, end):
                previous[1:] = step_note(note_gates[note], previous)
                outputs[note] = previous
            before = start
        return outputs

    def _note_gates(self, score: EncodedScore, measure: Floats, style: Floats) -> Floats:
        """[T, 3 H]. Beats, measures and style are projected once and indexed per note."""
        gates = self._of_note(score.note.numpy())
        gates += self._of_beat(score.beat.numpy())[score.groups.beat.numpy()]
        gates += self._of_measure(measure)[score.groups.measure.numpy()]
        gates += style @ self._of_style + self._notes.cell.input_bias
        return gates


class _FeedbackGru:
    """A GRU with a linear output layer; ``count`` of its inputs from ``first`` on are earlier outputs."""

    def __init__(self, rnn: nn.GRU, linear: nn.Linear, first: int, count: int) -> None:
        self.cell, self._feedback = gru_cell(rnn).split_inputs(first, count)
        self._weights, self._bias = _linear(linear)

    def start(self) -> Callable[[Floats, Floats], Floats]:
        """A step function with a hidden state of its own: the gates' contributions [3 H] (overwritten) and
        the earlier outputs -> outputs."""
        stepper, hidden = GruStepper([self.cell]), np.zeros((1, 1, self.cell.size), np.float32)

        def step(gates: Floats, previous: Floats) -> Floats:
            gates += previous @ self._feedback
            stepper.step(gates.reshape(3, 1, 1, -1), hidden, hidden)
            outputs: Floats = hidden[0, 0] @ self._weights + self._bias
            return outputs

        return step


class _BeatAttention:
    """``ContextAttention`` with one head over the outputs of a beat's notes."""

    def __init__(self, attention: ContextAttention) -> None:
        self._weights, self._bias = _linear(attention.attention_net)
        self._context: Floats = attention.context_vector.detach().numpy().reshape(-1)

    def __call__(self, outputs: Floats) -> Floats:
        """[n, 10] -> [10]"""
        similarity = np.tanh(outputs @ self._weights + self._bias) @ self._context
        similarity[outputs.sum(axis=1) == 0] = MASKED
        weights = np.exp(similarity - similarity.max())
        summary: Floats = (weights / weights.sum()) @ outputs
        return summary


def _linear(layer: nn.Linear) -> tuple[Floats, Floats]:
    """(weights [inputs, outputs], bias)"""
    return np.ascontiguousarray(layer.weight.detach().numpy().T), layer.bias.detach().numpy()
