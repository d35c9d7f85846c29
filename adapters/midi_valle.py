"""The synthesizer ``midi-valle``: MIDI-VALLE with Piano-Encodec, from the authors' checkpoints."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from score_to_audio import progress
from score_to_audio.errors import InputError
from score_to_audio.machine import has_fast_bfloat16
from score_to_audio.plugins import Checkpoint, CheckpointName, Parameters, Prompt, Spec
from score_to_audio.types import AudioStream, Performance, Waveform

if TYPE_CHECKING:
    from torch import Tensor

    from synthesizers.midi_valle.decoding import DecodingRequest
    from synthesizers.midi_valle.layers import Precision
    from synthesizers.midi_valle.network import MidiValle, MidiValleConfig
    from synthesizers.midi_valle.prompts import Alignment
    from synthesizers.midi_valle.segments import SegmentRequest
    from synthesizers.midi_valle.tokens import NoteArray

SEGMENT_LENGTH = 16.0
"""Seconds; the published model is trained on 15 to 20."""
TRAINING_CONFIG = "config"
"""Where checkpoints trained here keep the configuration of their training."""
PROMPT_LENGTH = 3.0
"""Seconds of prompt: as in training (paper, section 4.3)."""
MAX_PROMPT_LENGTH = 6.0
"""Seconds: longer ones are cut between notes."""
TRANSCRIBED = 10.0
"""Seconds of a recording without MIDI that are transcribed: more than a prompt needs."""
MIN_AGREEMENT = 0.5
"""Part of the prompt's onsets that must agree with its sound; below it there is a warning."""
MAX_LAG = 0.02
"""Seconds: a frame. A prompt whose notes and sound are further apart is aligned, with a warning."""
FADE_OUT = 0.02
"""Seconds at the end of a sound that is cut off before a rest."""
Codes = NDArray[np.integer[Any]]
"""[frames, codebooks]"""
Sound = NDArray[np.float32]
"""[1, samples]"""

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
    segment_length: float | None = Field(
        default=None,
        ge=4,
        le=24,
        description="Seconds generated in one piece; by default 16 (the published model is trained on 15 to "
        "20), shorter for a checkpoint that was trained on short excerpts.",
    )
    continuation: bool = Field(
        default=False,
        description="Let each segment read the end of the one before: smoother joins, but one at a time.",
    )
    joining: Literal["auto", "continuous", "naive", "crossfade", "fade", "concat"] = Field(
        default="auto",
        description="How segments are joined: continuous decodes them as one (auto); the others are the "
        "published program's, and all but naive shorten the piece (auto with compatibility: naive).",
    )
    precision: Literal["auto", "bfloat16", "float32"] = Field(
        default="auto",
        description="Of linear layers (with AMX of attention, too); float32 is exact. auto: bfloat16, twice "
        "as fast, where the processor or GPU has instructions for it.",
    )
    batch_size: int = Field(
        default=16, ge=1, le=64, description="Segments at a time; the result does not depend on it."
    )
    compatibility: Literal["", "official"] = Field(
        default="", description="official: cut, prompt and stop as the published program, losses included."
    )

    @model_validator(mode="after")
    def _official_joins(self) -> MidiValleParameters:
        if self.compatibility == "official" and self.joining == "continuous":
            raise ValueError("joining=continuous is not possible with compatibility=official; use naive")
        return self

    @property
    def join(self) -> str:
        automatic = "naive" if self.compatibility == "official" else "continuous"
        return automatic if self.joining == "auto" else self.joining


@dataclass(frozen=True)
class _EncodedPrompt:
    """A prompt as the model reads it."""

    notes: NoteArray
    end: float
    """Seconds to its last event."""
    codes: Codes


class MidiValleSynthesizer:
    """Performance to sound by neural codec language modelling, in the colour of a prompt; 32 kHz, mono."""

    spec: ClassVar[Spec] = Spec(
        name="midi-valle",
        version="2",
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
        model, codec = checkpoints["checkpoint"], checkpoints["codec"]
        self._segment_length = parameters.segment_length or trained_segment_length(model.weights)
        self._model = load_model(model.weights, usable_precision(parameters.precision, device), device)
        self._codec = load_codec(codec, device=device)
        found = self._codec.config.n_q, self._codec.config.bins
        needed = self._model.config.codebooks, self._model.config.codes
        if found != needed:
            raise InputError(
                f"{codec.name}: has {found[0]} codebooks of {found[1]} codes, but {model.name} writes "
                f"{needed[0]} of {needed[1]}; choose the codec that it was trained with"
            )

    def synthesize(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> Waveform:
        from score_to_audio.formats.audio import collect

        return collect(self.stream(performance, prompt=prompt, seed=seed))

    def stream(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> AudioStream:
        """The same samples as ``synthesize``, in blocks."""
        from synthesizers.limiter import limit_peaks

        blocks = self._sound(performance, prompt or default_prompt(), seed)
        return limit_peaks(AudioStream(self._codec.config.sample_rate, 1, blocks))

    def _sound(self, performance: Performance, prompt: Prompt, seed: int) -> Iterator[Sound]:
        if not len(performance):
            yield np.zeros((1, round(performance.end * self._codec.config.sample_rate)), np.float32)
            return
        encoded = self._encoded(prompt)
        requests = self._segment_requests(performance, encoded)
        codes = self._codes(requests, encoded, seed)
        if self._parameters.join == "continuous":
            yield from self._continuous(requests, codes, performance.end)
        else:
            yield self._joined(requests, codes)

    # ----------------------------------------------------------------------------- prompt and segments

    def _encoded(self, prompt: Prompt) -> _EncodedPrompt:
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
                target_length=PROMPT_LENGTH,
                max_length=MAX_PROMPT_LENGTH,
            )
            sound = sound[: frames * config.hop_length]
            notes = notes_between(notes, 0.0, frames / config.frame_rate)
        codes = self._codec.encode(torch.from_numpy(sound)[None, None].to(device_of(self._codec)))
        return _EncodedPrompt(notes, end, codes[0].T.cpu().numpy())

    def _segment_requests(self, performance: Performance, prompt: _EncodedPrompt) -> list[SegmentRequest]:
        from synthesizers.midi_valle import official
        from synthesizers.midi_valle.segments import segment_requests

        notes = notes_of(performance)
        if self._parameters.compatibility == "official":
            try:
                return official.segment_requests(notes, performance.end, prompt.notes, prompt.end)
            except ValueError as error:
                raise InputError(
                    f"{error}: use a shorter prompt, or compatibility without 'official'"
                ) from error
        return segment_requests(
            notes,
            prompt.notes,
            len(prompt.codes),
            self._codec.config.frame_rate,
            segment_length=self._segment_length,
            continuation=self._parameters.continuation,
        )

    # ---------------------------------------------------------------------------------------- codes

    def _codes(
        self, requests: Sequence[SegmentRequest], prompt: _EncodedPrompt, seed: int
    ) -> Iterator[Codes]:
        """The codes of every segment, in their order; each is stored as soon as it is complete."""
        counter = _ProgressCounter(requests)
        done: dict[int, Codes] = {}
        for index in range(len(requests)):
            if (codes := _stored(index)) is not None:
                done[index] = codes
                counter.completed(index)
        missing = [index for index in range(len(requests)) if index not in done]
        # Segments that read the end of the one before are generated one after the other.
        sequential = any(request.context for request in requests)
        ready = 0
        for group in [[index] for index in missing] if sequential else [missing]:
            inputs = [self._decoding_request(requests[index], prompt, done, seed, index) for index in group]
            for place, codes in self._generated(inputs, counter):
                done[group[place]] = _store(group[place], codes)
                counter.completed(group[place])
                while ready in done:
                    yield done[ready]
                    ready += 1
        for index in range(ready, len(requests)):
            yield done[index]

    def _decoding_request(
        self,
        request: SegmentRequest,
        prompt: _EncodedPrompt,
        done: Mapping[int, Codes],
        seed: int,
        index: int,
    ) -> DecodingRequest:
        import torch

        from score_to_audio.seeding import generator
        from synthesizers.midi_valle.decoding import DecodingRequest

        codes = prompt.codes
        if request.context:
            codes = np.concatenate([codes, done[index - 1][-request.context :]])
        device = self._model.device
        return DecodingRequest(
            tokens=torch.from_numpy(request.tokens).to(device),
            prompt=torch.from_numpy(codes.astype(np.int64)).to(device),
            generator=generator(seed, index),
            min_frames=request.min_frames,
            max_frames=request.max_frames,
        )

    def _generated(
        self, requests: Sequence[DecodingRequest], counter: _ProgressCounter
    ) -> Iterator[tuple[int, Codes]]:
        """Codes with the index of their request, in the order in which they are complete."""
        from synthesizers.midi_valle.decoding import first_codebooks, sampler
        from synthesizers.midi_valle.sampling import Sampling

        options = self._parameters
        choose = sampler(Sampling(options.temperature, options.top_k, options.top_p))
        for index, first in first_codebooks(
            self._model, requests, choose, batch_size=options.batch_size, on_frames=counter.written
        ):
            codes = self._model.complete(requests[index].tokens, requests[index].prompt, first)
            yield index, codes.cpu().numpy().astype(np.int16)

    # ---------------------------------------------------------------------------------------- sound

    def _continuous(
        self, requests: Sequence[SegmentRequest], codes: Iterator[Codes], end: float
    ) -> Iterator[Sound]:
        """Segments that follow each other are decoded as one sequence; rests between them are silent."""
        from adapters.codec import decode_stream
        from synthesizers.midi_valle.segments import connected

        rate, hop = self._codec.config.sample_rate, self._codec.config.hop_length
        written = 0
        for group in connected(requests):
            yield np.zeros((1, group[0].start * hop - written), np.float32)
            written = group[0].start * hop
            blocks = decode_stream(self._codec, (next(codes).T.astype(np.int64) for _ in group)).blocks
            for block in _faded_out(blocks, round(FADE_OUT * rate)):
                written += block.shape[1]
                yield block
        yield np.zeros((1, max(0, round(end * rate) - written)), np.float32)

    def _joined(self, requests: Sequence[SegmentRequest], codes: Iterator[Codes]) -> Sound:
        """Every segment decoded by itself, joined as the published program does."""
        import torch

        from adapters.codec import device_of
        from synthesizers.midi_valle.official import JOINS

        hop, join, device = self._codec.config.hop_length, self._parameters.join, device_of(self._codec)
        pieces: list[NDArray[np.float32]] = []
        length = 0
        for request, found in zip(requests, codes, strict=True):
            sound = np.zeros(max(0, request.start * hop - length), np.float32)
            if len(found):
                whole = self._codec.decode(torch.from_numpy(found.T.astype(np.int64))[None].to(device))
                sound = np.concatenate([sound, whole[0, 0].cpu().numpy()])
            pieces.append(sound)
            length += len(sound)
        try:
            return JOINS[join](pieces)[None] if pieces else np.zeros((1, 0), np.float32)
        except ValueError as error:
            raise InputError(f"joining {join!r} is not possible: {error}; choose another") from error


# ----------------------------------------------------------------------------------------------- parts


def notes_of(performance: Performance) -> NoteArray:
    from synthesizers.midi_valle.tokens import NoteArray

    return NoteArray(performance.onset, performance.offset, performance.pitch, performance.velocity)


def _faded_out(blocks: Iterator[Sound], samples: int) -> Iterator[Sound]:
    """The same sound with its end faded, which prevents a click before silence."""
    last = next(blocks, None)
    for block in blocks:
        if last is not None:
            yield last
        last = block
    if last is not None:
        length = min(samples, last.shape[1])
        last[:, last.shape[1] - length :] *= np.linspace(1, 0, length, dtype=np.float32)
        yield last


class _NotStoredError(Exception):
    pass


def _stored(index: int) -> Codes | None:
    """The codes of a segment from an earlier, interrupted run."""

    def missing() -> Mapping[str, Codes]:
        raise _NotStoredError

    try:
        return progress.cached_part(f"segment {index}", missing)["codes"]
    except _NotStoredError:
        return None


def _store(index: int, codes: Codes) -> Codes:
    return progress.cached_part(f"segment {index}", lambda: {"codes": codes})["codes"]


class _ProgressCounter:
    """Reports progress. The first codebook counts for half of a frame and the others for the other half: on a
    CPU both take about as long."""

    def __init__(self, requests: Sequence[SegmentRequest]) -> None:
        self._frames = [request.max_frames for request in requests]
        self._first, self._complete, self._segments = 0, 0, 0

    def written(self, frames: int) -> None:
        """``frames`` more of first codebooks."""
        self._first += frames
        self._report()

    def completed(self, index: int) -> None:
        self._complete += self._frames[index]
        self._segments += 1
        self._report()

    def _report(self) -> None:
        total = sum(self._frames)
        done = min(total, 0.5 * (max(self._first, self._complete) + self._complete))
        progress.report(done, total, f"frames, {self._segments} of {len(self._frames)} segments done")


# --------------------------------------------------------------------------------------------- prompts


def _aligned(alignment: Alignment, notes: NoteArray) -> NoteArray:
    """The notes moved to agree with the sound; warns where they have to be moved, or do not agree."""
    from synthesizers.midi_valle.tokens import NoteArray

    if alignment.agreement < MIN_AGREEMENT:
        log.warning(
            "only %.0f%% of the prompt's notes agree with its sound; use the MIDI of this very recording",
            100 * alignment.agreement,
        )
        return notes
    if abs(alignment.lag) > MAX_LAG:
        log.warning(
            "the prompt's sound comes %+.0f ms after its MIDI; its notes are moved", 1000 * alignment.lag
        )
    onset = np.maximum(notes.onset + alignment.lag, 0.0)
    offset = np.maximum(notes.offset + alignment.lag, onset)
    return NoteArray(onset, offset, notes.pitch, notes.velocity)


def _with_notes(prompt: Prompt) -> Prompt:
    """The prompt; the beginning of one without notes is transcribed. Raises ``InputError`` if that fails."""
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
        raise InputError(
            "the transcriber found no piano notes in the prompt: choose another recording, or add its MIDI"
        )
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
"""A cadence in G major over three and a half octaves, soft to fairly loud, silent by 3 s."""


@cache
def default_prompt() -> Prompt:
    """``PHRASE`` on the sampled piano."""
    from adapters.sampled_piano import played
    from score_to_audio.formats.audio import collect

    onset, offset, pitch, velocity = (np.array(column) for column in zip(*PHRASE, strict=True))
    performance = Performance(onset=onset, offset=offset, pitch=pitch, velocity=velocity)
    sound = collect(played(performance, "off"))
    length = round(PROMPT_LENGTH * sound.sample_rate)
    samples = np.pad(sound.samples[:, :length], ((0, 0), (0, max(0, length - sound.samples.shape[1]))))
    return Prompt(Waveform(samples, sound.sample_rate), performance, sha256="default")


# --------------------------------------------------------------------------------------------- loading


def checked_config(tensors: Mapping[str, Tensor], path: Path) -> MidiValleConfig:
    """The sizes of the networks in a checkpoint. Raises ``InputError`` that lists the first differences where
    ``tensors`` are not these networks."""
    from score_to_audio.weights import shape_differences, shapes_of
    from synthesizers.midi_valle.network import config_from_shapes, parameter_shapes

    shapes = shapes_of(tensors)
    try:
        config = config_from_shapes(shapes)
    except ValueError as error:
        raise InputError(f"{path}: not a checkpoint of MIDI-VALLE: {error}") from error
    if differences := shape_differences(parameter_shapes(config), shapes):
        raise InputError(f"{path}: not a checkpoint of MIDI-VALLE: it {differences}")
    return config


def load_model(path: Path, precision: Precision, device: str) -> MidiValle:
    """The networks in a checkpoint as published: a table of tensors, bare or under "model".

    Raises ``InputError`` that lists the first differences for anything else.
    """
    from synthesizers.midi_valle.network import MidiValle

    config = checked_config(checkpoint_tensors(path), path)

    def read(prefix: str) -> dict[str, Tensor]:
        # Opens the file anew each time, so that tensors leave the memory with the mapping.
        return {name: tensor for name, tensor in checkpoint_tensors(path).items() if name.startswith(prefix)}

    return MidiValle(config, read, precision=precision, device=device)


def trained_segment_length(path: Path) -> float:
    """Seconds of the segments that suit a checkpoint: 16, or so that the longest are as long as the excerpts
    that the trainer of this project drew."""
    from synthesizers.midi_valle.segments import MAX_LENGTH

    try:
        excerpt = float(json.loads(training_config(path) or "")["training"]["excerpt"])
    except (ValueError, TypeError, KeyError):  # none, or another program's
        return SEGMENT_LENGTH
    return min(excerpt / MAX_LENGTH, SEGMENT_LENGTH) if excerpt > 0 else SEGMENT_LENGTH


def training_config(path: Path) -> str | None:
    """The configuration of the training, as JSON, in a checkpoint that was trained or exported here."""
    from score_to_audio.weights import load_checkpoint, safetensors_metadata

    if path.suffix == ".safetensors":
        return safetensors_metadata(path).get(TRAINING_CONFIG)
    content = load_checkpoint(path)
    found = content.get(TRAINING_CONFIG) if isinstance(content, dict) else None
    return found if isinstance(found, str) else None


def checkpoint_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint as published, by name, mapped to the file. Raises ``InputError``."""
    import torch

    from score_to_audio.weights import load_checkpoint

    content = load_checkpoint(path)
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict) or not all(isinstance(one, torch.Tensor) for one in content.values()):
        raise InputError(f"{path}: not a checkpoint of MIDI-VALLE: not a table of tensors")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def usable_precision(wanted: Literal["auto", "bfloat16", "float32"], device: str) -> Precision:
    """``auto``: bfloat16 where it is fast, else float32."""
    fast = has_fast_bfloat16(device)
    if wanted == "auto":
        return "bfloat16" if fast else "float32"
    if wanted == "bfloat16" and not fast:
        log.warning("this processor has no bfloat16 instructions; precision=float32 will be faster")
    return wanted
