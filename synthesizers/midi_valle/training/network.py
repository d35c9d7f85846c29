"""The networks of MIDI-VALLE over batches, with gradients; parameters have the names of a checkpoint.

``synthesizers.midi_valle.network`` is the same for playing: one sequence at a time, and fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthesizers.midi_valle.layers import NORM_EPSILON
from synthesizers.midi_valle.network import MidiValleConfig, parameter_shapes
from synthesizers.positions import sinusoidal_positions

FIXED = ("nar_text_position.alpha", "nar_audio_position.alpha")
"""Parameters that are not trained."""
NUMBERS = tuple(f"feat_emb.{field}." for field in range(1, 6))
"""Tables of the fields after the pitch."""
TABLES = {"feat_emb.0.": 2.0, "ar_audio_embedding.": 1.0}
"""Standard deviations of other tables. Pitches have 32 of 544 columns and matter most."""
WATCHED = 1
"""Layer whose attention may learn where notes are: the first can work out their times."""


@dataclass(frozen=True)
class Batch:
    """B segments, padded to the longest."""

    tokens: Tensor
    """[B, S, 6] notes, padded with 0."""
    token_lengths: Tensor
    """[B]"""
    codes: Tensor
    """[B, T, codebooks], padded with 0."""
    code_lengths: Tensor
    """[B]"""

    @property
    def text_padding(self) -> Tensor:
        """[B, S] True where there is no note."""
        return _padding(self.token_lengths, self.tokens.shape[1])

    @property
    def audio_padding(self) -> Tensor:
        """[B, T] True where there is no frame."""
        return _padding(self.code_lengths, self.codes.shape[1])

    @property
    def frames(self) -> int:
        return int(self.code_lengths.sum())


def _padding(lengths: Tensor, longest: int) -> Tensor:
    return torch.arange(longest, device=lengths.device) >= lengths[:, None]


class TrainingNetwork(nn.Module):
    """Both networks. The weights of two predictions are those of the embeddings of the codebooks that follow,
    as published (Press & Wolf, "Using the Output Embedding to Improve Language Models", EACL 2017)."""

    def __init__(self, config: MidiValleConfig, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.config, self.dropout = config, dropout
        tied = {
            f"nar_predict_layers.{stage}.weight": f"nar_audio_embeddings.{stage + 2}.word_embeddings.weight"
            for stage in range(config.codebooks - 2)
        }
        made: dict[str, nn.Parameter] = {}
        for name, shape in parameter_shapes(config).items():
            if name not in tied:
                made[name] = nn.Parameter(_initial(name, shape), requires_grad=name not in FIXED)
        made |= {name: made[other] for name, other in tied.items()}
        for name in parameter_shapes(config):
            _register(self, name, made[name])
        self.p: Mapping[str, nn.Parameter] = made

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Weights of a checkpoint. Of a tied pair the prediction's count, which the published program loads
        last."""
        self.load_state_dict(dict(tensors))

    # ------------------------------------------------------------------------------- the first codebook

    def first_logits(self, batch: Batch, codes: Tensor, watched: list[Tensor] | None = None) -> Tensor:
        """Logits [B, T, codes + 1] of the frame after each of the first codebook's ``codes`` [B, T].

        ``watched`` gets how much each frame attends to each note, as below.
        """
        text = self._drop(self._placed("ar_text", self._text("ar", batch.tokens)))
        embedding = self.p["ar_audio_embedding.word_embeddings.weight"]
        audio = self._drop(self._placed("ar_audio", functional.embedding(codes, embedding)))
        notes, frames = text.shape[1], audio.shape[1]
        sees = torch.ones(notes + frames, notes + frames, dtype=torch.bool, device=text.device).tril()
        sees[:notes, :notes] = True
        padding = torch.cat([batch.text_padding, batch.audio_padding], dim=1)
        mask = sees & ~padding[:, None, None]
        rows = torch.cat([text, audio], dim=1)
        rows = self._decoder("ar_decoder", rows, mask, stage=None, watched=watched)
        if watched is not None:
            watched[:] = [scores[:, :, notes:, :notes] for scores in watched]
        return functional.linear(rows[:, notes:], self.p["ar_predict_layer.weight"])

    # --------------------------------------------------------------------------------- the other codebooks

    def other_logits(
        self, batch: Batch, stage: int, prefix: int, watched: list[Tensor] | None = None
    ) -> Tensor:
        """Logits [B, T - prefix, codes] of codebook ``stage`` + 1 (from 1), given the ones before it and all
        codebooks of ``prefix`` frames. ``watched`` as above."""
        text = self._placed("nar_text", self._text("nar", batch.tokens))
        tables = [
            self.p[f"nar_audio_embeddings.{book}.word_embeddings.weight"]
            for book in range(self.config.codebooks)
        ]
        first = batch.codes[..., 0].masked_fill(batch.audio_padding, self.config.codes)
        frames = functional.embedding(first, tables[0])
        known = torch.arange(frames.shape[1], device=frames.device)[:, None] < prefix
        for book in range(1, self.config.codebooks):
            found = functional.embedding(batch.codes[..., book], tables[book])
            frames = frames + (found if book < stage else found * known)
        audio = self._drop(self._placed("nar_audio", frames))
        padding = torch.cat([batch.text_padding, batch.audio_padding], dim=1)
        rows = torch.cat([text, audio], dim=1)
        mask = ~padding[:, None, None]
        rows = self._decoder("nar_decoder", rows, mask, stage=stage - 1, watched=watched)
        if watched is not None:
            notes = text.shape[1]
            watched[:] = [scores[:, :, notes:, :notes] for scores in watched]
        weight = self.p[f"nar_predict_layers.{stage - 1}.weight"]
        return functional.linear(rows[:, text.shape[1] + prefix :], weight)

    # ---------------------------------------------------------------------------------------------- parts

    def _text(self, part: str, tokens: Tensor) -> Tensor:
        fields = [
            functional.embedding(tokens[..., field], self.p[f"feat_emb.{field}.word_embeddings.weight"])
            for field in range(tokens.shape[-1])
        ]
        return self._linear(f"{part}_text_embedding", torch.cat(fields, dim=-1))

    def _placed(self, name: str, rows: Tensor) -> Tensor:
        positions = sinusoidal_positions(rows.shape[1], rows.shape[2]).to(rows.device)
        return rows + self.p[f"{name}_position.alpha"] * positions

    def _decoder(
        self, name: str, rows: Tensor, mask: Tensor, stage: int | None, watched: list[Tensor] | None
    ) -> Tensor:
        """``mask`` [B, 1, 1 or N, N]: True where a row sees a column. ``watched`` gets the logits
        [B, heads, N, N] of the attention of layer ``WATCHED``."""
        for index in range(self.config.layers):
            layer = f"{name}.layers.{index}"
            seen = watched if index == min(WATCHED, self.config.layers - 1) else None
            normed = self._norm(f"{layer}.norm1", rows, stage)
            attended = self._attention(f"{layer}.self_attn", normed, mask, seen)
            rows = rows + self._drop(attended)
            inner = functional.relu(
                self._linear(f"{layer}.linear1", self._norm(f"{layer}.norm2", rows, stage))
            )
            rows = rows + self._drop(self._linear(f"{layer}.linear2", self._drop(inner)))
        return self._norm(f"{name}.norm", rows, stage)

    def _attention(self, name: str, rows: Tensor, mask: Tensor, watched: list[Tensor] | None) -> Tensor:
        weight, bias = self.p[f"{name}.in_proj_weight"], self.p[f"{name}.in_proj_bias"]
        projected = functional.linear(rows, weight, bias).unflatten(-1, (3, self.config.heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        if watched is not None:
            watched.append(query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5)
        share = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, mask, dropout_p=share)
        return self._linear(f"{name}.out_proj", attended.transpose(1, 2).flatten(2))

    def _norm(self, name: str, rows: Tensor, stage: int | None) -> Tensor:
        """Adaptive where there is a stage: scaled and shifted by a projection of its embedding."""
        inner = name if stage is None else f"{name}.norm"
        weight, bias = self.p[f"{inner}.weight"], self.p[f"{inner}.bias"]
        normed = functional.layer_norm(rows, rows.shape[-1:], weight, bias, NORM_EPSILON)
        if stage is None:
            return normed
        embedding = self.p[f"nar_stage_embeddings.{stage}.word_embeddings.weight"][0]
        scale, shift = self._linear(f"{name}.project_layer", embedding).chunk(2)
        return scale * normed + shift

    def _linear(self, name: str, rows: Tensor) -> Tensor:
        return functional.linear(rows, self.p[f"{name}.weight"], self.p[f"{name}.bias"])

    def _drop(self, rows: Tensor) -> Tensor:
        return functional.dropout(rows, self.dropout, self.training)


def _register(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Make modules for the dots of a name."""
    *path, leaf = name.split(".")
    for part in path:
        if part not in module._modules:
            module.add_module(part, nn.Module())
        module = module._modules[part] or module
    module.register_parameter(leaf, parameter)


def _initial(name: str, shape: tuple[int, ...]) -> Tensor:
    """As PyTorch starts modules of these kinds; the scale of adaptive norms starts at 1.

    The tables of notes and of the first codebook start as large as the positions that are added to them, or
    notes and codes would take long to stand out from where they are. Tables of numbers (velocity, duration,
    interval, position, bar) start as sinusoids, so that neighbours are alike: each of their thousands of rows
    is learnt from few examples. Tables that also predict start smaller.
    """
    if name.startswith(NUMBERS):
        return sinusoidal_positions(*shape)
    values = torch.empty(shape)
    if name.endswith(".alpha") or (len(shape) == 1 and name.endswith("weight")):
        return nn.init.ones_(values)
    if len(shape) == 1:
        nn.init.zeros_(values)
        if name.endswith("project_layer.bias"):
            values[: len(values) // 2] = 1
        return values
    if ("embedding" in name and "text_embedding" not in name) or name.startswith("feat_emb"):
        deviation = next((one for start, one in TABLES.items() if name.startswith(start)), shape[1] ** -0.5)
        return nn.init.normal_(values, std=deviation)
    return nn.init.xavier_uniform_(values)
