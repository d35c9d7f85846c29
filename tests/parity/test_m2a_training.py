"""The joint training of M2A against recordings of the authors' code; tolerances of the sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synthesizers.m2a import espnet
from synthesizers.m2a.network import AcousticModel
from synthesizers.m2a.training import losses
from synthesizers.m2a.training.checkpoint import own_tensors, published_tensors
from synthesizers.m2a.training.discriminators import Discriminators, discriminator_config
from synthesizers.m2a.training.forward import Batch, prenet_masks
from synthesizers.m2a.training.turns import (
    GeneratorTurn,
    JointModel,
    discriminator_turn,
    generator_turn,
    window_starts,
)
from synthesizers.vocoders.hifigan import HifiGan
from tests.parity.golden_files import Recording, case_name, golden_values, load_cases, load_config
from tests.parity.test_m2a import SALT

SETTINGS = load_config("m2a", "training/config_training_tiny.json")
LAYOUT = load_config("m2a", "training/state_dict_training_tiny.json")
CONSTANT = ("mel_loss.", "pos_weight")
"""In names of tensors that are no weights."""


def joint_model() -> JointModel:
    filled = {
        name: torch.from_numpy(golden_values(name, tuple(shape), SALT))
        for name, shape in LAYOUT.items()
        if not any(one in name for one in (*CONSTANT, "num_batches_tracked"))
    }
    filled |= {name: torch.zeros(()).long() for name in LAYOUT if name.endswith("num_batches_tracked")}
    acoustic, vocoder = espnet.generator_tensors(filled)
    model = JointModel(
        AcousticModel(espnet.acoustic_config(acoustic, SETTINGS["text2mel_params"])),
        HifiGan(espnet.vocoder_config(vocoder, SETTINGS["vocoder_params"])),
        Discriminators(discriminator_config(SETTINGS["discriminator_params"])),
    )
    model.load_state_dict(own_tensors(filled))
    found = {name: list(tensor.shape) for name, tensor in published_tensors(model).items()}
    assert {f"tts.{name}": shape for name, shape in LAYOUT.items() if "mel_loss" not in name} == {
        name: shape for name, shape in found.items() if "mel_loss" not in name
    }
    return model.train()


def batch_of(recorded: Recording) -> Batch:
    return Batch(
        cells=torch.from_numpy(recorded["midi"]).float(),
        cell_counts=torch.from_numpy(recorded["midi_lengths"]).long(),
        frames=torch.from_numpy(recorded["feats"]),
        frame_counts=torch.from_numpy(recorded["feats_lengths"]).long(),
        audio=torch.from_numpy(recorded["audio"]),
    )


def close(found: Tensor, recorded: NDArray[Any], tolerance: float = 1e-4) -> None:
    np.testing.assert_allclose(found.detach().numpy(), recorded, rtol=0, atol=tolerance)


def relative(found: Tensor, recorded: NDArray[Any], tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(found.detach().numpy(), recorded, rtol=tolerance, atol=0)


@pytest.mark.parametrize("path", load_cases("m2a", "training/*.npz"), ids=case_name)
def test_every_recorded_array(path: Path) -> None:
    recorded, model = Recording(path), joint_model()
    batch, window = batch_of(recorded), int(recorded["segment_size"])
    assert window == SETTINGS["segment_size"]
    count = recorded["generator_turn/before"].shape[1]
    starts = window_starts(torch.from_numpy(recorded["uniform_draws"]), batch, count, window)
    assert starts.tolist() == recorded["segment_starts"].tolist()
    r = model.text2mel.config.reduction_factor
    masks = prenet_masks(
        model.text2mel.config, len(starts), count // r, torch.Generator(), torch.device("cpu")
    )
    assert all((mask == 1).all() for mask in masks)  # recorded without dropout

    turn = generator_turn(model, batch, masks, starts, window)
    check_arrays(turn, recorded)
    check_losses(turn, model.text2mel, batch, recorded)
    turn.total().backward()
    check_gradients(model, recorded, "generator_turn")

    model.zero_grad()
    judged = discriminator_turn(model, turn.vocoder)
    relative(judged.real, recorded["discriminator_turn/real_loss"])
    relative(judged.fake, recorded["discriminator_turn/fake_loss"])
    relative(judged.total(), recorded["discriminator_turn/discriminator_loss"])
    judged.total().backward()
    check_gradients(model, recorded, "discriminator_turn")
    recorded.check_complete()


def check_arrays(turn: GeneratorTurn, recorded: Recording) -> None:
    made, of = turn.spectra, "generator_turn"
    close(made.before, recorded[f"{of}/before"])
    close(made.after, recorded[f"{of}/after"])
    close(made.stop, recorded[f"{of}/logits"])
    close(losses.guided_attention(made), recorded[f"{of}/attention"])
    assert made.frames.tolist() == recorded[f"{of}/target_lengths_used"].tolist()
    valid = losses.valid_frames(made).numpy()  # labels of padding do not count
    np.testing.assert_array_equal(losses.stop_labels(made).numpy()[valid], recorded[f"{of}/labels"][valid])
    close(turn.vocoder.window.mT, recorded[f"{of}/vocoder_input"])
    close(turn.vocoder.sound[:, None], recorded[f"{of}/audio_hat"])


def check_losses(turn: GeneratorTurn, model: AcousticModel, batch: Batch, recorded: Recording) -> None:
    spectrum, sound = turn.spectrum_loss, turn.vocoder.loss
    valid = losses.valid_frames(turn.spectra)
    wanted = batch.frames[:, : valid.shape[1]]
    squares = [(one - wanted).square()[valid].mean() for one in (turn.spectra.before, turn.spectra.after)]
    for name, found in {
        "l1_loss": spectrum.distance,
        "l1_loss_sum": spectrum.distance,
        "l2_loss": torch.stack(squares).sum(),
        "bce_loss": spectrum.stop,
        "enc_dec_attn_loss": spectrum.attention,
        "text2mel_loss": spectrum.total(),
        "adv_loss": sound.adversarial,
        "feat_match_loss": sound.features,
        "mel_loss": sound.mel,
        "loss": turn.total(),
        "encoder_alpha": model.encoder.embed[4].alpha,
        "decoder_alpha": model.decoder.embed[1].alpha,
    }.items():
        relative(found, recorded[f"generator_turn/{name}"])


def check_gradients(model: nn.Module, recorded: Recording, turn: str) -> None:
    gradients = published_tensors(model, gradients=True)
    for name, norm in zip(recorded["param_names"], recorded[f"{turn}/grad_norms"], strict=True):
        gradient = gradients.get(f"tts.{name}")
        found = 0.0 if gradient is None else gradient.norm()
        # Biases of keys have no gradient but rounding.
        np.testing.assert_allclose(found, norm, rtol=1e-4, atol=1e-6)
    for key in recorded.named(f"{turn}/grad/"):
        wanted = recorded[key]
        close(gradients[f"tts.{key.removeprefix(f'{turn}/grad/')}"], wanted, 1e-4 * np.abs(wanted).max())
