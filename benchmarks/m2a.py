"""M2A: speed at full size, differences between the two ways of drawing dropout masks, losses of piano rolls.

    python -m benchmarks.m2a [--device cuda] [--threads 1]
    python -m benchmarks.m2a --masks
    python -m benchmarks.m2a --losses FOLDER

Speed is for one full segment (800 frames of piano roll, 201 decoder steps, 9.65 s of sound) with arbitrary
weights; on a CPU, times are processor time, because the official figures were taken on a shared machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from adapters.m2a import TAIL, notes_of, vocoder
from score_to_audio.errors import InputError
from score_to_audio.formats.midi import read_performance
from score_to_audio.seeding import generator
from synthesizers.m2a import decoding, official, piano_roll
from synthesizers.m2a.network import AcousticConfig, AcousticModel
from synthesizers.m2a.training.forward import teacher_forced
from synthesizers.vocoders.hifigan import HifiGan, HifiGanConfig
from tests.parity.golden_files import fill

STEPS = 201
SOUND = STEPS * 4 * 288 / 24000
"""Seconds of sound of a full segment."""
OFFICIAL_DECODING, OFFICIAL_VOCODER = 3.4, 3.2
"""Seconds of processor time per full segment, one thread, float32 (fact sheet, section 8: medians of 3)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--masks", action="store_true", help="compare the two ways of drawing masks")
    parser.add_argument("--losses", type=Path, help="folder with performance MIDI files")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.losses:
        print_losses(given.losses)
    elif given.masks:
        print_mask_statistics()
    else:
        with torch.inference_mode():
            print_speed(given.device)


# ---------------------------------------------------------------------------------------------- speed


def print_speed(device: str) -> None:
    model = filled(AcousticModel(AcousticConfig())).to(device)
    roll = torch.rand(1, STEPS, 128, generator=torch.Generator().manual_seed(0)).to(device)
    memory = model.memory(roll)[0]
    spectrum = torch.randn(STEPS * 4, 128, generator=torch.Generator().manual_seed(0)).to(device)
    clock = time.process_time if device == "cpu" else time.perf_counter

    def seconds(work: Callable[[], object], repeats: int = 3) -> float:
        times = []
        for _ in range(repeats):
            started = clock()
            work()
            if device != "cpu":
                torch.cuda.synchronize()
            times.append(clock() - started)
        return statistics.median(times)

    def cached(segments: int, redraw: decoding.Redraw) -> float:
        return seconds(lambda: decode(model, memory, redraw, range(segments))) / segments

    normed = torch.nn.utils.parametrizations.weight_norm
    plain = HifiGan(HifiGanConfig()).requires_grad_(False).to(device)
    for module in list(plain.modules()):
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            normed(module)
    print(f"one full segment, {SOUND:.2f} s of sound, {device}, {torch.get_num_threads()} thread(s)")
    plain_decoding = seconds(lambda: decode_plainly(model, memory), 1)
    plain_vocoder = seconds(lambda: plain(spectrum.t()[None]))
    fast = vocoder(filled(HifiGan(HifiGanConfig())), device)
    vocoding = seconds(lambda: fast(spectrum))
    rows = [
        ("official (recorded elsewhere)", OFFICIAL_DECODING, OFFICIAL_VOCODER),
        ("the same work, here", plain_decoding, plain_vocoder),
        ("dropout=step, 4 segments at once", cached(4, "step"), vocoding),
        ("dropout=frame, 1 segment", cached(1, "frame"), vocoding),
        ("dropout=frame, 16 segments at once", cached(16, "frame"), vocoding),
    ]
    print(
        f"{'seconds':<36}{'decoding':>10}{'vocoder':>9}{'both':>8}{'times plain':>13}{'times real time':>17}"
    )
    reference = plain_decoding + plain_vocoder
    for name, first, second in rows:
        both = first + second
        print(
            f"{name:<36}{first:>10.2f}{second:>9.2f}{both:>8.2f}{reference / both:>13.2f}"
            f"{SOUND / both:>17.1f}"
        )


Network = TypeVar("Network", AcousticModel, HifiGan)


def filled(network: Network) -> Network:
    fill(network, "open")
    return network.eval().requires_grad_(False)


def decode(
    model: AcousticModel, memory: Tensor, redraw: decoding.Redraw, segments: range
) -> list[decoding.Decoded]:
    """The same segment with the masks of several."""
    steps, count = len(memory), len(segments)
    generators = [generator(0, index) for index in segments]
    masks = decoding.drawn_masks(model.config, generators, [steps] * count, redraw)
    limits = [decoding.StepLimits(steps, steps)] * count
    return decoding.decode(model, [memory] * count, masks, limits, redraw=redraw)


def decode_plainly(model: AcousticModel, memory: Tensor) -> Tensor:
    """The work of the published decoder (fact sheet, sections 3 and 8): layer outputs are kept, but all keys
    and values, of the prefix and of the memory, are computed anew at every step."""
    config, layers = model.config, model.decoder.layers()
    inputs = memory.new_zeros(1, STEPS + 1, config.feature_bins)
    outputs = [memory.new_zeros(1, 0, config.width) for _ in layers]
    p = config.prenet_dropout
    for step in range(1, STEPS + 1):
        shape = (1, step, config.prenet_units)
        masks = [
            (torch.rand(shape, device=memory.device) >= p) / (1 - p) for _ in range(config.prenet_layers)
        ]
        x = model.decoder.embedded(inputs[:, :step], masks)
        for index, layer in enumerate(layers):
            newest, _ = layer(x[:, -1:], layer.keys_values(x), layer.src_attn.keys_values(memory[None]))
            outputs[index] = x = torch.cat([outputs[index], newest], dim=1)
        last = model.decoder.after_norm(x[:, -1])
        inputs[:, step] = model.feat_out(last).unflatten(1, (config.reduction_factor, -1))[:, -1]
        torch.sigmoid(model.prob_out(last))
    return model.postnet(inputs)


# ---------------------------------------------------------------------------------- the masks' statistics

SEEDS = 64
"""Per way of drawing masks."""


def print_mask_statistics() -> None:
    """Differences between decodings with masks drawn in both ways, and between two sets drawn in one way."""
    print(
        f"{SEEDS} decodings each; differences of means in standard errors, root mean square (1: chance alone)"
    )
    print(f"{'':<16}{'spread':>8}{'means':>8}{'deviations':>12}{'lag 1':>8}{'lag 4':>8}{'p < 0.05':>10}")
    print_differences(filled(AcousticModel(AcousticConfig())), example_roll(STEPS - 1))
    model, roll, target = trained_model()
    print(f"trained on a toy piano, root mean square errors (of a constant: {float(target.std()):.4f})")
    with torch.inference_mode():
        frame, step = (sampled(model, roll, redraw, range(SEEDS)) for redraw in ("frame", "step"))
    for name, spectra in (("frame", frame), ("step", step)):
        error = float((spectra - target).square().mean().sqrt())
        print(f"masks per {name}: {error:.4f}, deviation among masks {float(spectra.std(0).mean()):.1e}")
    print(f"largest difference of the mean spectra: {float((frame.mean(0) - step.mean(0)).abs().max()):.1e}")


def print_differences(model: AcousticModel, roll: NDArray[np.float32]) -> None:
    with torch.inference_mode():
        frame = sampled(model, roll, "frame", range(SEEDS))
        step = sampled(model, roll, "step", range(SEEDS))
        again = sampled(model, roll, "step", range(SEEDS, 2 * SEEDS))
    for label, one, other in (("frame and step", frame, step), ("step and step", again, step)):
        print(f"{label:<16}{differences(one, other)}")


def sampled(model: AcousticModel, roll: NDArray[np.float32], redraw: decoding.Redraw, seeds: range) -> Tensor:
    """[seeds, frames, bands]"""
    memory = model.memory(torch.from_numpy(roll)[None])[0]
    batches = [seeds[first : first + 16] for first in range(0, len(seeds), 16)]
    return torch.stack([one.frames for batch in batches for one in decode(model, memory, redraw, batch)])


def differences(one: Tensor, other: Tensor) -> str:
    """Of two samples [seeds, frames, bands]: spread among masks relative to that in time, differences of
    means, deviations and correlations in time, and the part of significant t-tests."""
    from scipy.stats import ttest_ind

    z = (one.mean(0) - other.mean(0)) / torch.sqrt((one.var(0) + other.var(0)) / len(one))
    ratio = float((one.std(0) / other.std(0)).median())
    lags = [correlation(one, lag) - correlation(other, lag) for lag in (4, 16)]  # 1 and 4 decoder steps
    rejected = float((ttest_ind(one.numpy(), other.numpy()).pvalue < 0.05).mean())
    means = float(z.square().mean().sqrt())
    spread = float(one.std(0).mean() / one.mean(0).std(0).mean())
    return f"{spread:>8.3f}{means:>8.3f}{ratio:>12.3f}{lags[0]:>+8.3f}{lags[1]:>+8.3f}{rejected:>10.3f}"


def correlation(spectra: Tensor, lag: int) -> float:
    """Of the masks' effects on a frame and on a later one."""
    deviation = (spectra - spectra.mean(0)) / spectra.std(0)
    return float((deviation[:, :-lag] * deviation[:, lag:]).mean())


def example_roll(cells: int, seed: int = 0) -> NDArray[np.float32]:
    """Encoder input of random notes, about four at a time."""
    random = np.random.default_rng(seed)
    roll = np.zeros((cells, 128), np.int64)
    for start in range(0, cells, 3):
        roll[start : start + int(random.integers(2, 20)), random.integers(30, 100)] = random.integers(30, 110)
    return piano_roll.encoder_input(roll)


def trained_model(batches: int = 1600) -> tuple[AcousticModel, NDArray[np.float32], Tensor]:
    """A small model with the published dropout, trained on a toy piano by teacher forcing; a roll, its truth.

    The masks' effect on an untrained decoder says little about one that was trained with them. The decoder's
    source attention starts at the cell of its own time, which would take long to learn.
    """
    torch.manual_seed(0)
    model = AcousticModel(
        replace(
            AcousticConfig(), width=128, encoder_layers=2, encoder_units=256, decoder_layers=2,
            decoder_units=256, postnet_layers=2, postnet_channels=64,
        )
    )  # fmt: skip
    config = model.config
    for layer in model.decoder.layers():
        for projection in (layer.src_attn.linear_q, layer.src_attn.linear_k):
            projection.weight.data = 1.5 * torch.eye(config.width)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=batches, pct_start=0.1)
    cells, size = 24, 16
    for batch in range(batches):
        rolls = np.stack([example_roll(cells, batch * size + index) for index in range(size)])
        target = torch.from_numpy(np.stack([toy_piano(roll) for roll in rolls]))
        rows = (size, cells + 1, config.prenet_units)
        p = config.prenet_dropout
        masks = [(torch.rand(rows) >= p).float() / (1 - p) for _ in range(config.prenet_layers)]
        memory = model.memory(torch.from_numpy(rolls))
        before, _, _ = teacher_forced(model, memory, target, masks)
        after = model.postnet(before)
        loss = 10 * (functional.mse_loss(after, target) + functional.mse_loss(before, target))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if batch % 400 == 0:
            print(f"  training: batch {batch}, loss {float(loss.detach()):.3f}", flush=True)
    roll = example_roll(cells, 10**6)
    return model.eval().requires_grad_(False), roll, torch.from_numpy(toy_piano(roll))


def toy_piano(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Encoder input [T + 1, 128] -> spectrum [4 (T + 1), 128]: each key decays, fast when it is not held, and
    sounds on its own band and those of its second and third partials."""
    struck = np.maximum(np.repeat(rows, 4, axis=0), 0)
    level = np.zeros_like(struck)
    state = np.zeros(128, np.float32)
    before = np.zeros(128, np.float32)
    for frame, now in enumerate(struck):
        state = np.where((now > 0) & (before == 0), now, state * np.where(now > 0, 0.98, 0.6))
        level[frame], before = state, now
    sound = level + 0.5 * np.roll(level, 12, axis=1) + 0.25 * np.roll(level, 19, axis=1)
    return np.log10(sound + 0.01).astype(np.float32) + 1.5


# ------------------------------------------------------------------------------------- the rolls' losses


def print_losses(folder: Path) -> None:
    """Per file: notes, and the onsets that the published and the default roll do not show."""
    print(f"{'notes':>7}{'vanish':>8}{'merge':>7}{'':>4}{'vanish':>8}{'merge':>7}")
    print(f"{'':>7}{'(published roll)':>15}{'':>4}{'(default roll)':>15}")
    totals = np.zeros(5, np.int64)
    for path in sorted([*folder.rglob("*.mid"), *folder.rglob("*.midi")]):
        if path.stem == "midi_score":  # the ASAP dataset's scores
            continue
        try:
            performance = read_performance(path)
        except InputError:
            continue
        notes = notes_of(performance)
        published = official.piano_roll(notes, performance.end)[:: piano_roll.FRAMES_PER_CELL]
        default = piano_roll.piano_roll(notes, performance.end + TAIL)
        old, new = piano_roll.losses(published, notes), piano_roll.losses(default, notes)
        row = np.array([old.notes, old.vanished, old.merged, new.vanished, new.merged])
        totals += row
        print(_losses(row), path.relative_to(folder))
    print(_losses(totals), "all")
    print("".join(f"{100 * count / totals[0]:.2f} % " for count in totals[1:]))


def _losses(row: NDArray[np.int64]) -> str:
    return f"{row[0]:>7}{row[1]:>8}{row[2]:>7}{'':>4}{row[3]:>8}{row[4]:>7}  "


if __name__ == "__main__":
    main()
