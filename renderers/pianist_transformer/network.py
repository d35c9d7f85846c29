"""The network: an encoder over notes and a decoder over tokens, for inference.

T5Gemma's layers (Zhang et al., Encoder-Decoder Gemma, arXiv 2504.06225) on one vector per score note. Linear
layers have the chosen precision; norms, sums and attention are in float32. Attention scores are not capped:
the published weights were trained that way. Tensor names are those of the published file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from renderers.pianist_transformer.tokens import KINDS, NOTE_TOKENS, VOCABULARY
from score_to_audio.packed_linear import PackedLinear

HEAD, EMBEDDING = "lm_head.out_proj.weight", "model.decoder.embed_tokens.weight"
"""Two names of one tensor; a file has either or both."""
UNUSED = ("embeddings.", "model.encoder.embed_tokens.")
"""Prefixes of tensors that a file may have and the network does not use."""


@dataclass(frozen=True)
class StackConfig:
    """Sizes of the encoder or the decoder; the names are those of ``config.json``."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    query_pre_attn_scalar: float = 256.0
    """Attention scores are divided by its square root."""
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    max_position_embeddings: int = 8192


@dataclass(frozen=True)
class NetworkConfig:
    encoder: StackConfig
    decoder: StackConfig
    final_logit_softcapping: float = 30.0


def shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that the network uses, by name."""
    encoder, decoder = config.encoder, config.decoder
    width = encoder.hidden_size
    found: dict[str, tuple[int, ...]] = {
        "model.encoder.embeddings.word_embeddings.weight": (VOCABULARY, width),
        EMBEDDING: (VOCABULARY, decoder.hidden_size),
        "model.encoder.norm.weight": (width,),
        "model.decoder.norm.weight": (decoder.hidden_size,),
    }
    for place in range(NOTE_TOKENS):
        name = f"model.encoder.embeddings.projection_layers.{place}"
        found |= {f"{name}.weight": (width // NOTE_TOKENS, width), f"{name}.bias": (width // NOTE_TOKENS,)}
    for stack, of, attentions in (
        (encoder, "encoder", ("self_attn",)),
        (decoder, "decoder", ("self_attn", "cross_attn")),
    ):
        for index in range(stack.num_hidden_layers):
            found |= _layer_shapes(stack, f"model.{of}.layers.{index}", attentions, width)
    return found


def _layer_shapes(
    stack: StackConfig, name: str, attentions: tuple[str, ...], memory: int
) -> dict[str, tuple[int, ...]]:
    """``memory``: width of what cross-attention looks at."""
    width, inner = stack.hidden_size, stack.intermediate_size
    query, key = (heads * stack.head_dim for heads in (stack.num_attention_heads, stack.num_key_value_heads))
    found: dict[str, tuple[int, ...]] = {
        f"{name}.mlp.gate_proj.weight": (inner, width),
        f"{name}.mlp.up_proj.weight": (inner, width),
        f"{name}.mlp.down_proj.weight": (width, inner),
    }
    for attention in attentions:
        seen = width if attention == "self_attn" else memory
        found |= {
            f"{name}.{attention}.q_proj.weight": (query, width),
            f"{name}.{attention}.k_proj.weight": (key, seen),
            f"{name}.{attention}.v_proj.weight": (key, seen),
            f"{name}.{attention}.o_proj.weight": (width, query),
        }
    for sublayer in (*attentions, "feedforward"):
        for place in ("pre", "post"):
            found[f"{name}.{place}_{sublayer}_layernorm.weight"] = (width,)
    return found


class PianistTransformer:
    """Encoder and decoder, with the tensors of ``shapes``."""

    def __init__(
        self, config: NetworkConfig, tensors: Mapping[str, Tensor], dtype: torch.dtype, device: str
    ) -> None:
        self.config = config
        weights = _Weights(tensors, dtype, device)
        self.encoder = Encoder(config.encoder, weights)
        self.decoder = Decoder(config.decoder, weights, config.final_logit_softcapping)


@dataclass(frozen=True)
class _Weights:
    tensors: Mapping[str, Tensor]
    dtype: torch.dtype
    device: str

    def linear(self, *names: str) -> PackedLinear:
        """One linear layer for the outputs of several, in order."""
        weight = torch.cat([self.tensors[f"{name}.weight"] for name in names])
        return PackedLinear(weight, None, self.dtype, self.device)

    def rows(self, name: str, first: int, end: int) -> PackedLinear:
        """A linear layer with some rows of a table."""
        return PackedLinear(self.tensors[name][first:end], None, self.dtype, self.device)

    def table(self, name: str) -> Tensor:
        return self.tensors[name].detach().to(self.device, self.dtype, copy=True)

    def norm(self, name: str) -> Tensor:
        """The factor of an RMS norm."""
        return 1 + self.tensors[f"{name}.weight"].detach().to(self.device, torch.float32)


class Encoder:
    def __init__(self, config: StackConfig, weights: _Weights) -> None:
        names = [f"model.encoder.layers.{index}" for index in range(config.num_hidden_layers)]
        self.layers = [EncoderLayer(config, weights, name) for name in names]
        self._embeddings = weights.table("model.encoder.embeddings.word_embeddings.weight")
        projections = [f"model.encoder.embeddings.projection_layers.{n}" for n in range(NOTE_TOKENS)]
        self._projection = torch.stack([weights.table(f"{name}.weight").mT for name in projections])
        self._bias = torch.stack([weights.table(f"{name}.bias") for name in projections])
        self._norm = weights.norm("model.encoder.norm")
        self._rotary = _rotary(config, weights.device)
        self._eps = config.rms_norm_eps

    def embed(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, 8] -> one vector per note, [B, N, width]."""
        embedded = self._embeddings[tokens]
        projected = torch.einsum("bnti,tio->bnto", embedded, self._projection) + self._bias
        return projected.flatten(2).float()

    def __call__(self, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        """Tokens [B, N, 8] -> [B, N, width]. ``visible`` [B, N]: notes that are not padding; None: all."""
        rows = self.embed(tokens)
        rows = rows * math.sqrt(rows.shape[-1])
        mask = None if visible is None else visible[:, None, None]
        rotary = self._rotary[: rows.shape[1]]
        for layer in self.layers:
            rows = layer(rows, rotary, mask)
        return _normed(rows, self._norm, self._eps)


class EncoderLayer:
    def __init__(self, config: StackConfig, weights: _Weights, name: str) -> None:
        self._attention = _SelfAttention(config, weights, name)
        self._feed_forward = _FeedForward(config, weights, name)

    def __call__(self, rows: Tensor, rotary: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = self._attention.project(rows, rotary)
        return self._feed_forward(rows + self._attention.attend(query, key, value, mask))


@dataclass
class Memory:
    """What the decoder remembers of a window, per layer: float32 [B, key heads, head width, positions]."""

    cross_keys: list[Tensor]
    cross_values: list[Tensor]
    keys: list[Tensor]
    values: list[Tensor]
    """Of the decoder's own positions, of which the first ``length`` are filled."""
    visible: Tensor | None
    """[B, 1, 1, notes] score notes that cross-attention sees; None: all."""
    length: int = 0


class Decoder:
    def __init__(self, config: StackConfig, weights: _Weights, cap: float) -> None:
        names = [f"model.decoder.layers.{index}" for index in range(config.num_hidden_layers)]
        self.layers = [DecoderLayer(config, weights, name) for name in names]
        self._embeddings = weights.table(EMBEDDING)
        self._heads = [(first, weights.rows(EMBEDDING, first, end)) for first, end in pairwise(KINDS)]
        self._norm = weights.norm("model.decoder.norm")
        self._rotary = _rotary(config, weights.device)
        self._config, self._cap = config, cap

    def memory(self, encoded: Tensor, positions: int, visible: Tensor | None = None) -> Memory:
        """An empty memory for up to ``positions`` tokens over encoded notes [B, N, width]."""
        config = self._config
        keys, values = zip(*(layer.cross_keys(encoded) for layer in self.layers), strict=True)
        shape = len(encoded), config.num_key_value_heads, config.head_dim, positions

        def empty() -> list[Tensor]:
            return [torch.empty(shape, device=encoded.device) for _ in self.layers]

        mask = None if visible is None else visible[:, None, None]
        return Memory(list(keys), list(values), empty(), empty(), mask)

    def __call__(self, tokens: Tensor, memory: Memory, needed: int) -> Tensor:
        """The next T tokens [B, T] -> the states after the last ``needed`` of them, [B, needed, width].

        The memory grows by T positions.
        """
        rows = self._embeddings[tokens].float() * math.sqrt(self._config.hidden_size)
        rotary = self._rotary[memory.length : memory.length + tokens.shape[1]]
        for index, layer in enumerate(self.layers):
            is_last = index == len(self.layers) - 1
            rows = layer(rows, rotary, memory, index, needed if is_last else tokens.shape[1])
        memory.length += tokens.shape[1]
        return _normed(rows, self._norm, self._config.rms_norm_eps)

    def logits(self, states: Tensor, first: int, end: int) -> Tensor:
        """float32 logits of the ids ``first`` to ``end`` - 1, all of one kind: [..., end - first]."""
        start, head = next(entry for entry in reversed(self._heads) if entry[0] <= first)
        capped = torch.tanh(head(states).float() / self._cap) * self._cap
        return capped[..., first - start : end - start]


class DecoderLayer:
    def __init__(self, config: StackConfig, weights: _Weights, name: str) -> None:
        self._attention = _SelfAttention(config, weights, name)
        self._cross = _CrossAttention(config, weights, name)
        self._feed_forward = _FeedForward(config, weights, name)

    def cross_keys(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        return self._cross.keys(encoded)

    def __call__(self, rows: Tensor, rotary: Tensor, memory: Memory, index: int, needed: int) -> Tensor:
        """[B, T, width] -> [B, needed, width] for the last positions; keys and values of all are kept."""
        start, end = memory.length, memory.length + rows.shape[1]
        query, key, value = self._attention.project(rows, rotary)
        keys, values = memory.keys[index], memory.values[index]
        keys[..., start:end], values[..., start:end] = key, value
        rows, query = rows[:, -needed:], query[:, -needed:]
        mask = None
        if needed > 1:
            place = torch.arange(end, device=rows.device)
            mask = place <= place[end - needed :, None]
        rows = rows + self._attention.attend(query, keys[..., :end], values[..., :end], mask)
        rows = rows + self._cross(rows, memory.cross_keys[index], memory.cross_values[index], memory.visible)
        return self._feed_forward(rows)


class _SelfAttention:
    def __init__(self, config: StackConfig, weights: _Weights, name: str) -> None:
        self._project = weights.linear(*(f"{name}.self_attn.{part}_proj" for part in "qkv"))
        self._output = weights.linear(f"{name}.self_attn.o_proj")
        self._before = weights.norm(f"{name}.pre_self_attn_layernorm")
        self._after = weights.norm(f"{name}.post_self_attn_layernorm")
        self._config = config

    def project(self, rows: Tensor, rotary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """float32 queries [B, T, heads, head width]; keys and values [B, key heads, head width, T]."""
        config = self._config
        projected = self._project(_normed(rows, self._before, config.rms_norm_eps))
        parts = projected.float().unflatten(-1, (-1, config.head_dim))
        rotating = config.num_attention_heads + config.num_key_value_heads
        rotated = _rotated(parts[:, :, :rotating], rotary)
        query, key = rotated.split([config.num_attention_heads, config.num_key_value_heads], dim=2)
        return query, key.permute(0, 2, 3, 1), parts[:, :, rotating:].permute(0, 2, 3, 1)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """What attention adds to the rows [B, T, width]; ``mask`` broadcasts to [B, 1, T, positions]."""
        attended = self._output(_attention(query, keys, values, mask, self._config))
        return _normed(attended, self._after, self._config.rms_norm_eps)


class _CrossAttention:
    def __init__(self, config: StackConfig, weights: _Weights, name: str) -> None:
        self._query = weights.linear(f"{name}.cross_attn.q_proj")
        self._keys = weights.linear(f"{name}.cross_attn.k_proj", f"{name}.cross_attn.v_proj")
        self._output = weights.linear(f"{name}.cross_attn.o_proj")
        self._before = weights.norm(f"{name}.pre_cross_attn_layernorm")
        self._after = weights.norm(f"{name}.post_cross_attn_layernorm")
        self._config = config

    def keys(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, width] -> float32 keys and values [B, key heads, head width, N]."""
        parts = self._keys(encoded).float().unflatten(-1, (2, -1, self._config.head_dim))
        keys, values = parts.permute(2, 0, 3, 4, 1).contiguous()
        return keys, values

    def __call__(self, rows: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None) -> Tensor:
        config = self._config
        query = self._query(_normed(rows, self._before, config.rms_norm_eps))
        query = query.float().unflatten(-1, (-1, config.head_dim))
        attended = self._output(_attention(query, keys, values, visible, config))
        return _normed(attended, self._after, config.rms_norm_eps)


class _FeedForward:
    """The gated layer, added to its input."""

    def __init__(self, config: StackConfig, weights: _Weights, name: str) -> None:
        self._inner = weights.linear(f"{name}.mlp.gate_proj", f"{name}.mlp.up_proj")
        self._output = weights.linear(f"{name}.mlp.down_proj")
        self._before = weights.norm(f"{name}.pre_feedforward_layernorm")
        self._after = weights.norm(f"{name}.post_feedforward_layernorm")
        self._eps = config.rms_norm_eps

    def __call__(self, rows: Tensor) -> Tensor:
        gate, up = self._inner(_normed(rows, self._before, self._eps)).chunk(2, dim=-1)
        output = self._output(functional.gelu(gate, approximate="tanh") * up)
        return rows + _normed(output, self._after, self._eps)


def _attention(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, config: StackConfig
) -> Tensor:
    """Queries [B, T, heads, head width] over keys and values [B, key heads, head width, n] ->
    [B, T, heads * head width]; 0 where nothing is visible. ``mask`` broadcasts to [B, 1, T, n].

    Plain products: with positions last they take half the time of the fused kernel for few queries.
    """
    length = query.shape[1]
    groups = config.num_attention_heads // config.num_key_value_heads
    # The heads that share a key head are further rows of its queries, so that no key is copied.
    folded = query.unflatten(2, (-1, groups)).permute(0, 2, 3, 1, 4).flatten(2, 3)
    scores = (folded * config.query_pre_attn_scalar**-0.5) @ keys
    if mask is None:
        weights = scores.softmax(-1)
    else:
        hidden = ~mask.unsqueeze(-3)
        masked = scores.unflatten(2, (groups, length)).masked_fill_(hidden, -torch.inf)
        weights = masked.softmax(-1).masked_fill_(hidden, 0).flatten(2, 3)
    attended = weights @ values.mT
    return attended.unflatten(2, (groups, length)).permute(0, 3, 1, 2, 4).flatten(2)


def _normed(rows: Tensor, factor: Tensor, eps: float) -> Tensor:
    """RMS norm."""
    rows = rows.float()
    return rows * rows.square().mean(-1, keepdim=True).add_(eps).rsqrt_() * factor


def _rotary(config: StackConfig, device: str) -> Tensor:
    """[positions, 2, 1, head width / 2]: cosines and sines of the rotary embedding."""
    half = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    frequencies = 1.0 / config.rope_theta**half
    angles = torch.outer(torch.arange(config.max_position_embeddings).float(), frequencies)
    return torch.stack([angles.cos(), angles.sin()], dim=1)[:, :, None].to(device)


def _rotated(parts: Tensor, rotary: Tensor) -> Tensor:
    """[B, T, heads, head width] with the two halves of each head rotated by [T, 2, 1, head width / 2]."""
    cosine, sine = rotary.unbind(1)
    first, second = parts.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
