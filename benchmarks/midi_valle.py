"""How fast MIDI-VALLE and Piano-Encodec are here, at full size, and what bfloat16 changes.

    python benchmarks/midi_valle.py [--device cuda] [--threads 2] [--seconds 180] [--parts chain,single,...]

Weights are arbitrary numbers of the scale that trained ones have; speed does not depend on them, and segments
have the lengths that the performance asks for. Only torch, numpy, encodec and einops are needed, besides the
part ``loading``, which reads a checkpoint file as the synthesizer does.

Beside them, for comparison, the published program in float32 on two cores of the machine on which this was
written: 0.34 frames per second in the first codebook, 4.7 s per pass over 1030 frames in the others, three
passes per segment.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from synthesizers.codecs.encodec import Codec, CodecConfig, fold_weight_norm
from synthesizers.midi_valle.decoding import Request, first_codebooks, sampler
from synthesizers.midi_valle.network import MidiValle, Sizes, parameter_shapes
from synthesizers.midi_valle.sampling import Sampling
from synthesizers.midi_valle.slots import slots_for
from synthesizers.midi_valle.takes import takes_of
from synthesizers.midi_valle.tokens import Notes

PROMPT_FRAMES = 150
FRAME_RATE = 50
NOTES_PER_SECOND = 10
"""Of the performance: that of the Bach fugue on which the published program was timed."""


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    print(
        f"torch {torch.__version__}, {arguments.device}, {arguments.threads} threads, {_hardware(arguments)}"
    )
    for name in arguments.parts.split(","):
        PARTS[name](arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=180.0, help="of the performance in the whole chain")
    parser.add_argument("--segment", type=float, default=16.0, help="seconds per segment")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=200, help="per segment in the parts single and batch")
    parser.add_argument(
        "--precision", default="bfloat16", choices=["bfloat16", "float32"], help="of the chain"
    )
    parser.add_argument("--parts", default="single,chain,codec,invariance,deviation", help=", ".join(PARTS))
    return parser.parse_args()


def _hardware(arguments: argparse.Namespace) -> str:
    if arguments.device == "cuda":
        return str(torch.cuda.get_device_name())
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    load = Path("/proc/loadavg").read_text().split()[0]
    return f"{models[0].split(':')[1].strip() if models else 'unknown processor'}, load {load}"


# ------------------------------------------------------------------------------------------- the parts


def single(arguments: argparse.Namespace) -> None:
    """One segment, float32: frames per second of the first codebook, early and late in a segment."""
    model = _model("float32", arguments.device)
    for begun in (0, 700):
        request = _request(0, prompt_frames=PROMPT_FRAMES + begun, frames=arguments.frames)
        times: list[float] = []
        started = _now(arguments)
        for _ in first_codebooks(
            model,
            [_on(request, model)],
            sampler(Sampling()),
            batch_size=1,
            on_frames=lambda _, times=times: times.append(_now(arguments)),  # type: ignore[misc]
        ):
            pass
        steps = np.diff(times)
        reading = times[0] - started
        print(
            f"float32, one segment, {begun} frames in: {1 / np.median(steps):.1f} frames/s "
            f"({np.median(steps) * 1e3:.1f} ms each), notes and prompt read in {reading:.2f} s"
        )


def chain(arguments: argparse.Namespace) -> None:
    """Everything from notes to a WAV file, for a performance of some minutes."""
    model, codec = _model(arguments.precision, arguments.device), _codec(arguments.device)
    notes = _performance(arguments.seconds)
    prompt = torch.randint(0, 2048, (PROMPT_FRAMES, 4), generator=Generator().manual_seed(0))
    clock = _Stopwatch(arguments)
    takes = takes_of(
        notes,
        _performance(2.9),
        PROMPT_FRAMES,
        FRAME_RATE,
        segment_length=arguments.segment,
        continuation=False,
    )
    requests = [
        Request(
            torch.from_numpy(take.tokens).to(model.device),
            prompt.to(model.device),
            Generator().manual_seed(index),
            take.least_frames,
            take.most_frames,
        )
        for index, take in enumerate(takes)
    ]
    clock.lap("plan")
    firsts = dict(first_codebooks(model, requests, sampler(Sampling()), batch_size=arguments.batch))
    clock.lap("first codebook")
    codes = [
        model.complete(request.tokens, request.prompt, firsts[index])
        for index, request in enumerate(requests)
    ]
    clock.lap("other codebooks")
    with tempfile.TemporaryDirectory() as folder:
        _write_wav(Path(folder) / "out.wav", codec.decode_blocks(part.T[None] for part in codes))
    clock.lap("codec and file")
    frames = sum(len(part) for part in codes)
    whole = sum(clock.laps.values())
    sound = frames / FRAME_RATE
    print(
        f"{arguments.precision}, {len(takes)} segments, {arguments.batch} at a time: {sound:.0f} s in "
        f"{whole:.1f} s, {sound / whole:.2f} times real time"
    )
    for name, seconds in clock.laps.items():
        processor = f" ({clock.processor[name]:.1f} s of processor time)" if arguments.device == "cpu" else ""
        print(f"  {name}: {seconds:.1f} s{processor}")
    print(f"  first codebook: {frames / clock.laps['first codebook']:.0f} frames/s")
    print(f"  peak memory of the process: {_peak_memory():.2f} GiB")


def codec(arguments: argparse.Namespace) -> None:
    """Codec alone, in seconds of sound per second."""
    codec_ = _codec(arguments.device)
    generator = Generator().manual_seed(0)
    codes = torch.randint(0, 2048, (1, 4, 1000), generator=generator).to(arguments.device)
    sound = 0.1 * torch.randn(1, 1, 20 * 32_000, generator=generator).to(arguments.device)
    for name, work in (
        ("decoded", lambda: list(codec_.decode_blocks([codes]))),
        ("encoded", lambda: list(codec_.encode_blocks([sound]))),
    ):
        seconds = _best(work, arguments, repeats=2)
        print(f"codec: 20 s of sound {name} in {seconds:.2f} s, {20 / seconds:.1f} times real time")


def invariance(arguments: argparse.Namespace) -> None:
    """Whether batches of 1, 8 and 16 give the same codes at full size."""
    for precision in ("float32", "bfloat16"):
        model = _model(precision, arguments.device)
        results = []
        for batch_size in (1, 8, 16):
            requests = [_on(_request(index, frames=12), model) for index in range(16)]
            choose = sampler(Sampling())
            results.append(dict(first_codebooks(model, requests, choose, batch_size=batch_size)))
        same = [
            sum(torch.equal(results[0][index], other[index]) for index in range(16)) for other in results[1:]
        ]
        print(
            f"{precision}: of 16 segments {same[0]} are the same in batches of 1 and 8, {same[1]} in 1 and 16"
        )


def deviation(arguments: argparse.Namespace) -> None:
    """How far bfloat16 logits are from float32 ones, along the same frames."""
    request = _request(0, frames=1)
    frames = torch.randint(0, 2048, (60,), generator=Generator().manual_seed(1))
    logits: dict[str, Tensor] = {}
    others: dict[str, Tensor] = {}
    for precision in ("float32", "bfloat16"):
        model = _model(precision, arguments.device)
        slots = slots_for(model, 1, 1000)
        given = _on(request, model)
        rows = [slots.start(0, given.tokens, given.prompt[:, 0], 100)]
        for frame in frames.tolist():
            rows.append(slots.step([frame] + [None] * (slots.count - 1))[0].clone())
        logits[precision] = torch.stack(rows).cpu()
        stages: list[Tensor] = []
        model.complete(
            given.tokens,
            given.prompt,
            frames.to(model.device),
            lambda _, found, to=stages: to.append(found.cpu()),
        )
        others[precision] = stages[0]
        del model, slots
    for name, found in (("first codebook", logits), ("second codebook", others)):
        exact, rounded = found["float32"], found["bfloat16"]
        error = (rounded - exact).abs()
        divergence = torch.nn.functional.kl_div(
            rounded.log_softmax(-1), exact.log_softmax(-1), log_target=True, reduction="none"
        ).sum(-1)
        same = (exact.argmax(-1) == rounded.argmax(-1)).float().mean()
        print(
            f"bfloat16 against float32, {name}: logits of standard deviation {exact.std():.2f} differ by "
            f"{error.pow(2).mean().sqrt():.4f} (RMS), {error.max():.4f} at most; the likeliest is the same "
            f"in {same:.1%}; divergence {divergence.mean():.1e}"
        )


def loading(arguments: argparse.Namespace) -> None:
    """Peak memory while a checkpoint is read, beyond that of the process without it."""
    try:
        import_module("adapters.midi_valle")
    except ImportError as error:
        print(f"loading: left out, {error}")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        torch.save(_tensors(), path)
        size = path.stat().st_size / 2**30
        child = (
            "import sys, time, torch; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
            "from adapters.midi_valle import load_model; from synthesizers.midi_valle import network;"
            "from benchmarks.midi_valle import _peak_memory;"
            "before = _peak_memory(); started = time.perf_counter();"
            "load_model(Path(sys.argv[2]), sys.argv[3], sys.argv[4]);"
            "print(_peak_memory() - before, time.perf_counter() - started)"
        )
        for precision in ("float32", "bfloat16"):
            root = str(Path(__file__).resolve().parents[1])
            command = [sys.executable, "-c", child, root, str(path), precision, arguments.device]
            memory, seconds = subprocess.run(
                command, check=True, capture_output=True, text=True
            ).stdout.split()
            print(
                f"loading, {precision}: {float(memory):.2f} GiB more at the peak for a file of "
                f"{size:.2f} GiB ({float(memory) / size:.2f} times), {float(seconds):.1f} s"
            )


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "single": single,
    "chain": chain,
    "codec": codec,
    "invariance": invariance,
    "deviation": deviation,
    "loading": loading,
}


# ---------------------------------------------------------------------------------------- material


def _tensors(sizes: Sizes = Sizes()) -> dict[str, Tensor]:  # noqa: B008 (frozen)
    """Linear layers of variance 1 / inputs, tables of variance 1, norms near the identity."""
    generator = Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}
    for name, shape in parameter_shapes(sizes).items():
        values = torch.randn(shape, generator=generator)
        if name.endswith("word_embeddings.weight") and "stage" not in name:
            tensors[name] = values
        elif len(shape) == 2:
            tensors[name] = values * shape[1] ** -0.5
        else:
            tensors[name] = 0.1 * values + (0.0 if "bias" in name else 1.0)
        if name.endswith("project_layer.bias"):
            tensors[name][: sizes.width] += 1
    for stage in range(sizes.codebooks - 1):
        tensors[f"nar_predict_layers.{stage}.weight"] *= sizes.width**0.5
        if stage < sizes.codebooks - 2:
            tied = f"nar_audio_embeddings.{stage + 2}.word_embeddings.weight"
            tensors[tied] = tensors[f"nar_predict_layers.{stage}.weight"]
    tensors["ar_predict_layer.weight"][sizes.codes] *= 0.1
    return tensors


def _model(precision: Any, device: str) -> MidiValle:
    tensors = _tensors()

    def read(prefix: str) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    return MidiValle(Sizes(), read, precision=precision, device=device)


def _codec(device: str) -> Codec:
    torch.manual_seed(0)
    codec_ = Codec(CodecConfig())
    for layer in codec_.quantizer.vq.layers:
        layer._codebook.embed.normal_()
    fold_weight_norm(codec_)
    return codec_.to(device).requires_grad_(False)


def _performance(seconds: float) -> Notes:
    """Notes at ``NOTES_PER_SECOND``, in little groups with small rests between."""
    generator = np.random.default_rng(0)
    onset = np.sort(generator.uniform(0, seconds, int(seconds * NOTES_PER_SECOND)))
    onset = onset[onset % 4 < 3.8]
    count = len(onset)
    duration = generator.uniform(0.05, 0.6, count)
    offset = np.minimum(np.minimum(onset + duration, onset - onset % 4 + 3.9), seconds)
    return Notes(onset, np.maximum(offset, onset), generator.integers(30, 90, count), np.full(count, 64))


def _request(index: int, *, prompt_frames: int = PROMPT_FRAMES, frames: int) -> Request:
    """A segment of 220 token rows, prompt included."""
    generator = Generator().manual_seed(index)
    columns = [torch.randint(4, rows, (220, 1), generator=generator) for rows in Sizes().field_rows]
    prompt = torch.randint(0, 2048, (prompt_frames, 4), generator=generator)
    return Request(torch.cat(columns, dim=1), prompt, Generator().manual_seed(index), frames, frames)


def _on(request: Request, model: MidiValle) -> Request:
    return Request(
        request.tokens.to(model.device),
        request.prompt.to(model.device),
        request.generator,
        request.least_frames,
        request.most_frames,
    )


def _write_wav(path: Path, blocks: Iterator[Tensor]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 32_000, 0, "NONE", ""))
        for block in blocks:
            samples = np.clip(block[0, 0].cpu().numpy(), -1, 1)
            file.writeframes((samples * 32767).astype("<i2").tobytes())


# ------------------------------------------------------------------------------------------- clocks


class _Stopwatch:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.laps: dict[str, float] = {}
        self.processor: dict[str, float] = {}
        self._arguments = arguments
        self._last, self._last_processor = _now(arguments), time.process_time()

    def lap(self, name: str) -> None:
        now, processor = _now(self._arguments), time.process_time()
        self.laps[name], self.processor[name] = now - self._last, processor - self._last_processor
        self._last, self._last_processor = now, processor


def _now(arguments: argparse.Namespace) -> float:
    if arguments.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _best(work: Callable[[], object], arguments: argparse.Namespace, repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        started = _now(arguments)
        work()
        times.append(_now(arguments) - started)
    return statistics.median(times)


def _peak_memory() -> float:
    """GiB, mapped files included. Of this program alone: ``getrusage`` counts that of the parent, too."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 2**20


if __name__ == "__main__":
    main()
