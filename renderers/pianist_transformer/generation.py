"""Makes the performance's tokens one after the other, window by window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from renderers.pianist_transformer.network import Decoder, Memory, PianistTransformer
from renderers.pianist_transformer.tokens import BOS, NOTE_TOKENS, RANGES
from renderers.pianist_transformer.windows import Window

Noise = Callable[[int, int, int, int], Tensor]
"""(window, number of the token among those that the window makes, first id, end of the ids) -> standard
exponential noise [B, end - first]."""
Prompt = Callable[[Tensor, int, int], Tensor]
"""(decoder input of the window before [B, 1 + T] with BOS first, first token, count) -> tokens [B, count]."""
Visibility = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Score tokens of a window [B, T] -> the notes that the encoder and the decoder see, [B, T / 8] each."""
FIRST_PEDAL = NOTE_TOKENS - 4
"""Place of the first pedal among the tokens of a note."""


@dataclass(frozen=True)
class Sampling:
    temperature: float = 1.0
    """0: always the most probable token."""
    top_k: int = 50
    """0: all."""
    top_p: float = 0.95


@dataclass(frozen=True)
class Generated:
    tokens: Tensor
    """[B, T]"""
    inputs: list[Tensor]
    """The whole decoder input of each window, BOS first."""


def prompt(previous: Tensor, first: int, count: int) -> Tensor:
    """The tokens themselves."""
    return previous[:, 1 + first : 1 + first + count]


def generate(
    network: PianistTransformer,
    score: Tensor,
    plan: Sequence[Window],
    sampling: Sampling,
    noise: Noise,
    *,
    prompt_of: Prompt = prompt,
    visibility: Visibility | None = None,
    report: Callable[[int], None] = lambda _tokens: None,
) -> Generated:
    """Performs the score's tokens [B, T]; ``visibility``: None where no item has padding; ``report`` is
    called with the number of tokens that are ready."""

    def drawing(index: int, window: Window) -> Draw:
        def draw(logits: Tensor, place: int, ids: tuple[int, int]) -> Tensor:
            if place % NOTE_TOKENS == 1:
                report(window.start + place)
            return ids[0] + choose(logits, sampling, lambda: noise(index, place - window.prompt, *ids))

        return draw

    tokens = torch.empty_like(score)
    inputs: list[Tensor] = []
    before = plan[0]
    for index, window in enumerate(plan):
        part = score[:, window.start : window.end]
        begun = part[:, :0]
        if inputs:
            begun = prompt_of(inputs[-1], window.start - before.start, window.prompt)
        seen, known = visibility(part) if visibility else (None, None)
        encoded = network.encoder(part.unflatten(1, (-1, NOTE_TOKENS)), seen)
        memory = network.decoder.memory(encoded, 1 + part.shape[1], known)

        made = _make(
            network.decoder, memory, part[:, : window.until - window.start], begun, drawing(index, window)
        )
        tokens[:, window.first_made : window.until] = made[:, 1 + window.prompt :]
        inputs.append(made)
        before = window
    return Generated(tokens, inputs)


Draw = Callable[[Tensor, int, tuple[int, int]], Tensor]
"""(logits [B, ids], place of the token in the window, range of the ids) -> ids [B]."""


def _make(decoder: Decoder, memory: Memory, score: Tensor, begun: Tensor, draw: Draw) -> Tensor:
    """The decoder's input [B, 1 + T]: BOS, the tokens that are ``begun``, and the others as drawn.

    The decoder hears a guess of the pedal and the next pitch at once with the token before them: the tokens
    are drawn from the same distributions, and the guess only saves passes where it is right.
    """
    batch, length = score.shape
    made = score.new_full((batch, 1 + length), BOS)
    made[:, 1 : 1 + begun.shape[1]] = begun
    ready: list[Tensor] = []
    for place in range(begun.shape[1], length):
        if place % NOTE_TOKENS == 0:  # pitches are the score's
            made[:, 1 + place] = score[:, place]
            ready = ready[1:]
            continue
        if not ready:
            end = 1 + place + _guess(made, score, place)
            states = decoder(made[:, memory.length : end], memory, end - place)
            ready = list(states.unbind(1))
        ids = RANGES[place % NOTE_TOKENS]
        token = draw(decoder.logits(ready.pop(0), *ids), place, ids)
        if ready and not torch.equal(token, made[:, 1 + place]):
            ready = []
            memory.length = 1 + place
        made[:, 1 + place] = token
    return made


def _guess(made: Tensor, score: Tensor, place: int) -> int:
    """Writes a guess of the tokens from ``place`` on into ``made``; how many of them a pass can use.

    From a pedal's place on the pedal keeps its value and the next pitch follows. There is no guess where no
    two successive ones of the last four pedals agree, as with untrained weights.
    """
    number = place % NOTE_TOKENS
    if number < FIRST_PEDAL or place < NOTE_TOKENS:
        return 0
    pedals = [index for index in range(1 + place - NOTE_TOKENS, 1 + place) if _is_pedal(index)]
    last = made[:, pedals]
    if not bool((last[:, 1:] == last[:, :-1]).all(0).any()):
        return 0
    following = 1 + place + NOTE_TOKENS - number
    made[:, 1 + place : following] = last[:, -1:]
    if following > score.shape[1]:
        return score.shape[1] - 1 - place  # nothing follows the last token, which may be within a note
    made[:, following] = score[:, following - 1]
    return following - place


def _is_pedal(index: int) -> bool:
    """Of an index into the decoder's input."""
    return (index - 1) % NOTE_TOKENS >= FIRST_PEDAL


def choose(logits: Tensor, sampling: Sampling, noise: Callable[[], Tensor]) -> Tensor:
    """One class per row of [B, classes]: argmax(p / q) of the restricted distribution p and exponential noise
    q, as ``torch.multinomial(p, 1)`` draws."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    probabilities, order = restricted(logits, sampling)
    drawn = (probabilities / noise().to(logits.device).gather(-1, order)).argmax(-1, keepdim=True)
    return order.gather(-1, drawn)[:, 0]


def restricted(logits: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """The most probable classes of [B, classes]: their probabilities, falling, and which they are."""
    logits = logits / sampling.temperature
    if sampling.top_k:
        least = logits.topk(min(sampling.top_k, logits.shape[-1])).values[:, -1:]
        falling, order = logits.topk(int((logits >= least).sum(-1).max()))  # more than k if some are equal
        falling = falling.masked_fill(falling < least, -torch.inf)
    else:
        falling, order = logits.sort(descending=True)
    if sampling.top_p < 1:
        up_to = falling.softmax(-1).flip(-1).cumsum(-1).flip(-1)
        unlikely = up_to <= 1 - sampling.top_p
        unlikely[:, 0] = False
        falling = falling.masked_fill(unlikely, -torch.inf)
    return falling.softmax(-1), order
