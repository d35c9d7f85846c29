"""The loss: the distance of the network's outputs from a performance, slice by slice.

Its parts are the level (mean tempo, mean loudness ...), the shape (Pearson's correlation within a slice, as
in the evaluation: Cancino-Chacón et al., Frontiers in Digital Humanities 5, 2018) and the spread. The mean
square error alone would fit the levels first and give flat performances where the model is uncertain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv1d
from torch.nn.utils.rnn import pad_sequence

from renderers.virtuosonet.features import BEAT_TEMPO, OUTPUT_KEYS
from renderers.virtuosonet.training.batches import Batch
from renderers.virtuosonet.training.forward import Outputs, Style

SHAPE = {
    "velocity": 2.0,
    "onset_deviation": 0.5,
    "articulation": 1.5,
    "pedal_refresh_time": 0.1,
    "pedal_cut_time": 0.1,
    "pedal_at_start": 0.75,
    "pedal_at_end": 0.75,
    "soft_pedal": 0.1,
    "pedal_refresh": 0.4,
    "pedal_cut": 0.4,
}
"""Output -> weight of its correlation."""
TEMPO_SHAPE, LOCAL_TEMPO_SHAPE = 1.5, 2.0
"""Weights of the correlations of beat tempo, and of beat tempo minus its mean over the surroundings."""
LOCAL_BEATS = 4
"""Beats on either side that are the surroundings of a beat."""
LEVEL, SPREAD, MEASURES = 0.5, 0.5, 0.5
"""Weights of the squared differences of means, of those of log standard deviations, and of those of the
outputs for measures."""
FLOOR, TEMPO_FLOOR = 0.01, 5e-4
"""Added to variances (of normalised outputs), so that slices without variation do not count. Tempo varies
much more between pieces than within; its floor corresponds to changes by a percent."""


@dataclass(frozen=True)
class Loss:
    """Parts of the loss, means over slices."""

    level: Tensor
    shape: Tensor
    spread: Tensor
    measures: Tensor
    divergence: Tensor
    """Of the style vectors from the standard normal distribution, in nats per slice."""

    def total(self, divergence_weight: float) -> Tensor:
        """Weighted sum."""
        return (
            LEVEL * self.level
            + self.shape
            + SPREAD * self.spread
            + MEASURES * self.measures
            + divergence_weight * self.divergence
        )


def loss(outputs: Outputs, batch: Batch, style: Style) -> Loss:
    """The loss of one pass over a batch."""
    weights = torch.tensor([SHAPE.get(key, 0.0) for key in OUTPUT_KEYS])
    slice_of_note = _slice_of(batch.note_counts)
    notes = _compare(outputs.notes, batch.target, batch.known, slice_of_note, len(batch.note_counts))
    tempo, tempo_target, tempo_known = _beat_tempos(outputs, batch)
    local, local_target = _local(tempo, tempo_target, tempo_known, batch.beat_counts)
    slice_of_beat, slices = _slice_of(batch.beat_counts), len(batch.beat_counts)
    beats = _compare(tempo, tempo_target, tempo_known, slice_of_beat, slices, TEMPO_FLOOR)
    near = _compare(local, local_target, tempo_known, slice_of_beat, slices, TEMPO_FLOOR)
    scale = weights.sum()
    shape = (weights * notes["shape"]).sum(1) + TEMPO_SHAPE * beats["shape"][:, 0]
    spread = (weights * notes["spread"]).sum(1) + TEMPO_SHAPE * beats["spread"][:, 0]
    return Loss(
        level=notes["level"].mean(1).mean() * scale,
        shape=(shape + LOCAL_TEMPO_SHAPE * near["shape"][:, 0]).mean(),
        spread=(spread + LOCAL_TEMPO_SHAPE * near["spread"][:, 0]).mean(),
        measures=_mean((outputs.measures - batch.measure_target) ** 2, batch.measure_known),
        divergence=_divergence(style, batch.of_mean),
    )


def _slice_of(counts: Sequence[int]) -> Tensor:
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def _compare(
    output: Tensor, target: Tensor, known: Tensor, slice_of: Tensor, slices: int, floor: float = FLOOR
) -> Mapping[str, Tensor]:
    """Level, shape and spread [S, columns] of outputs [R, columns], over the known rows."""
    mask = known[:, None].to(output.dtype)
    count = output.new_zeros(slices, 1).index_add(0, slice_of, mask).clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        total = values.new_zeros(slices, values.shape[1]).index_add(0, slice_of, values * mask)
        return total / count

    output_mean, target_mean = mean(output), mean(target)
    a, b = output - output_mean[slice_of], target - target_mean[slice_of]
    a_variance, b_variance = mean(a * a) + floor, mean(b * b) + floor
    correlation = mean(a * b) / (a_variance * b_variance).sqrt()
    return {
        "level": (output_mean - target_mean) ** 2,
        "shape": 1 - correlation,
        "spread": (a_variance / b_variance).log() ** 2 / 4,
    }


def _beat_tempos(outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """[B, 1] tempo of the outputs, [B, 1] of the target, and [B] whether that is known."""
    beat, beats = batch.groups.beat, batch.groups.beats
    first = torch.searchsorted(beat, torch.arange(beats))
    count = torch.zeros(beats).index_add(0, beat, batch.known.float())
    total = torch.zeros(beats).index_add(0, beat, batch.target[:, BEAT_TEMPO] * batch.known)
    target = (total / count.clamp(min=1))[:, None]
    return outputs.notes[first, BEAT_TEMPO : BEAT_TEMPO + 1], target, count > 0


def _local(output: Tensor, target: Tensor, known: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Both minus their means over the surrounding known beats of the slice."""
    kernel = torch.ones(1, 1, 2 * LOCAL_BEATS + 1)

    def around(rows: Tensor) -> Tensor:
        padded = pad_sequence(list(rows.split(list(counts))), batch_first=True)
        sums = conv1d(padded.transpose(1, 2), kernel, padding=LOCAL_BEATS).transpose(1, 2)
        return torch.cat([one[:count] for one, count in zip(sums, counts, strict=True)])

    mask = known[:, None].to(output.dtype)
    near = around(mask).clamp(min=1)
    return output - around(output * mask) / near, target - around(target * mask) / near


def _mean(values: Tensor, known: Tensor) -> Tensor:
    return (values.mean(dim=1) * known).sum() / known.sum().clamp(min=1)


def _divergence(style: Style, of_mean: Tensor) -> Tensor:
    """Mean over the slices that have a style."""
    each = (style.mean**2 + style.log_variance.exp() - 1 - style.log_variance).sum(dim=1) / 2
    return (each * ~of_mean).sum() / (~of_mean).sum().clamp(min=1)
