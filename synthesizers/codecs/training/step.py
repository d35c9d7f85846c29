"""One step of training the codec and its discriminator (section 3.4 of the paper)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from score_to_audio.training.optimization import (
    Optimization,
    Precision,
    mixed_precision,
    unbiased_average,
)
from synthesizers.codecs.encodec import Codec, trainable
from synthesizers.codecs.training.balancer import Balancer, combined
from synthesizers.codecs.training.codebooks import DeadCodes, look_up, quantize
from synthesizers.codecs.training.discriminator import Discriminator
from synthesizers.codecs.training.losses import (
    BANDS,
    MEL_WINDOWS,
    Scale,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
    spectral_loss,
)

WEIGHTS = {"adversarial": 4.0, "feature": 4.0, "l1": 0.1, "spectral": 2.0}
"""Shares of the gradient (audiocraft's defaults)."""
OF_DISCRIMINATOR = ("adversarial", "feature")
BETAS = (0.5, 0.9)
AVERAGE = 0.99
"""Decay of the moving average of weights and codebooks."""


@dataclass(frozen=True)
class Spectra:
    """Of the mel loss; the defaults are audiocraft's."""

    windows: Sequence[int] = MEL_WINDOWS
    """Samples."""
    bands: int = BANDS
    scale: Scale = "power"


Part = Literal["codec", "decoder"]
"""``decoder``: encoder and codebooks stay, so that whatever speaks the codes still fits."""


@dataclass(frozen=True)
class CodecTraining:
    """What is trained."""

    codec: Optimization
    discriminator: Optimization
    balancer: Balancer
    dead_codes: DeadCodes = "revived"
    precision: Precision = "float32"
    spectra: Spectra = Spectra()
    part: Part = "codec"

    @property
    def needs_discriminator(self) -> bool:
        return not self.balancer.weights.keys().isdisjoint(OF_DISCRIMINATOR)


@dataclass(frozen=True)
class Reconstruction:
    """A batch after encoder, quantizer and decoder, with gradients."""

    latent: Tensor
    """[B, dimension, frames] of the encoder."""
    codes: Tensor
    """[B, codebooks, frames]"""
    commitment: Tensor
    """How far the latent is from its codes: mean over the codebooks of the squared distances."""
    sound: Tensor
    """[B, 1, samples]"""


def begin(
    codec: Codec,
    discriminator: Discriminator,
    *,
    learning_rate: float,
    weights: Mapping[str, float] = WEIGHTS,
    betas: tuple[float, float] = BETAS,
    gradient_norm: float | None = None,
    average: float = AVERAGE,
    accumulation: int = 1,
    dead_codes: DeadCodes = "revived",
    precision: Precision = "float32",
    spectra: Spectra = Spectra(),
    part: Part = "codec",
) -> CodecTraining:
    """Before the first step; the codec keeps its weight norm and what is trained gets gradients."""
    codec.requires_grad_(part == "codec")
    codec.decoder.requires_grad_(True)
    codec.train()
    discriminator.train()
    forget_weights(codec)

    def adam(network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=betas)

    return CodecTraining(
        codec=Optimization(codec, adam(codec), unbiased_average(codec, average), accumulation, gradient_norm),
        discriminator=Optimization(discriminator, adam(discriminator), accumulation=accumulation),
        balancer=Balancer({name: weight for name, weight in weights.items() if weight}),
        dead_codes=dead_codes,
        precision=precision,
        spectra=spectra,
        part=part,
    )


def forget_weights(codec: Codec) -> None:
    """Detach the weights that weight norm computed, so that the codec can be copied; the next pass computes
    them anew."""
    for module in codec.modules():
        if hasattr(module, "weight_g"):
            weight = module.weight
            assert isinstance(weight, Tensor)
            module.weight = weight.detach()


def step(
    training: CodecTraining,
    sound: Tensor,
    random: torch.Generator,
    *,
    quantized: bool = True,
    norms: bool = False,
) -> dict[str, float]:
    """Train on a batch of sound [B, 1, samples]; returns losses.

    ``quantized``: False leaves the codebooks aside, for the first batches from nothing: their latents move so
    far that a few rows would stand for all later ones.
    ``norms``: also the norms of gradients, for which the encoder is passed backwards once more.
    """
    codec, discriminator = training.codec.network, training.discriminator.network
    assert isinstance(codec, Codec)
    assert isinstance(discriminator, Discriminator)
    figures: dict[str, float] = {}
    with mixed_precision(sound.device, training.precision):
        if quantized:
            made = reconstruct(codec, sound, random, training.dead_codes, training.part)
        else:
            made = passed_through(codec, sound)
    if training.needs_discriminator:
        with mixed_precision(sound.device, training.precision):
            judged = discriminator_loss(discriminator(sound), discriminator(made.sound.detach()))
        judged.backward()
        training.discriminator.update()
        figures["discriminator"] = judged.item()
    output = made.sound.detach().requires_grad_()
    losses = waveform_losses(output, sound, codec.config.sample_rate, training.spectra)
    if training.needs_discriminator:
        with mixed_precision(sound.device, training.precision):
            losses |= generator_losses(discriminator, output, sound)
    losses = {name: losses[name] for name in training.balancer.weights}
    gradients = output_gradients(losses, output)
    scales = training.balancer.scales(gradients)
    against = combined(gradients, scales)
    if training.part == "decoder" or not quantized:
        made.sound.backward(against)
    elif norms:
        made.commitment.backward(retain_graph=True)
        figures["gradient_of_commitment"] = gradient_norm(codec.parameters())
        made.sound.backward(against)
        figures["gradient"] = gradient_norm(codec.parameters())
    else:
        torch.autograd.backward([made.commitment, made.sound], [torch.ones_like(made.commitment), against])
    training.codec.update()
    values = {name: loss.item() for name, loss in losses.items()}
    return {
        "loss": sum(scale * values[name] for name, scale in scales.items()),
        **values,
        "commitment": made.commitment.item(),
        **figures,
    }


def averaged(training: CodecTraining) -> Codec:
    """The codec with the averaged weights and codebooks, which is the result."""
    codec = training.codec.averaged
    assert isinstance(codec, Codec)
    return codec


def validated(codec: Codec, batches: Iterable[Tensor]) -> dict[str, float]:
    """How far the codec's reconstructions of batches of sound [B, 1, samples] are from them.

    ``codes_in_use``: exponential of the entropy of the first codebook's codes.
    """
    distances, lengths = [], []
    counts = torch.zeros(codec.config.bins, dtype=torch.float64)
    for sound in batches:
        codes = codec.encode(sound)
        made = codec.decode(codes)[..., : sound.shape[-1]]
        distances.append(
            [spectral_loss(made, sound, codec.config.sample_rate).item(), (made - sound).abs().mean().item()]
        )
        lengths.append(len(sound))
        counts += torch.bincount(codes[:, 0].flatten().cpu(), minlength=codec.config.bins)
    weights = torch.tensor(lengths, dtype=torch.float64)
    spectral, absolute = (torch.tensor(distances).double().T @ weights / weights.sum()).tolist()
    shares = counts / counts.sum()
    perplexity = float(torch.special.entr(shares).sum().exp())
    return {"spectral_distance": spectral, "absolute_difference": absolute, "codes_in_use": perplexity}


def reconstruct(
    codec: Codec, sound: Tensor, random: torch.Generator, dead_codes: DeadCodes, part: Part = "codec"
) -> Reconstruction:
    """Encode and decode; where the codebooks are trained they learn from the batch afterwards, without
    gradients."""
    latent = trainable(codec.encoder, codec.config)(sound).float()
    residual, total = latent, torch.zeros_like(latent)
    codes, distances = [], []
    for layer in codec.quantizer.vq.layers:
        vectors = residual.detach().transpose(1, 2).flatten(0, 1)
        with mixed_precision(sound.device, "float32"):
            table = layer._codebook
            if part == "decoder":
                index, rows = look_up(table, vectors)
            else:
                index, rows = quantize(table, vectors, random, dead_codes)
        quantized = rows.view(len(sound), -1, latent.shape[1]).transpose(1, 2)
        distances.append((residual - quantized).square().mean())
        codes.append(index.view(len(sound), -1))
        residual, total = residual - quantized, total + quantized
    decoded = trainable(codec.decoder, codec.config)(latent + (total - latent).detach()).float()
    return Reconstruction(
        latent=latent,
        codes=torch.stack(codes, dim=1),
        commitment=torch.stack(distances).mean(),
        sound=decoded[..., : sound.shape[-1]],
    )


def passed_through(codec: Codec, sound: Tensor) -> Reconstruction:
    """Encode and decode without codebooks."""
    latent = trainable(codec.encoder, codec.config)(sound).float()
    decoded = trainable(codec.decoder, codec.config)(latent).float()
    return Reconstruction(
        latent=latent,
        codes=torch.zeros(len(sound), codec.config.n_q, latent.shape[-1], dtype=torch.int64),
        commitment=latent.new_zeros(()),
        sound=decoded[..., : sound.shape[-1]],
    )


def waveform_losses(
    output: Tensor,
    target: Tensor,
    sample_rate: int,
    spectra: Spectra = Spectra(),
) -> dict[str, Tensor]:
    """Those without the discriminator."""
    return {
        "l1": (output - target).abs().mean(),
        "spectral": spectral_loss(output, target, sample_rate, spectra.windows, spectra.bands, spectra.scale),
    }


def generator_losses(discriminator: Discriminator, output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Those with the discriminator."""
    with torch.no_grad():
        real = discriminator(target)
    fake = discriminator(output)
    return {"adversarial": adversarial_loss(fake), "feature": feature_loss(real, fake)}


def output_gradients(losses: Mapping[str, Tensor], output: Tensor) -> dict[str, Tensor]:
    """The gradient of each loss with respect to the output; no weight gets one."""
    return {name: torch.autograd.grad(loss, output, retain_graph=True)[0] for name, loss in losses.items()}


def gradient_norm(parameters: Iterable[nn.Parameter]) -> float:
    """L2 norm of all gradients together."""
    return float(nn.utils.get_total_norm([one.grad for one in parameters if one.grad is not None]))
