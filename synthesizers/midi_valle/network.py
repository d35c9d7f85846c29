"""The networks of MIDI-VALLE: one writes the first codebook frame by frame, one adds the others.

Sections 3 and 4 of the paper; the architecture is that of VALL-E (Wang et al., "Neural Codec Language Models
are Zero-Shot Text to Speech Synthesizers", 2023), with six tables for a note in place of one for phonemes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from score_to_audio.packed_linear import PackedLinear
from synthesizers.midi_valle.layers import (
    DTYPES,
    Attend,
    Cache,
    Layer,
    Precision,
    Transformer,
    has_fast_fused_attention,
)
from synthesizers.positions import sinusoidal_positions

HEAD_WIDTH = 64
"""Of the published model: 1024 / 16."""
POSITIONS = 4000
"""Rows of sinusoidal positions computed in advance: 80 s of frames."""


@dataclass(frozen=True)
class MidiValleConfig:
    """Sizes of the networks; the defaults are those of the published checkpoint."""

    width: int = 1024
    heads: int = 16
    layers: int = 12
    codebooks: int = 4
    codes: int = 2048
    """Per codebook; the token of this number ends the sequence."""
    field_rows: tuple[int, ...] = (92, 68, 1156, 772, 388, 20)
    """Of the tables for pitch, velocity, duration, interval, position and bar."""
    field_widths: tuple[int, ...] = (32, 32, 256, 128, 64, 32)


PARTS = ("weight", "bias")
Shapes = dict[str, tuple[int, ...]]
Read = Callable[[str], Mapping[str, Tensor]]
"""The tensors of a checkpoint whose names start with a prefix, by their full names."""


def parameter_shapes(config: MidiValleConfig) -> Shapes:
    """The names of a checkpoint's tensors and their shapes."""
    width, codes = config.width, config.codes
    shapes: Shapes = {
        f"feat_emb.{field}.word_embeddings.weight": shape
        for field, shape in enumerate(zip(config.field_rows, config.field_widths, strict=True))
    }
    for part in ("ar", "nar"):
        shapes[f"{part}_text_embedding.weight"] = (width, sum(config.field_widths))
        shapes[f"{part}_text_embedding.bias"] = (width,)
        shapes[f"{part}_text_position.alpha"] = shapes[f"{part}_audio_position.alpha"] = (1,)
        shapes |= _decoder_shapes(f"{part}_decoder", config, adaptive=part == "nar")
    shapes["ar_audio_embedding.word_embeddings.weight"] = (codes + 1, width)
    shapes["ar_predict_layer.weight"] = (codes + 1, width)
    for book in range(config.codebooks):
        rows = codes + 1 if book == 0 else codes
        shapes[f"nar_audio_embeddings.{book}.word_embeddings.weight"] = (rows, width)
    for stage in range(config.codebooks - 1):
        shapes[f"nar_stage_embeddings.{stage}.word_embeddings.weight"] = (1, width)
        shapes[f"nar_predict_layers.{stage}.weight"] = (codes, width)
    return shapes


def _decoder_shapes(name: str, config: MidiValleConfig, *, adaptive: bool) -> Shapes:
    width = config.width
    shapes = _norm_shapes(f"{name}.norm", width, adaptive=adaptive)
    for index in range(config.layers):
        layer = f"{name}.layers.{index}"
        shapes[f"{layer}.self_attn.in_proj_weight"] = (3 * width, width)
        shapes[f"{layer}.self_attn.in_proj_bias"] = (3 * width,)
        for linear, out, into in (
            ("self_attn.out_proj", width, width),
            ("linear1", 4 * width, width),
            ("linear2", width, 4 * width),
        ):
            shapes[f"{layer}.{linear}.weight"], shapes[f"{layer}.{linear}.bias"] = (out, into), (out,)
        for norm in ("norm1", "norm2"):
            shapes |= _norm_shapes(f"{layer}.{norm}", width, adaptive=adaptive)
    return shapes


def _norm_shapes(name: str, width: int, *, adaptive: bool) -> Shapes:
    inner = f"{name}.norm" if adaptive else name
    shapes: Shapes = {f"{inner}.weight": (width,), f"{inner}.bias": (width,)}
    if adaptive:
        shapes[f"{name}.project_layer.weight"] = (2 * width, width)
        shapes[f"{name}.project_layer.bias"] = (2 * width,)
    return shapes


def config_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> MidiValleConfig:
    """Of a checkpoint with tensors of these shapes. Raises ``ValueError`` if it cannot be of this model."""
    fields = [shapes.get(f"feat_emb.{field}.word_embeddings.weight", ()) for field in range(6)]
    predict = shapes.get("ar_predict_layer.weight", ())
    if any(len(shape) != 2 for shape in (*fields, predict)):
        raise ValueError("it has no feat_emb.0 ... feat_emb.5 and ar_predict_layer of MIDI-VALLE")
    return MidiValleConfig(
        width=predict[1],
        heads=max(1, predict[1] // HEAD_WIDTH),
        layers=sum(name.endswith("linear1.bias") for name in shapes if name.startswith("ar_decoder.")),
        codebooks=sum(name.startswith("nar_audio_embeddings.") for name in shapes),
        codes=predict[0] - 1,
        field_rows=tuple(shape[0] for shape in fields),
        field_widths=tuple(shape[1] for shape in fields),
    )


class MidiValle:
    """Both networks, ready for inference. Sequences are not batched: [positions, ...]."""

    def __init__(
        self, config: MidiValleConfig, read: Read, *, precision: Precision, device: str = "cpu"
    ) -> None:
        """Reads tensors group by group, so that never more than one group is in memory twice."""
        self.config, self.device = config, device
        build = _Builder(config, read, DTYPES[precision], device)
        fields = range(len(config.field_rows))
        self._tables = [build.tensor(f"feat_emb.{field}.word_embeddings.weight") for field in fields]
        self._ar_text = build.dense("ar_text_embedding", torch.float32)
        self._nar_text = build.dense("nar_text_embedding", torch.float32)
        self._alpha = {
            name: build.tensor(f"{name}_position.alpha")
            for name in ("ar_text", "ar_audio", "nar_text", "nar_audio")
        }
        self._positions = sinusoidal_positions(POSITIONS, config.width).to(device)
        self._ar_audio = build.tensor("ar_audio_embedding.word_embeddings.weight")
        self._ar_predict = build.dense("ar_predict_layer", torch.float32)
        self.ar_decoder = build.transformer("ar_decoder", stages=None)
        stages = range(config.codebooks - 1)
        self.nar_decoder = build.transformer(
            "nar_decoder",
            stages=[build.tensor(f"nar_stage_embeddings.{stage}.word_embeddings.weight") for stage in stages],
        )
        # The published model ties predict layer i to audio embedding i + 2, except the last. A file has both
        # names, and PyTorch loads the predict layer's last.
        self._nar_predict = [build.dense(f"nar_predict_layers.{stage}", torch.float32) for stage in stages]
        self._nar_audio = [
            build.tensor(
                f"nar_predict_layers.{book - 2}.weight"
                if book >= 2
                else f"nar_audio_embeddings.{book}.word_embeddings.weight"
            )
            for book in range(config.codebooks)
        ]

    @property
    def end(self) -> int:
        """The token that ends the first codebook."""
        return self.config.codes

    # ---------------------------------------------------------------------------- the first codebook

    @torch.inference_mode()
    def start(self, tokens: Tensor, prompt: Tensor, cache: Cache | None = None) -> Tensor:
        """Notes [X, 6] and the prompt's first codebook [P] -> logits [codes + 1] of the next frame.

        ``cache`` stores the keys and values of all X + P positions.
        """
        text = self._placed("ar_text", self._ar_text(self._note_embedding(tokens)))
        audio = self._placed("ar_audio", self._ar_audio[prompt])
        notes, count = len(text), len(text) + len(audio)
        mask = torch.ones(count, count, dtype=torch.bool, device=self.device).tril()
        mask[:notes, :notes] = True
        output = self.ar_decoder.whole(
            torch.cat([text, audio]), mask=mask, cache=cache, needed_from=count - 1
        )
        return self._ar_predict(output)[0]

    @torch.inference_mode()
    def step(self, frames: Tensor, places: Tensor, attend: Attend) -> Tensor:
        """Logits [R, codes + 1] after the frames [R], which are at ``places`` [R] of their sequences (prompt
        included, reserved); ``attend`` has the keys and values of the earlier positions."""
        rows = self._ar_audio[frames] + self._alpha["ar_audio"] * self._positions[places]
        return self._ar_predict(self.ar_decoder.step(rows, attend))

    # ------------------------------------------------------------------------------ the other codebooks

    def complete(self, tokens: Tensor, prompt: Tensor, first: Tensor) -> Tensor:
        """All codebooks [F, codebooks] for notes [X, 6], prompt [P, codebooks] and first codebook [F]."""
        if not len(first):
            return first.new_zeros(0, self.config.codebooks)
        others = (logits.argmax(dim=-1) for logits in self.stage_logits(tokens, prompt, first))
        return torch.stack([first, *others], dim=1)

    @torch.inference_mode()
    def stage_logits(self, tokens: Tensor, prompt: Tensor, first: Tensor) -> Iterator[Tensor]:
        """Logits [F, codes] of the second, third, ... codebook, each computed with the likeliest codes of
        those before; inputs as for ``complete``."""
        text = self._placed("nar_text", self._nar_text(self._note_embedding(tokens)))
        frames = self._nar_audio[0][torch.cat([prompt[:, 0], first])]
        for book in range(1, self.config.codebooks):
            frames[: len(prompt)] += self._nar_audio[book][prompt[:, book]]
        for stage, predict in enumerate(self._nar_predict):
            rows = torch.cat([text, self._placed("nar_audio", frames)])
            output = self.nar_decoder.whole(rows, stage=stage, needed_from=len(text) + len(prompt))
            logits = predict(output)
            yield logits
            frames[len(prompt) :] += self._nar_audio[stage + 1][logits.argmax(dim=-1)]

    # ------------------------------------------------------------------------------------ embeddings

    def _note_embedding(self, tokens: Tensor) -> Tensor:
        return torch.cat([table[tokens[:, field]] for field, table in enumerate(self._tables)], dim=-1)

    def _placed(self, name: str, rows: Tensor) -> Tensor:
        """Rows [N, width] plus their positions."""
        self.reserve(len(rows))
        return rows + self._alpha[name] * self._positions[: len(rows)]

    def reserve(self, count: int) -> None:
        """Compute positions for sequences of ``count`` frames if there are fewer."""
        if count > len(self._positions):
            self._positions = sinusoidal_positions(2 * count, self.config.width).to(self.device)


class _Builder:
    """Makes layers for inference from a checkpoint's tensors."""

    def __init__(self, config: MidiValleConfig, read: Read, dtype: torch.dtype, device: str) -> None:
        self._config, self._read, self._dtype, self._device = config, read, dtype, device

    def tensor(self, name: str) -> Tensor:
        return self._read(name)[name].to(self._device, torch.float32, copy=True)

    def dense(self, name: str, dtype: torch.dtype) -> PackedLinear:
        found = self._read(name)
        return PackedLinear(found[f"{name}.weight"], found.get(f"{name}.bias"), dtype, self._device)

    def transformer(self, name: str, stages: list[Tensor] | None) -> Transformer:
        layers = [self._layer(f"{name}.layers.{index}.", stages) for index in range(self._config.layers)]
        norm = _norm(self._read(f"{name}.norm."), f"{name}.norm", stages).to(self._device)
        rounded = self._device != "cpu" or has_fast_fused_attention()
        attention_dtype = self._dtype if rounded else torch.float32
        return Transformer(layers, norm, self._config.heads, attention_dtype)

    def _layer(self, prefix: str, stages: list[Tensor] | None) -> Layer:
        found = self._read(prefix)

        def dense(
            name: str, weight: str = ".weight", bias: str = ".bias", *, relu: bool = False
        ) -> PackedLinear:
            return PackedLinear(
                found[prefix + name + weight],
                found[prefix + name + bias],
                self._dtype,
                self._device,
                relu=relu,
            )

        return Layer(
            norm1=_norm(found, f"{prefix}norm1", stages).to(self._device),
            project_in=dense("self_attn.in_proj", "_weight", "_bias"),
            project_out=dense("self_attn.out_proj"),
            norm2=_norm(found, f"{prefix}norm2", stages).to(self._device),
            feed_in=dense("linear1", relu=True),
            feed_out=dense("linear2"),
        )


def _norm(found: Mapping[str, Tensor], name: str, stages: list[Tensor] | None) -> Tensor:
    """[stages, 2, width]: weight and bias. Those of an adaptive norm depend on the stage only: a projection
    of its embedding, applied to a plain norm."""
    if stages is None:
        return torch.stack([found[f"{name}.weight"], found[f"{name}.bias"]])[None].float()
    inner, project = (
        {part: found[f"{name}.{module}.{part}"].to(stages[0].device, torch.float32) for part in PARTS}
        for module in ("norm", "project_layer")
    )
    norms = []
    for stage in stages:
        scale, shift = torch.nn.functional.linear(stage[0], project["weight"], project["bias"]).chunk(2)
        norms.append(torch.stack([scale * inner["weight"], scale * inner["bias"] + shift]))
    return torch.stack(norms)
