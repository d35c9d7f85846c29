"""Pianist Transformer's speed at full size with filled weights, beside a plain loop in the same run.

    python -m benchmarks.pianist_transformer [--threads 1] [--notes 549] [--played PERFORMANCE.mid]

The piece: Bach's prelude in C major, 549 notes, two windows. Weights are stored in bfloat16, as published.
The plain loop has the published structure: keys and values cached, a pass and all logits per token, float32
products of PyTorch; it plays the first ``--plain-notes`` notes. ``--played``: a performance whose tokens the
draws return, for a pedal as pianists use it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from adapters.pianist_transformer import read_config, read_weights
from renderers.pianist_transformer import network as networks
from renderers.pianist_transformer.generation import Noise, Sampling, choose, generate
from renderers.pianist_transformer.midi import in_milliseconds, read_midi
from renderers.pianist_transformer.network import EMBEDDING, PianistTransformer, shapes
from renderers.pianist_transformer.score import score_notes
from renderers.pianist_transformer.tokens import BOS, NOTE_TOKENS, PEDAL, RANGES, VOCABULARY, encode
from renderers.pianist_transformer.windows import windows, without_remade
from score_to_audio.formats.scores.reader import read_score
from tests.parity.golden_files import REPOSITORY, golden_values

PUBLISHED = 3.7
"""Notes per second of the published program on one thread, float32 (fact sheet, section 8)."""
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 128,
}
PIECE = REPOSITORY / "examples/scores/bach_prelude_bwv846.musicxml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--notes", type=int, default=549)
    parser.add_argument("--plain-notes", type=int, default=32)
    parser.add_argument("--played", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    score = torch.from_numpy(encode(*score_notes(read_score(PIECE).parsed, 1.0)))[: arguments.notes]
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = write_checkpoint(Path(folder))
        print(f"{'':<34}{'notes':>6}{'s':>8}{'notes/s':>9}{'published x':>12}{'plain x':>9}{'load':>6}")
        with plain_products():
            plain = load(path, torch.float32)
        few = score[: arguments.plain_notes]
        base = row("plain loop, float32", len(few), lambda: plain_loop(plain, few))
        for dtype in (torch.float32, torch.bfloat16):
            model = load(path, dtype)
            row(f"ours, {dtype}".replace("torch.", ""), len(few), lambda m=model: ours(m, few), base)
            row(f"ours, {dtype}".replace("torch.", ""), len(score), lambda m=model: ours(m, score), base)
            if arguments.played:
                played = performance_tokens(arguments.played)
                label = f"ours, {dtype}, drawn as played".replace("torch.", "")
                row(label, len(played), lambda m=model, p=played: replay(m, p), base)


def row(label: str, notes: int, work: Any, base: float | None = None) -> float:
    """Prints and returns notes per second of processor time: the better of two runs."""
    seconds = []
    for _ in range(2):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    rate = notes / min(seconds)
    relative = "" if base is None else f"{rate / base:.1f}"
    print(
        f"{label:<34}{notes:>6}{min(seconds):>8.1f}{rate:>9.1f}{rate / PUBLISHED:>12.1f}{relative:>9}"
        f"{os.getloadavg()[0]:>6.1f}",
        flush=True,
    )
    return rate


def write_checkpoint(folder: Path) -> Path:
    config = {
        "encoder": SIZES | {"num_hidden_layers": 10},
        "decoder": SIZES | {"num_hidden_layers": 2},
    }
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {
        name: torch.from_numpy(golden_values(name, shape, "open")).bfloat16()
        for name, shape in shapes(read_config(folder / "config.json")).items()
    }
    tensors[EMBEDDING] *= 0.5
    save_file(tensors, folder / "model.safetensors")
    return folder / "model.safetensors"


def load(path: Path, dtype: torch.dtype) -> PianistTransformer:
    config = read_config(path.with_name("config.json"))
    return PianistTransformer(config, read_weights(path, config), dtype, "cpu")


def noise() -> Noise:
    generator = torch.Generator().manual_seed(0)
    return lambda _window, _token, first, end: torch.empty(1, end - first).exponential_(generator=generator)


def ours(model: PianistTransformer, score: Tensor) -> None:
    plan = without_remade(windows(score.numel(), 4096, 0.5))
    generate(model, score.flatten()[None], plan, Sampling(), noise())


@contextmanager
def plain_products() -> Iterator[None]:
    def plain(weight: Tensor, bias: Tensor | None, dtype: torch.dtype, device: str) -> Any:
        weight = weight.to(device, dtype)
        return lambda rows: functional.linear(rows, weight, bias)

    with patch.object(networks, "PackedLinear", plain):
        yield


def plain_loop(model: PianistTransformer, score: Tensor) -> None:
    draw = noise()
    encoded = model.encoder(score[None])
    memory = model.decoder.memory(encoded, 1 + score.numel())
    token = torch.tensor([[BOS]])
    for place, forced in enumerate(score.flatten()):
        states = model.decoder(token, memory, 1)[:, 0]
        logits = torch.cat(
            [model.decoder.logits(states, *ids) for ids in networks.pairwise(networks.KINDS)], 1
        )
        first, end = RANGES[place % NOTE_TOKENS]
        allowed = torch.full_like(logits, -torch.inf)
        allowed[:, first:end] = logits[:, first:end]
        token = choose(allowed, Sampling(), lambda: draw(0, 0, 0, VOCABULARY))[None]
        if place % NOTE_TOKENS == 0:
            token = forced[None, None]


def performance_tokens(path: Path) -> Tensor:
    """With pedals up or down, as the network is trained to play them."""
    played = torch.from_numpy(encode(*in_milliseconds(read_midi(path.read_bytes()))))
    played[:, 4:] = torch.where(played[:, 4:] >= PEDAL + 64, PEDAL + 127, PEDAL)
    return played


def replay(model: PianistTransformer, played: Tensor) -> None:
    """Draws as usual, but takes the tokens of the performance."""
    plan = without_remade(windows(played.numel(), 4096, 0.5))
    tokens = iter([(id_, index % NOTE_TOKENS) for index, id_ in enumerate(played.flatten().tolist())])

    def take(logits: Tensor, sampling: Sampling, draw: Any) -> Tensor:
        choose(logits, sampling, draw)
        token, place = next(tokens)
        while place == 0:
            token, place = next(tokens)
        return torch.tensor([token - RANGES[place][0]])

    with patch("renderers.pianist_transformer.generation.choose", take):
        made = generate(model, played.flatten()[None], plan, Sampling(), noise())
    assert torch.equal(made.tokens, played.flatten()[None])


if __name__ == "__main__":
    main()
