"""A joint model as the tensors of a published checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from synthesizers.m2a.training.losses import STOP_WEIGHT
from synthesizers.m2a.training.mel import mel_bank
from synthesizers.m2a.training.turns import JointModel
from synthesizers.m2a.training.weight_norm import own_names, published_names

PREFIX = "tts."
GENERATOR = ("text2mel.", "vocoder.")
"""Parts that a checkpoint has below ``generator.``."""
CONSTANTS = {
    "generator.text2mel.criterion.bce_criterion.pos_weight": torch.tensor(STOP_WEIGHT),
    "mel_loss.wav_to_mel.logmel.melmat": torch.from_numpy(mel_bank()),
}


def published_tensors(model: JointModel, *, gradients: bool = False) -> dict[str, Tensor]:
    """The model's tensors, or the gradients that there are, under the names of checkpoints."""
    if gradients:
        own = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    else:
        own = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    named = {
        f"{PREFIX}generator.{name}" if name.startswith(GENERATOR) else f"{PREFIX}{name}": tensor
        for name, tensor in published_names(own).items()
    }
    return named if gradients else named | {f"{PREFIX}{name}": one for name, one in CONSTANTS.items()}


def own_tensors(content: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a joint model from the tensors of a checkpoint, which may lack the prefix."""
    bare = {name.removeprefix(PREFIX): tensor for name, tensor in content.items()}
    chosen = {
        name.removeprefix("generator."): tensor
        for name, tensor in bare.items()
        if name.startswith(("generator.", "discriminator.")) and name not in CONSTANTS
    }
    return own_names(chosen)
