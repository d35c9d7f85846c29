"""VirtuosoNet's network by whole GRU steps of PyTorch, one voice after the other.

To compare results with, and times: the published code computes in this way.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from renderers.virtuosonet.network import EncodedScore, VirtuosoNetwork
from renderers.virtuosonet.recurrence import torch_gru


def plain_gru(gru: nn.GRU, inputs: Tensor, sequences: Sequence[Tensor] | None = None) -> Tensor:
    """``RunGru``, one sequence after the other."""
    if sequences is None:
        return torch_gru(gru, inputs)
    result = inputs.new_empty(len(inputs), 2 * gru.hidden_size)
    for rows in sequences:
        result[rows] = torch_gru(gru, inputs[rows])
    return result


@torch.inference_mode()
def plain_generation(network: VirtuosoNetwork, score: EncodedScore, residuals: Tensor, z: Tensor) -> Tensor:
    """[T, 11]"""
    decoder, where = network.performance_decoder, score.groups
    style = decoder.style_vector_expandor(z)
    measures, previous, state = [], torch.zeros(2), None
    for m in range(where.measures):
        step = torch.cat([score.measure[m], style, residuals[m], previous])
        output, state = decoder.measure_decoder.rnn(step[None, None], state)
        previous = decoder.measure_decoder.fc(output[0, 0])
        measures.append(torch.cat([score.measure[m], previous]))
    attention = decoder.result_for_tempo_attention
    rows: list[Tensor] = []
    note, start = score.note, 0
    now, state, tempo_state = torch.zeros(11), None, None
    beats = where.beat.tolist()
    for i, (beat, measure) in enumerate(zip(beats, where.measure.tolist(), strict=True)):
        context = [score.beat[beat], measures[measure]]
        if i == 0 or beat != beats[i - 1]:
            summary = torch.zeros(10)
            if i:
                played = torch.stack(rows[start:])[:, 1:]
                summary = (torch.softmax(attention.similarity(played), dim=0) * played).sum(0)
            step = torch.cat([*context, now[:1], summary, style])
            output, tempo_state = decoder.beat_tempo_forward(step[None, None], tempo_state)
            now = torch.cat([decoder.beat_tempo_fc(output[0, 0]), now[1:]])
            start = i
        step = torch.cat([note[i], *context, now, style])
        output, state = decoder.output_lstm(step[None, None], state)
        now = torch.cat([now[:1], decoder.fc(output[0, 0])])
        rows.append(now)
    return torch.stack(rows)
