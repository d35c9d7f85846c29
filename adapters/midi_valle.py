"""The synthesizer ``midi-valle``: MIDI-VALLE with Piano-Encodec, from the authors' checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from adapters.codec import shape_differences
from score_to_audio import progress
from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, CheckpointName, Parameters, Prompt, Spec
from score_to_audio.types import AudioStream, Performance, Waveform

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from synthesizers.midi_valle.decoding import Request
    from synthesizers.midi_valle.layers import Precision
    from synthesizers.midi_valle.network import MidiValle
    from synthesizers.midi_valle.prompts import Alignment
    from synthesizers.midi_valle.takes import Take
    from synthesizers.midi_valle.tokens import Notes

PROMPT_LENGTH = 3.0
"""Seconds of prompt: as in training (paper, section 4.3)."""
LONGEST_PROMPT = 6.0
"""Seconds: longer ones are cut between notes."""
TRANSCRIBED = 10.0
"""Seconds of a recording without MIDI that are transcribed: more than a prompt takes."""
POOR_AGREEMENT = 0.5
"""Part of the prompt's onsets that must be heard; below it a warning says so."""
NOTABLE_LAG = 0.02
"""Seconds: a frame. Below it notes and sound of a prompt count as aligned."""
FADE_OUT = 0.02
"""Seconds: how a sound that is cut off before a rest ends."""
Codes = NDArray[np.integer[Any]]
"""[frames, codebooks]"""
EMPTY = np.zeros((1, 0), np.float32)

log = logging.getLogger(__name__)


class MidiValleParameters(Parameters):
    checkpoint: CheckpointName = Field(default="midi-valle", description="The model's checkpoint.")
    codec: CheckpointName = Field(
        default="piano-encodec",
        description="The codec's checkpoint; encodec-32khz is the one not fine-tuned.",
    )
    temperature: float = Field(default=1.0, ge=0.05, le=5, description="Below 1 plays safer.")
    top_k: int = Field(default=0, ge=0, le=2048, description="Draw from the k likeliest only; 0: from all.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Draw from the likeliest of this total only.")
    segment_length: float = Field(
        default=16.0, ge=4, le=24, description="Seconds generated in one piece (trained on 15 to 20)."
    )
    continuation: bool = Field(
        default=False,
        description="Let each segment hear the end of the one before: smoother joins, but one at a time.",
    )
    joining: Literal["auto", "continuous", "naive", "crossfade", "fade", "concat"] = Field(
        default="auto",
        description="How segments are joined: continuous decodes them as one (auto); the others are the "
        "published program's, and all but naive shorten the piece (auto with compatibility: naive).",
    )
    precision: Literal["bfloat16", "float32"] = Field(
        default="bfloat16", description="Of the linear layers; float32 is exact and about half as fast."
    )
    batch_size: int = Field(
        default=16, ge=1, le=64, description="Segments at a time; the result does not depend on it."
    )
    compatibility: Literal["", "official"] = Field(
        default="", description="official: cut, prompt and stop as the published program, losses included."
    )


@dataclass(frozen=True)
class _EncodedPrompt:
    """A prompt as the model takes it."""

    notes: Notes
    end: float
    """Seconds to its last event."""
    codes: Codes


class MidiValleSynthesizer:
    """Performance to sound by neural codec language modelling, in the colour of a prompt; 32 kHz, mono."""

    spec: ClassVar[Spec] = Spec(
        name="midi-valle",
        version="1",
        summary="MIDI-VALLE: neural codec language model, plays in the colour of a prompt",
        parameters=MidiValleParameters,
        paper="Tang et al., MIDI-VALLE: Improving Expressive Piano Performance Synthesis Through Neural "
        "Codec Language Modelling, ISMIR 2025",
        code_licence="Apache-2.0",
        weights_licence="CC BY-NC-SA 4.0",
        limits="Trained on classical solo piano; no pedal in its input; weak on jazz",
        uses_prompt=True,
        uses_seed=True,
        runs_on_gpu=True,
    )

    def __init__(
        self, parameters: MidiValleParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        from adapters.codec import load_codec

        self._parameters = parameters
        _warn_of_slow_bfloat16(parameters.precision, device)
        self._model = load_model(checkpoints["checkpoint"].weights, parameters.precision, device)
        self._codec = load_codec(checkpoints["codec"], device=device)
        books = self._codec.config.n_q, self._codec.config.bins
        if books != (self._model.sizes.codebooks, self._model.sizes.codes):
            raise InputError(
                f"{checkpoints['codec'].name}: has {books[0]} codebooks of {books[1]} codes, but "
                f"{checkpoints['checkpoint'].name} writes {self._model.sizes.codebooks} of "
                f"{self._model.sizes.codes}; choose the codec that it was trained with"
            )

    def synthesize(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> Waveform:
        from score_to_audio.formats.audio import collect

        return collect(self.stream(performance, prompt=prompt, seed=seed))

    def stream(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> AudioStream:
        """The same samples as ``synthesize``, as they are made."""
        from synthesizers.limiter import limit_peaks

        blocks = self._sound(performance, prompt or default_prompt(), seed)
        return limit_peaks(AudioStream(self._codec.config.sample_rate, 1, blocks))

    def _sound(self, performance: Performance, prompt: Prompt, seed: int) -> Iterator[NDArray[np.float32]]:
        official = self._parameters.compatibility == "official"
        if not len(performance):
            yield np.zeros((1, round(performance.end * self._codec.config.sample_rate)), np.float32)
            return
        encoded = self._encode(prompt)
        takes = self._official_takes(performance, encoded) if official else self._takes(performance, encoded)
        codes = self._codes(takes, encoded, seed)
        mode = self._parameters.joining
        if mode == "continuous" or (mode == "auto" and not official):
            yield from self._continuous(takes, codes, performance.end)
        else:
            yield self._joined("naive" if mode == "auto" else mode, takes, codes)

    # --------------------------------------------------------------------------------------- prompt

    def _encode(self, prompt: Prompt) -> _EncodedPrompt:
        import torch

        from adapters.codec import device_of, prepared
        from synthesizers.midi_valle.prompts import align, cut_point
        from synthesizers.midi_valle.segments import notes_between

        prompt = _with_notes(prompt)
        assert prompt.performance is not None
        notes, end = notes_of(prompt.performance), prompt.performance.end
        config, sound = self._codec.config, prepared(self._codec, prompt.audio)
        if self._parameters.compatibility != "official":
            notes = _aligned(align(sound, config.sample_rate, notes), notes)
            frames = cut_point(
                notes,
                -(-len(sound) // config.hop_length),
                config.frame_rate,
                wished=PROMPT_LENGTH,
                longest=LONGEST_PROMPT,
            )
            sound = sound[: frames * config.hop_length]
            notes = notes_between(notes, 0.0, frames / config.frame_rate)
        codes = self._codec.encode(torch.from_numpy(sound)[None, None].to(device_of(self._codec)))
        return _EncodedPrompt(notes, end, codes[0].T.cpu().numpy())

    # ---------------------------------------------------------------------------------------- takes

    def _takes(self, performance: Performance, prompt: _EncodedPrompt) -> list[Take]:
        from synthesizers.midi_valle.takes import takes_of

        return takes_of(
            notes_of(performance),
            prompt.notes,
            len(prompt.codes),
            self._codec.config.frame_rate,
            segment_length=self._parameters.segment_length,
            continuation=self._parameters.continuation,
        )

    def _official_takes(self, performance: Performance, prompt: _EncodedPrompt) -> list[Take]:
        from synthesizers.midi_valle.decoding import OFFICIAL_FRAMES_PER_ROW
        from synthesizers.midi_valle.takes import official_takes

        try:
            return official_takes(
                notes_of(performance), performance.end, prompt.notes, prompt.end, OFFICIAL_FRAMES_PER_ROW
            )
        except ValueError as error:
            raise InputError(f"{error}: use a shorter prompt, or compatibility without 'official'") from error

    # ---------------------------------------------------------------------------------------- codes

    def _codes(self, takes: Sequence[Take], prompt: _EncodedPrompt, seed: int) -> Iterator[Codes]:
        """The codes of every take, in their order, kept as soon as they are there."""
        counter = _Counter(takes)
        found: dict[int, Codes] = {}
        for index in range(len(takes)):
            if (codes := _kept(index)) is not None:
                found[index] = codes
                counter.completed(index)
        missing = [index for index in range(len(takes)) if index not in found]
        ready = 0
        for group in _independent_groups(takes, missing):
            requests = [self._request(takes[index], prompt, found, seed, index) for index in group]
            for place, codes in self._generated(requests, counter):
                found[group[place]] = _keep(group[place], codes)
                counter.completed(group[place])
                while ready in found:
                    yield found[ready]
                    ready += 1
        for index in range(ready, len(takes)):
            yield found[index]

    def _request(
        self, take: Take, prompt: _EncodedPrompt, found: Mapping[int, Codes], seed: int, index: int
    ) -> Request:
        import torch

        from synthesizers.midi_valle.decoding import Request

        heard = prompt.codes
        if take.context:
            heard = np.concatenate([heard, found[index - 1][-take.context :]])
        device = self._model.device
        return Request(
            tokens=torch.from_numpy(take.tokens).to(device),
            prompt=torch.from_numpy(heard.astype(np.int64)).to(device),
            generator=generator(seed, index),
            least_frames=take.least_frames,
            most_frames=take.most_frames,
        )

    def _generated(self, requests: Sequence[Request], counter: _Counter) -> Iterator[tuple[int, Codes]]:
        """Codes with the places of their requests, as they are finished."""
        from synthesizers.midi_valle.decoding import first_codebooks, sampler
        from synthesizers.midi_valle.sampling import Sampling

        options = self._parameters
        finished = first_codebooks(
            self._model,
            requests,
            sampler(Sampling(options.temperature, options.top_k, options.top_p)),
            batch_size=options.batch_size,
            on_frames=counter.written,
        )
        for place, first in finished:
            request = requests[place]
            codes = self._model.complete(request.tokens, request.prompt, first)
            yield place, codes.cpu().numpy().astype(np.int16)

    # ---------------------------------------------------------------------------------------- sound

    def _continuous(
        self, takes: Sequence[Take], codes: Iterator[Codes], end: float
    ) -> Iterator[NDArray[np.float32]]:
        """Takes that follow each other decoded as one sequence; silence in the rests between."""
        from adapters.codec import decode_stream
        from synthesizers.midi_valle.takes import runs

        rate, hop = self._codec.config.sample_rate, self._codec.config.hop_length
        written = 0
        for run in runs(takes):
            yield np.zeros((1, run[0].start * hop - written), np.float32)
            written = run[0].start * hop
            blocks = decode_stream(self._codec, (next(codes).T.astype(np.int64) for _ in run)).blocks
            for block in _faded_out(blocks, round(FADE_OUT * rate)):
                written += block.shape[1]
                yield block
        yield np.zeros((1, max(0, round(end * rate) - written)), np.float32)

    def _joined(self, mode: str, takes: Sequence[Take], codes: Iterator[Codes]) -> NDArray[np.float32]:
        """Every take decoded by itself, joined as the published program does."""
        import torch

        from adapters.codec import device_of
        from synthesizers.midi_valle.joining import MODES

        hop, device = self._codec.config.hop_length, device_of(self._codec)
        pieces: list[NDArray[np.float32]] = []
        length = 0
        for take, found in zip(takes, codes, strict=True):
            rest = np.zeros(max(0, take.start * hop - length), np.float32)
            sound = EMPTY[0]
            if len(found):
                whole = torch.from_numpy(found.T.astype(np.int64))[None].to(device)
                sound = self._codec.decode(whole)[0, 0].cpu().numpy()
            pieces.append(np.concatenate([rest, sound]))
            length += len(pieces[-1])
        try:
            return MODES[mode](pieces)[None] if pieces else EMPTY
        except ValueError as error:
            raise InputError(f"joining {mode!r} is not possible: {error}; choose another") from error


# ----------------------------------------------------------------------------------------------- parts


def generator(seed: int, index: int) -> Generator:
    """The source of chance of take ``index``: its own, whatever else is generated."""
    import torch

    state = int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state)


def notes_of(performance: Performance) -> Notes:
    from synthesizers.midi_valle.tokens import Notes

    return Notes(performance.onset, performance.offset, performance.pitch, performance.velocity)


def _independent_groups(takes: Sequence[Take], missing: Sequence[int]) -> list[list[int]]:
    """What can be generated at the same time: all, or one after the other where takes read each other."""
    if any(take.context for take in takes):
        return [[index] for index in missing]
    return [list(missing)]


def _faded_out(blocks: Iterator[NDArray[np.float32]], samples: int) -> Iterator[NDArray[np.float32]]:
    """The same sound with its end faded, so that it does not click where silence follows."""
    last = next(blocks, None)
    for block in blocks:
        if last is not None:
            yield last
        last = block
    if last is not None:
        length = min(samples, last.shape[1])
        last[:, last.shape[1] - length :] *= np.linspace(1, 0, length, dtype=np.float32)
        yield last


class _NotKeptError(Exception):
    pass


def _kept(index: int) -> Codes | None:
    """A take from an earlier, interrupted run."""

    def absent() -> Mapping[str, Codes]:
        raise _NotKeptError

    try:
        return progress.cached_part(f"take {index}", absent)["codes"]
    except _NotKeptError:
        return None


def _keep(index: int, codes: Codes) -> Codes:
    return progress.cached_part(f"take {index}", lambda: {"codes": codes})["codes"]


class _Counter:
    """Reports how far the work is. A frame counts half when its first codebook is written, and fully when
    the others are: on a CPU both halves take about as long."""

    def __init__(self, takes: Sequence[Take]) -> None:
        self._frames = [take.most_frames for take in takes]
        self._first, self._whole, self._takes = 0, 0, 0

    def written(self, frames: int) -> None:
        self._first += frames
        self._report()

    def completed(self, index: int) -> None:
        self._whole += self._frames[index]
        self._takes += 1
        self._report()

    def _report(self) -> None:
        total = sum(self._frames)
        done = min(total, 0.5 * (max(self._first, self._whole) + self._whole))
        progress.report(done, total, f"frames, {self._takes} of {len(self._frames)} segments done")


# --------------------------------------------------------------------------------------------- prompts


def alignment_of(prompt: Prompt) -> Alignment:
    """How well a prompt's recording and its notes agree."""
    from synthesizers.midi_valle.prompts import align

    if prompt.performance is None:
        raise ValueError("a prompt without notes cannot disagree")
    notes = notes_of(prompt.performance)
    return align(prompt.audio.samples.mean(axis=0), prompt.audio.sample_rate, notes)


def alignment_notice(alignment: Alignment) -> str | None:
    """A sentence where recording and notes do not agree well enough to prompt with."""
    if alignment.agreement < POOR_AGREEMENT:
        return (
            f"only {alignment.agreement:.0%} of the prompt's notes are heard where its MIDI has them; "
            "use the MIDI of this very recording"
        )
    if abs(alignment.lag) > NOTABLE_LAG:
        return f"the prompt's sound comes {1000 * alignment.lag:+.0f} ms after its MIDI; its notes are moved"
    return None


def _aligned(alignment: Alignment, notes: Notes) -> Notes:
    """The notes moved to where they are heard, if they are; says so."""
    from synthesizers.midi_valle.tokens import Notes

    if notice := alignment_notice(alignment):
        log.warning("%s", notice)
    if alignment.agreement < POOR_AGREEMENT:
        return notes
    onset = np.maximum(notes.onset + alignment.lag, 0.0)
    offset = np.maximum(notes.offset + alignment.lag, onset)
    return Notes(onset, offset, notes.pitch, notes.velocity)


def _with_notes(prompt: Prompt) -> Prompt:
    """The prompt; one without notes is transcribed, its beginning only. Raises ``InputError`` where that is
    not possible."""
    if prompt.performance is not None:
        return prompt
    from adapters.transcription import transcribe

    audio = prompt.audio
    beginning = Waveform(audio.samples[:, : round(TRANSCRIBED * audio.sample_rate)], audio.sample_rate)
    try:
        performance = transcribe(beginning)
    except InputError as error:
        raise InputError(
            "midi-valle needs the notes of its prompt: put a MIDI file of the same name beside the recording "
            f"({error})"
        ) from error
    if not len(performance):
        raise InputError("no piano notes were heard in the prompt: choose another recording, or add its MIDI")
    log.warning("the prompt has no MIDI; its notes were transcribed by transkun")
    return Prompt(beginning, performance, prompt.sha256)


PHRASE = (
    # onset, offset in seconds, pitch, velocity
    (0.05, 0.95, 43, 58), (0.05, 0.50, 59, 46), (0.05, 0.50, 62, 48), (0.06, 0.48, 67, 66),
    (0.50, 0.95, 60, 48), (0.50, 0.95, 64, 50), (0.51, 0.72, 72, 70), (0.73, 0.95, 71, 64),
    (0.97, 1.85, 38, 62), (0.97, 1.40, 57, 50), (0.97, 1.40, 60, 52), (0.98, 1.40, 69, 74),
    (1.42, 1.85, 54, 50), (1.42, 1.85, 60, 50), (1.43, 1.63, 67, 66), (1.64, 1.85, 66, 60),
    (1.88, 2.75, 31, 54), (1.88, 2.75, 55, 42), (1.89, 2.75, 59, 44), (1.90, 2.75, 67, 56),
)  # fmt: skip
"""A cadence in G major over three and a half octaves, soft to fairly loud, that has died away by 3 s."""


@cache
def default_prompt() -> Prompt:
    """``PHRASE`` on the sampled piano, so that there is always a prompt."""
    from adapters.sampled_piano import SampledPiano, SampledPianoParameters

    onset, offset, pitch, velocity = (np.array(column) for column in zip(*PHRASE, strict=True))
    performance = Performance(onset=onset, offset=offset, pitch=pitch, velocity=velocity)
    piano = SampledPiano(SampledPianoParameters(), checkpoints={}, device="cpu")
    sound = piano.synthesize(performance, prompt=None, seed=0)
    length = round(PROMPT_LENGTH * sound.sample_rate)
    samples = np.zeros((len(sound.samples), length), np.float32)
    heard = sound.samples[:, :length]
    samples[:, : heard.shape[1]] = heard
    return Prompt(Waveform(samples, sound.sample_rate), performance, sha256="default")


# --------------------------------------------------------------------------------------------- loading


def load_model(path: Path, precision: Precision, device: str) -> MidiValle:
    """The networks in a checkpoint as published: a table of tensors, bare or under "model".

    Raises ``InputError`` that lists the first differences for anything else.
    """
    from synthesizers.midi_valle.network import MidiValle, parameter_shapes, sizes_of

    shapes = {name: tuple(tensor.shape) for name, tensor in _tensors(path).items()}
    try:
        sizes = sizes_of(shapes)
    except ValueError as error:
        raise InputError(f"{path}: not a checkpoint of MIDI-VALLE: {error}") from error
    if differences := shape_differences(parameter_shapes(sizes), shapes):
        raise InputError(f"{path}: not a checkpoint of MIDI-VALLE: it {differences}")

    def read(prefix: str) -> dict[str, Tensor]:
        # The file anew each time: what was read leaves the memory with the mapping.
        return {name: tensor for name, tensor in _tensors(path).items() if name.startswith(prefix)}

    return MidiValle(sizes, read, precision=precision, device=device)


def _tensors(path: Path) -> dict[str, Tensor]:
    import torch

    from score_to_audio.weights import load_checkpoint

    content = load_checkpoint(path)
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict) or not all(isinstance(one, torch.Tensor) for one in content.values()):
        raise InputError(f"{path}: not a checkpoint of MIDI-VALLE: not a table of tensors")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def _warn_of_slow_bfloat16(precision: str, device: str) -> None:
    import torch

    fast = device != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if precision == "bfloat16" and not fast:
        log.warning("this processor has no bfloat16 instructions; precision=float32 will be faster")
