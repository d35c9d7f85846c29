"""What the published program does otherwise, for ``compatibility="official"``. Section numbers are those of
the fact sheet of the golden vectors."""

from __future__ import annotations

from torch import Tensor

from renderers.pianist_transformer.tokens import NOTE_TOKENS, PAD


def shifted_prompt(previous: Tensor, first: int, count: int) -> Tensor:
    """Counts from BOS (section 4b): begins a token too early and lacks the last one."""
    return previous[:, first : first + count]


def visibility(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Notes [B, N] of a padded batch that the encoder and cross-attention see; the latter takes the mask of
    the first N tokens for that of the notes (section 3)."""
    is_token = tokens != PAD
    notes = is_token.unflatten(1, (-1, NOTE_TOKENS)).any(-1)
    return notes, is_token[:, : notes.shape[1]]
