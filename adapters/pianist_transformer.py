"""The renderer ``pianist-transformer``: binds ``renderers.pianist_transformer`` to scores and checkpoints."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, CheckpointName, Parameters, Spec
from score_to_audio.progress import report
from score_to_audio.seeding import generator
from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH, SUSTAIN, Controls, Performance, Score
from score_to_audio.wording import reason

if TYPE_CHECKING:
    from torch import Tensor

    from renderers.pianist_transformer.generation import Sampling
    from renderers.pianist_transformer.midi import MidiMusic
    from renderers.pianist_transformer.network import NetworkConfig
    from renderers.pianist_transformer.tokens import Ints, Notes, Pedal

CONFIG_FILE, GENERATION_FILE = "config.json", "generation_config.json"
MAX_CONFIG_SIZE = 2**20
"""Bytes."""


class PianistTransformerParameters(Parameters):
    """Options of the renderer ``pianist-transformer``."""

    checkpoint: CheckpointName = Field(
        "pianist-transformer", description="Weights: a name of the table, or a file beside its config.json."
    )
    temperature: float | None = Field(
        None, ge=0, le=5, description="0: always the most probable token; none: as the checkpoint says."
    )
    top_k: int | None = Field(
        None,
        ge=0,
        description="Draw from the most probable tokens only; 0: all; none: as the checkpoint says.",
    )
    top_p: float | None = Field(
        None, gt=0, le=1, description="Draw from this share of the probability; none: as the checkpoint says."
    )
    max_context_length: int = Field(
        4096, ge=256, le=4096, multiple_of=8, description="Tokens of a window, eight per note."
    )
    overlap: float = Field(0.5, ge=0.05, le=0.9, description="Share of a window that the next one hears too.")
    pedal: Literal["model", "none"] = Field("model", description="The model's pedal, or no pedal.")
    lead_in: Literal["score", "model"] = Field(
        "score", description="Time before the first note: the score's, or that of a recording."
    )
    long_rests: Literal["keep", "official"] = Field(
        "keep", description="Intervals and notes over 5 s: as long as in the score, or cut to 5 s."
    )
    tempo_scale: float = Field(
        1.0, ge=0.25, le=4, description="Times every tempo of the score that the model reads."
    )
    score_playback: Literal["auto", "musescore"] = Field(
        "auto",
        description="auto: a MIDI score with the velocities, releases and pedal of its file, any other as "
        "MuseScore plays it; musescore: every score so.",
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="Of the network.")
    compatibility: Literal["none", "official"] = Field(
        "none",
        description="official: the published joins, rests up to 5 s, lead-in and stuck notes, and a MIDI "
        "score without the pedal of tracks that have no notes.",
    )


class PianistTransformer:
    """A transformer that rewrites the score's notes one by one, with timing, velocity and pedal."""

    spec: ClassVar[Spec] = Spec(
        name="pianist-transformer",
        version="1",
        summary="Pianist Transformer: rewrites the score's notes with timing, velocity, duration and pedal.",
        parameters=PianistTransformerParameters,
        paper="You et al., Pianist Transformer: Towards Expressive Piano Performance Rendering via Scalable "
        "Self-Supervised Pre-Training, arXiv 2512.02652",
        code_licence="Apache-2.0 (re-implemented; the authors' code is Apache-2.0)",
        weights_licence="not verified; the authors' code is Apache-2.0",
        limits="hears notes, velocities, durations and pedal of the score only; spreads chords upwards only",
        uses_seed=True,
    )

    def __init__(
        self, parameters: PianistTransformerParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        import torch

        from renderers.pianist_transformer.network import PianistTransformer as Network

        files = checkpoints["checkpoint"].files
        weights = files["weights"]
        config = read_config(files.get("config", weights.with_name(CONFIG_FILE)))
        self._sampling = _sampling(parameters, files.get("generation", weights.with_name(GENERATION_FILE)))
        dtype = torch.bfloat16 if parameters.precision == "bfloat16" else torch.float32
        self._network = Network(config, read_weights(weights, config), dtype, device)
        self._parameters = parameters

    def render(self, score: Score, *, seed: int) -> Performance:
        """Raises ``InputError`` for a score without playable notes."""
        if self._parameters.compatibility == "official":
            return self._render_officially(score, seed)
        return self._render(score, seed)

    def _render(self, score: Score, seed: int) -> Performance:
        from renderers.keyboard import TimedNotes, to_performance
        from renderers.pianist_transformer.tokens import cut_off, decode, durations, encode, intervals

        notes, pedal = self._score_notes(score)
        tokens = encode(notes, pedal)
        performed = self._perform(tokens, seed, score)
        interval, duration = intervals(performed, tokens), np.maximum(durations(performed), 1)
        if self._parameters.long_rests == "keep":
            rest, held = cut_off(notes)
            interval, duration = interval + rest, duration + held
        if self._parameters.lead_in == "score":
            interval[0] = notes.start[0]
        played, pedal = decode(performed, interval, duration)
        timed = TimedNotes(
            source=notes.source,
            onset=played.start / 1000,
            offset=played.end / 1000,
            pitch=played.pitch,
            velocity=played.velocity.astype(np.float64),
        )
        return to_performance(timed, score.parsed.notes.id, self._controls(pedal))

    def _score_notes(self, score: Score) -> tuple[Notes, Pedal]:
        from renderers.pianist_transformer.score import score_notes

        music = _midi(score) if self._parameters.score_playback == "auto" else None
        notes, pedal = score_notes(score.parsed, self._parameters.tempo_scale, music)
        return _checked(notes, score), pedal

    def _perform(self, tokens: Ints, seed: int, score: Score) -> Ints:
        """The performance's tokens [N, 8] of the score's."""
        import torch

        from renderers.pianist_transformer import official
        from renderers.pianist_transformer.generation import generate, prompt
        from renderers.pianist_transformer.tokens import NOTE_TOKENS
        from renderers.pianist_transformer.windows import windows, without_remade

        is_official = self._parameters.compatibility == "official"
        plan = windows(tokens.size, self._parameters.max_context_length, self._parameters.overlap)
        with torch.inference_mode():
            generated = generate(
                self._network,
                torch.from_numpy(tokens).flatten()[None],
                plan if is_official else without_remade(plan),
                self._sampling,
                _noise(seed),
                prompt_of=official.shifted_prompt if is_official else prompt,
                report=lambda done: report(done // NOTE_TOKENS, len(tokens), "notes"),
            )
        return generated.tokens.reshape(-1, NOTE_TOKENS).numpy()

    def _controls(self, pedal: Pedal) -> Controls:
        if self._parameters.pedal == "none":
            return Controls.none()
        return Controls(pedal.time / 1000, np.full(len(pedal.time), SUSTAIN), pedal.value)

    def _render_officially(self, score: Score, seed: int) -> Performance:
        from renderers.pianist_transformer import official
        from renderers.pianist_transformer.midi import in_milliseconds, read_midi
        from renderers.pianist_transformer.score import matches
        from renderers.pianist_transformer.tokens import decode, durations, encode, intervals

        music = _midi(score)
        if music is None:
            notes, pedal = self._score_notes(score)
            source = notes.source
        else:
            notes, pedal = in_milliseconds(music)
            notes = _checked(notes, score)
            source = matches(score.parsed, music)[notes.source]
        tokens = encode(notes, pedal)
        performed = self._perform(tokens, seed, score)
        played, pedal = decode(performed, intervals(performed, tokens), durations(performed))
        heard, pedal = in_milliseconds(read_midi(official.midi_file(played, pedal)))
        heard = _checked(heard, score)
        ids = (*score.parsed.notes.id, "")  # -1: not a note of the score
        by_place: dict[tuple[int, int], deque[str]] = defaultdict(deque)
        for start, pitch, index in zip(played.start.tolist(), played.pitch.tolist(), source, strict=True):
            by_place[start, pitch].append(ids[index])
        places = zip(heard.start.tolist(), heard.pitch.tolist(), strict=True)
        return Performance(
            onset=heard.start / 1000,
            offset=heard.end / 1000,
            pitch=heard.pitch,
            velocity=heard.velocity,
            controls=self._controls(pedal),
            score_ids=tuple(by_place[place].popleft() for place in places),
        )


def _checked(notes: Notes, score: Score) -> Notes:
    """The notes that a piano can play. Raises ``InputError`` where there are none."""
    playable = notes.take((notes.pitch >= LOWEST_PITCH) & (notes.pitch <= HIGHEST_PITCH))
    if not len(playable):
        raise InputError(f"{score.path}: has no notes that a piano can play")
    return playable


def _midi(score: Score) -> MidiMusic | None:
    """What a MIDI score plays; None for any other."""
    from renderers.pianist_transformer.midi import read_midi
    from score_to_audio.formats.midi_events import is_midi

    if not is_midi(score.content):
        return None
    try:
        return read_midi(score.content)
    except ValueError as error:
        raise InputError(f"{score.path}: a damaged MIDI file ({error}); export it again") from error


def _noise(seed: int) -> Callable[[int, int, int, int], Tensor]:
    """For ``generate``: a generator for each window, whose tokens draw in turn."""
    import torch

    generators: dict[int, torch.Generator] = {}

    def noise(window: int, _token: int, first: int, end: int) -> Tensor:
        if window not in generators:
            generators[window] = generator(seed, window)
        return torch.empty(1, end - first).exponential_(generator=generators[window])

    return noise


# ---------------------------------------------------------------------------------------- checkpoint


class _Stack(BaseModel):
    """The encoder or decoder in ``config.json``."""

    vocab_size: Literal[5389]
    hidden_size: int = Field(ge=8, le=4096, multiple_of=8)
    intermediate_size: int = Field(ge=1, le=16384)
    num_hidden_layers: int = Field(ge=1, le=64)
    num_attention_heads: int = Field(ge=1, le=128)
    num_key_value_heads: int = Field(ge=1, le=128)
    head_dim: int = Field(ge=2, le=512, multiple_of=2)
    hidden_activation: Literal["gelu_pytorch_tanh"] = "gelu_pytorch_tanh"
    attention_bias: Literal[False] = False
    query_pre_attn_scalar: float = Field(256, gt=0, le=1e6)
    rms_norm_eps: float = Field(1e-6, gt=0, le=1)
    rope_theta: float = Field(10000.0, gt=1, le=1e9)
    max_position_embeddings: int = Field(8192, ge=4097, le=2**17)
    final_logit_softcapping: float = Field(30.0, gt=0, le=1e6)


_Json = TypeVar("_Json", bound=BaseModel)


class _Config(BaseModel):
    encoder: _Stack
    decoder: _Stack


class _Generation(BaseModel):
    """``generation_config.json``; what it leaves out is as the published program has it."""

    temperature: float = Field(1.0, ge=0, le=5)
    top_k: int = Field(50, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)


def read_config(path: Path) -> NetworkConfig:
    """The sizes in a ``config.json``. Raises ``InputError``."""
    from dataclasses import fields

    from renderers.pianist_transformer.network import NetworkConfig, StackConfig

    config = _read_json(path, _Config)
    for name, stack in (("encoder", config.encoder), ("decoder", config.decoder)):
        if stack.num_attention_heads % stack.num_key_value_heads:
            raise InputError(f"{path}: {name}: the heads are no multiple of the key/value heads")

    def sizes(stack: _Stack) -> StackConfig:
        return StackConfig(**{field.name: getattr(stack, field.name) for field in fields(StackConfig)})

    return NetworkConfig(sizes(config.encoder), sizes(config.decoder), config.decoder.final_logit_softcapping)


def _sampling(parameters: PianistTransformerParameters, path: Path) -> Sampling:
    from renderers.pianist_transformer.generation import Sampling

    stored = _read_json(path, _Generation) if path.is_file() else _Generation.model_validate({})

    def chosen(name: str) -> Any:
        given = getattr(parameters, name)
        return getattr(stored, name) if given is None else given

    return Sampling(chosen("temperature"), chosen("top_k"), chosen("top_p"))


def _read_json(path: Path, model: type[_Json]) -> _Json:
    """Raises ``InputError``, which names the first entry that is wrong."""
    try:
        if path.stat().st_size > MAX_CONFIG_SIZE:
            raise InputError(f"{path}: larger than {MAX_CONFIG_SIZE >> 20} MB; is it a {path.name}?")
        return model.model_validate(json.loads(path.read_text("utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "content"
        raise InputError(f"{path}: {place}: {first['msg']}; give the {path.name} of the weights") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not a readable {path.name} ({reason(error)}); put it beside the weights"
        ) from error


def read_weights(path: Path, config: NetworkConfig) -> dict[str, Tensor]:
    """The tensors of a published file, without those that the network does not use. Raises ``InputError``."""
    import torch

    from renderers.pianist_transformer.network import EMBEDDING, HEAD, UNUSED, shapes
    from score_to_audio.weights import load_checkpoint, shape_differences, shapes_of

    content = load_checkpoint(path)
    entries = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(name): value for name, value in entries if isinstance(value, torch.Tensor)}
    used = {name: value for name, value in tensors.items() if not name.startswith(UNUSED)}
    if HEAD in used:  # one tensor under two names
        head = used.pop(HEAD)
        if not torch.equal(used.setdefault(EMBEDDING, head), head):
            raise InputError(f"{path}: {HEAD} and {EMBEDDING} differ; Pianist Transformer has one for both")
    if differences := shape_differences(shapes(config), shapes_of(used)):
        raise InputError(f"{path}: not a checkpoint of Pianist Transformer: it {differences}")
    if not all(value.is_floating_point() and bool(value.isfinite().all()) for value in used.values()):
        raise InputError(f"{path}: holds weights that are not numbers; get it again")
    return used
