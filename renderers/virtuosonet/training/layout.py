"""The entries of a checkpoint in the published layout that are not tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from renderers.virtuosonet.features import COPY_SUFFIX, OUTPUT_KEYS, UNNORMALISED_COPIES, WIDTHS
from renderers.virtuosonet.network import OUTPUTS, NetworkSizes
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.training.examples import TrainingExample, statistics_of

MEASURE_DIMENSIONS = {"measure_tempo": 1, "measure_dynamics": 1}
DERIVED = {"beat_dynamics": "velocity", "measure_dynamics": "velocity", "measure_tempo": "beat_tempo"}
COPIES = {f"{name}{COPY_SUFFIX}": 1 for name in UNNORMALISED_COPIES}


def new_statistics(examples: Sequence[TrainingExample]) -> Statistics:
    """Statistics of the examples' features, in the order of the published checkpoint."""
    values = statistics_of(examples)
    return Statistics(
        mean={key: value["mean"] for key, value in values.items()},
        deviation={key: value["stds"] for key, value in values.items()},
        input_keys=tuple(WIDTHS),
    )


def statistics_section(statistics: Statistics) -> dict[str, Any]:
    """``stats`` of a checkpoint."""
    values = {key: {"mean": mean, "stds": statistics.deviation[key]} for key, mean in statistics.mean.items()}
    # The network's outputs for measures and beats are on the scale of the notes.
    for key, of_notes in DERIVED.items():
        values.setdefault(key, values[of_notes])
    return {
        "stats": values,
        "input_keys": statistics.input_keys,
        "output_keys": OUTPUT_KEYS,
        "measure_keys": tuple(MEASURE_DIMENSIONS),
        "key_to_dim": {
            "input": ranges({**{key: WIDTHS[key] for key in statistics.input_keys}, **COPIES}),
            "output": ranges(dict.fromkeys(OUTPUT_KEYS, 1)),
            "beat": ranges({"beat_tempo": 1, "beat_dynamics": 1}),
            "meas": ranges(MEASURE_DIMENSIONS),
        },
        "graph_keys": [],
    }


def input_width(statistics: Statistics) -> int:
    """Columns of the network's inputs."""
    return sum(WIDTHS[key] for key in statistics.input_keys) + len(COPIES)


def ranges(widths: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """The (start, end) columns of consecutive features."""
    ends = list(accumulate(widths.values()))
    return {key: (end - width, end) for (key, width), end in zip(widths.items(), ends, strict=True)}


def network_params(sizes: NetworkSizes) -> dict[str, Any]:
    """``network_params`` of a checkpoint; unused entries are those of the published file."""

    def part(size: int, layers: int) -> dict[str, int]:
        return {"size": size, "layer": layers, "input": 0, "margin": 0}

    return {
        "note_embedder_name": "MixEmbedder",
        "score_encoder_name": "HanGRUEncoder",
        "performance_encoder_name": "BaselineGRUEncoder",
        "residual_info_selector_name": "TempoVecMeasSelector",
        "performance_decoder_name": "HanGRUMeasNoteDecoder",
        "input_size": sizes.inputs,
        "output_size": OUTPUTS,
        "encoded_vector_size": sizes.style,
        "num_attention_head": sizes.heads,
        "note": part(sizes.note, sizes.note_layers),
        "voice": part(sizes.voice, sizes.voice_layers),
        "beat": part(sizes.beat, sizes.beat_layers),
        "measure": part(sizes.measure, sizes.measure_layers),
        "encoder": part(sizes.encoder, 2),
        "final": part(sizes.final, 1),
        "performance": {"size": sizes.performance},
        "meas_note": True,
        "is_baseline": False,
        "is_graph": False,
        "graph_keys": [],
        "drop_out": 0.2,
    }
