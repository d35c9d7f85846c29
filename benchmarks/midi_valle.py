"""Speed of MIDI-VALLE and Piano-Encodec at full size, and what bfloat16 changes.

    python -m benchmarks.midi_valle [--device cuda] [--threads 2] [--seconds 180] [--parts chain,single,...]

The weights are filled by the rule of the recordings: speed does not depend on them, and segments have the
lengths that the performance needs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from adapters.codec import decode_stream
from score_to_audio.formats.audio import write_audio
from score_to_audio.packed_linear import PackedLinear
from synthesizers.codecs.encodec import Codec, CodecConfig, remove_weight_norm
from synthesizers.midi_valle.decoder_batch import decoder_batch
from synthesizers.midi_valle.decoding import DecodingRequest, first_codebooks, sampler
from synthesizers.midi_valle.layers import DTYPES, Precision, Transformer
from synthesizers.midi_valle.network import MidiValle, MidiValleConfig
from synthesizers.midi_valle.sampling import Sampling
from synthesizers.midi_valle.segments import segment_requests
from synthesizers.midi_valle.tokens import NoteArray
from tests.parity.reference.midi_valle import filled_weights, model_of

PROMPT_FRAMES = 150
FRAME_RATE = 50
NOTES = 220
"""Rows of a segment's notes, those of the prompt included."""
POSITIONS = NOTES + PROMPT_FRAMES + 400
"""Of a sequence in the middle of its segment."""
NOTES_PER_SECOND = 10
"""Of the performance: that of the Bach fugue on which the published program was timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=180.0, help="of the performance in the whole chain")
    parser.add_argument("--segment", type=float, default=16.0, help="seconds per segment")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=200, help="in the part single")
    parser.add_argument("--precision", default="bfloat16", choices=["bfloat16", "float32"], help="in chain")
    parser.add_argument("--parts", default="single,chain,codec,invariance,deviation", help=", ".join(PARTS))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.device}, {arguments.threads} threads")
    for name in arguments.parts.split(","):
        PARTS[name](arguments)


# ------------------------------------------------------------------------------------------- the parts


def single(arguments: argparse.Namespace) -> None:
    """One segment, float32: frames per second of the first codebook, early and late in a segment."""
    model = filled_model("float32", arguments.device)
    for earlier in (0, 700):
        request = random_request(0, model, frames=arguments.frames, prompt_frames=PROMPT_FRAMES + earlier)
        times = [now(arguments.device)]
        list(
            first_codebooks(
                model,
                [request],
                sampler(Sampling()),
                batch_size=1,
                on_frames=lambda _, times=times: times.append(now(arguments.device)),  # type: ignore[misc]
            )
        )
        reading, *steps = np.diff(times)
        print(
            f"float32, one segment, {earlier} frames in: {1 / np.median(steps):.1f} frames/s "
            f"({np.median(steps) * 1e3:.1f} ms each), notes and prompt read in {reading:.2f} s"
        )


def chain(arguments: argparse.Namespace) -> None:
    """Everything from notes to a WAV file, for a performance of some minutes."""
    model, codec = filled_model(arguments.precision, arguments.device), random_codec(arguments.device)
    notes, prompt_notes = random_notes(arguments.seconds), random_notes(2.9)
    prompt = torch.randint(0, 2048, (PROMPT_FRAMES, 4), generator=Generator().manual_seed(0))
    times = {"start": (now(arguments.device), time.process_time())}

    def lap(name: str) -> None:
        times[name] = now(arguments.device), time.process_time()

    segments = segment_requests(
        notes,
        prompt_notes,
        PROMPT_FRAMES,
        FRAME_RATE,
        segment_length=arguments.segment,
        continuation=False,
    )
    requests = [
        DecodingRequest(
            torch.from_numpy(segment.tokens).to(model.device),
            prompt.to(model.device),
            Generator().manual_seed(index),
            segment.min_frames,
            segment.max_frames,
        )
        for index, segment in enumerate(segments)
    ]
    lap("segments")
    firsts = dict(first_codebooks(model, requests, sampler(Sampling()), batch_size=arguments.batch))
    lap("first codebook")
    codes = [model.complete(one.tokens, one.prompt, firsts[index]) for index, one in enumerate(requests)]
    lap("other codebooks")
    with tempfile.TemporaryDirectory() as folder:
        sound = decode_stream(codec, (part.T.cpu().numpy() for part in codes))
        write_audio(sound, Path(folder) / "out.wav", format="wav")
    lap("codec and file")
    frames = sum(len(part) for part in codes)
    seconds, elapsed = frames / FRAME_RATE, times["codec and file"][0] - times["start"][0]
    print(
        f"{arguments.precision}, {len(segments)} segments, {arguments.batch} at a time: {seconds:.0f} s in "
        f"{elapsed:.1f} s, {seconds / elapsed:.2f} times real time"
    )
    for before, name in pairwise(times):
        wall, processor = np.subtract(times[name], times[before])
        rate = f", {frames / wall:.0f} frames/s" if name == "first codebook" else ""
        print(f"  {name}: {wall:.1f} s ({processor:.1f} s of processor time){rate}")
    print(f"  peak memory of the process: {peak_memory():.2f} GiB")


def limits(_: argparse.Namespace) -> None:
    """Each part beside its limit: bare linear layers of the same rows, and bytes over the memory's bandwidth.

    One thread, processor time, minima of alternating runs, since a busy machine slows all of them alike.
    """
    torch.set_num_threads(1)
    print(f"limits: load {os.getloadavg()[0]:.1f}")
    for precision, segments in (("bfloat16", 11), ("float32", 1)):
        model = filled_model(precision, "cpu")
        step_beside_limit(model, precision, segments)
        if precision == "bfloat16":
            pass_beside_limit(model)
    codec_beside_limit()


@torch.inference_mode()
def step_beside_limit(model: MidiValle, precision: str, segments: int) -> None:
    """A step of the first codebook in the middle of segments."""
    batch = decoder_batch(model, segments, POSITIONS + 100)
    for row in range(segments):
        request = random_request(row, model, frames=1, prompt_frames=POSITIONS - NOTES)
        batch.start(row, request.tokens, request.prompt[:, 0], 100)
    frames = [7] * segments + [None] * (batch.rows - segments)
    decoder, width = model.ar_decoder, model.config.width
    least = minima(
        {
            "step": lambda: batch.step(frames),
            "bare": bare_layers(decoder, batch.rows, width, DTYPES[precision]),
            "memory": read_memory,
        }
    )
    weights = len(decoder.layers) * 12 * width**2 * DTYPES[precision].itemsize
    cache = segments * POSITIONS * len(decoder.layers) * 2 * width * decoder.attention_dtype.itemsize
    transfer = (weights + cache) / MEMORY.nbytes * least["memory"]
    print(
        f"{precision}, a step of {segments} segments at {POSITIONS} positions: {least['step']:.1f} ms; "
        f"bare linear layers {least['bare']:.1f} ms ({least['step'] / least['bare']:.2f} times); "
        f"weights {weights / 1e6:.0f} MB and cache {cache / 1e6:.0f} MB at "
        f"{MEMORY.nbytes / least['memory'] / 1e6:.1f} GB/s {transfer:.1f} ms"
    )


@torch.inference_mode()
def pass_beside_limit(model: MidiValle) -> None:
    """A pass of another codebook over a segment."""
    decoder, width = model.nar_decoder, model.config.width
    positions = NOTES + PROMPT_FRAMES + 800
    rows = torch.randn(positions, width, generator=Generator().manual_seed(0))
    least = minima(
        {
            "pass": lambda: decoder.whole(rows, stage=0, needed_from=NOTES + PROMPT_FRAMES),
            "bare": bare_layers(decoder, positions, width, torch.bfloat16),
        }
    )
    print(
        f"bfloat16, a pass of another codebook over {positions} positions: {least['pass']:.0f} ms; "
        f"bare linear layers {least['bare']:.0f} ms ({least['pass'] / least['bare']:.2f} times)"
    )


@torch.inference_mode()
def codec_beside_limit() -> None:
    """Five seconds decoded, beside convolutions as products of the same size and the LSTM's weights, which
    every frame reads."""
    model, frames = random_codec("cpu"), 250
    codes = torch.randint(0, 2048, (1, 4, frames), generator=Generator().manual_seed(0))
    products = 0

    def count(layer: torch.nn.Module, values: tuple[Tensor], output: Tensor) -> None:
        nonlocal products
        length = values[0] if isinstance(layer, torch.nn.ConvTranspose1d) else output
        products += layer.weight.numel() * length.shape[-1]  # type: ignore[operator, union-attr]

    convolutions = (torch.nn.Conv1d, torch.nn.ConvTranspose1d)
    layers = [layer for layer in model.decoder.modules() if isinstance(layer, convolutions)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    model.decode(codes)
    for hook in hooks:
        hook.remove()
    lstm = next(layer for layer in model.decoder.modules() if isinstance(layer, torch.nn.LSTM))
    recurrent = sum(weight.nbytes for name, weight in lstm.named_parameters() if name.startswith("weight_hh"))
    square = PackedLinear(torch.randn(1024, 1024), None, torch.float32, "cpu")
    rows = torch.randn(1024, 1024)
    least = minima(
        {
            "decoded": lambda: list(model.decode_blocks([codes])),
            "product": lambda: square(rows),
            "memory": read_memory,
        }
    )
    convolution = products / 1024**3 * least["product"]
    transfer = frames * recurrent / MEMORY.nbytes * least["memory"]
    print(
        f"codec, 5 s decoded: {least['decoded']:.0f} ms; {products / 1e9:.1f} G products of its convolutions "
        f"in a linear layer {convolution:.0f} ms, the LSTM's weights from memory {transfer:.0f} ms "
        f"({least['decoded'] / (convolution + transfer):.2f} times)"
    )


def codec(arguments: argparse.Namespace) -> None:
    """Codec alone, in seconds of sound per second."""
    model, generator = random_codec(arguments.device), Generator().manual_seed(0)
    codes = torch.randint(0, 2048, (1, 4, 1000), generator=generator).to(arguments.device)
    sound = 0.1 * torch.randn(1, 1, 20 * 32_000, generator=generator).to(arguments.device)
    for name, work in (
        ("decoded", lambda: list(model.decode_blocks([codes]))),
        ("encoded", lambda: list(model.encode_blocks([sound]))),
    ):
        times = []
        for _ in range(3):
            started = now(arguments.device)
            work()
            times.append(now(arguments.device) - started)
        seconds = statistics.median(times[1:])
        print(f"codec: 20 s of sound {name} in {seconds:.2f} s, {20 / seconds:.1f} times real time")


def invariance(arguments: argparse.Namespace) -> None:
    """Whether batches of 1, 8 and 16 give the same codes at full size."""
    precision: Precision
    for precision in ("float32", "bfloat16"):
        model = filled_model(precision, arguments.device)
        alone, *batches = (
            dict(
                first_codebooks(
                    model,
                    [random_request(index, model, frames=12) for index in range(16)],
                    sampler(Sampling()),
                    batch_size=batch_size,
                )
            )
            for batch_size in (1, 8, 16)
        )
        same = [sum(torch.equal(alone[index], other[index]) for index in range(16)) for other in batches]
        print(f"{precision}: of 16 segments, as in a batch of 1: {same[0]} in batches of 8, {same[1]} in 16")


def deviation(arguments: argparse.Namespace) -> None:
    """How far bfloat16 logits are from float32 ones, along the same frames."""
    frames = torch.randint(0, 2048, (60,), generator=Generator().manual_seed(1))
    exact, rounded = (logits_along(frames, precision, arguments.device) for precision in PRECISIONS)
    for name, one, other in zip(("first codebook", "second codebook"), exact, rounded, strict=True):
        error = (other - one).abs()
        divergence = torch.nn.functional.kl_div(
            other.log_softmax(-1), one.log_softmax(-1), log_target=True, reduction="none"
        ).sum(-1)
        same = (one.argmax(-1) == other.argmax(-1)).float().mean()
        print(
            f"bfloat16 against float32, {name}: logits of standard deviation {one.std():.2f} differ by "
            f"{error.pow(2).mean().sqrt():.4f} (RMS), {error.max():.4f} at most; the likeliest is the same "
            f"in {same:.1%}; divergence {divergence.mean():.1e}"
        )


def logits_along(frames: Tensor, precision: Precision, device: str) -> tuple[Tensor, Tensor]:
    """Of the first codebook [frames + 1, codes + 1] and of the second [frames, codes]."""
    model = filled_model(precision, device)
    request, batch = random_request(0, model, frames=1), decoder_batch(model, 1, 1000)
    first = [batch.start(0, request.tokens, request.prompt[:, 0], 100)]
    for frame in frames.tolist():
        first.append(batch.step([frame] + [None] * (batch.rows - 1))[0].clone())
    second = next(model.stage_logits(request.tokens, request.prompt, frames.to(device)))
    return torch.stack(first).cpu(), second.cpu()


def loading(arguments: argparse.Namespace) -> None:
    """Peak memory while a checkpoint is read, beyond that of the process without it."""
    child = (
        "import sys, time, torch; from pathlib import Path; from adapters.midi_valle import load_model;"
        "from benchmarks.midi_valle import peak_memory;"
        "before = peak_memory(); started = time.perf_counter();"
        "load_model(Path(sys.argv[1]), sys.argv[2], sys.argv[3]);"
        "print(peak_memory() - before, time.perf_counter() - started)"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        torch.save(filled_weights(MidiValleConfig(), "open"), path)
        size = path.stat().st_size / 2**30
        for precision in PRECISIONS:
            command = [sys.executable, "-c", child, str(path), precision, arguments.device]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            memory, seconds = map(float, printed.split())
            print(
                f"loading, {precision}: {memory:.2f} GiB more at the peak for a file of {size:.2f} GiB "
                f"({memory / size:.2f} times), {seconds:.1f} s"
            )


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    part.__name__: part for part in (limits, single, chain, codec, invariance, deviation, loading)
}
PRECISIONS: tuple[Precision, Precision] = ("float32", "bfloat16")

# ------------------------------------------------------------------------------------------- material


def filled_model(precision: Precision, device: str) -> MidiValle:
    config = MidiValleConfig()
    tensors = filled_weights(config, "open")
    tensors["ar_predict_layer.weight"][config.codes] *= 0.1  # so that segments seldom end by themselves
    return model_of(tensors, config, precision, device)


def random_codec(device: str) -> Codec:
    torch.manual_seed(0)
    built = Codec(CodecConfig())
    for layer in built.quantizer.vq.layers:
        layer._codebook.embed.normal_()
    remove_weight_norm(built)
    return built.to(device).requires_grad_(False)


def random_notes(seconds: float) -> NoteArray:
    """Notes at ``NOTES_PER_SECOND``, in little groups with small rests between."""
    generator = np.random.default_rng(0)
    onset = np.sort(generator.uniform(0, seconds, int(seconds * NOTES_PER_SECOND)))
    onset = onset[onset % 4 < 3.8]
    count = len(onset)
    duration = generator.uniform(0.05, 0.6, count)
    offset = np.minimum(np.minimum(onset + duration, onset - onset % 4 + 3.9), seconds)
    return NoteArray(onset, np.maximum(offset, onset), generator.integers(30, 90, count), np.full(count, 64))


def random_request(
    index: int, model: MidiValle, *, frames: int, prompt_frames: int = PROMPT_FRAMES
) -> DecodingRequest:
    """A segment of ``NOTES`` token rows."""
    generator = Generator().manual_seed(index)
    columns = [torch.randint(4, rows, (NOTES, 1), generator=generator) for rows in model.config.field_rows]
    prompt = torch.randint(0, 2048, (prompt_frames, 4), generator=generator).to(model.device)
    tokens = torch.cat(columns, dim=1).to(model.device)
    return DecodingRequest(tokens, prompt, Generator().manual_seed(index), frames, frames)


def minima(works: dict[str, Callable[[], object]], repeats: int = 8) -> dict[str, float]:
    """Least processor time of each in milliseconds; they alternate."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            started = time.process_time()
            work()
            times[name].append(time.process_time() - started)
    return {name: 1e3 * min(found) for name, found in times.items()}


def bare_layers(decoder: Transformer, rows: int, width: int, dtype: torch.dtype) -> Callable[[], None]:
    """The linear layers of a decoder alone."""
    narrow, wide = torch.randn(rows, width).to(dtype), torch.randn(rows, 4 * width).to(dtype)

    def work() -> None:
        for layer in decoder.layers:
            for linear in (layer.project_in, layer.project_out, layer.feed_in):
                linear(narrow)
            layer.feed_out(wide)

    return work


MEMORY = torch.ones(2**26)


def read_memory() -> Tensor:
    return MEMORY.sum()


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory() -> float:
    """GiB, mapped files included. Of this program alone: ``getrusage`` counts that of the parent, too."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 2**20


if __name__ == "__main__":
    main()
