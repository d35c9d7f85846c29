"""Training Piano-Encodec against recordings of audiocraft's losses, codebooks, balancer and steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synthesizers.codecs.encodec import Codec, config_from_audiocraft
from synthesizers.codecs.training import codebooks
from synthesizers.codecs.training.balancer import Balancer, combined, norm
from synthesizers.codecs.training.discriminator import Discriminator, Judgement
from synthesizers.codecs.training.losses import (
    MEL_WINDOWS,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
    log_mel,
    mel_spectrum,
)
from synthesizers.codecs.training.step import (
    AVERAGE,
    CodecTraining,
    Reconstruction,
    begin,
    gradient_norm,
    output_gradients,
    reconstruct,
    step,
)
from tests.parity.golden_files import Recording, case_name, load_cases, load_config
from tests.parity.test_piano_encodec import configuration, fill_as_ruled, trainable_codec

MODEL = "piano_encodec"
NAMES = {"adv_msstftd": "adversarial", "feat_msstftd": "feature", "l1": "l1", "msspec": "spectral"}
"""Recorded -> ours."""


def tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values))


def close(found: Any, wanted: Any, *, absolute: float = 0.0, relative: float = 0.0) -> None:
    if isinstance(found, Tensor):
        found = found.detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=absolute, rtol=relative)


def close_gradient(found: Tensor, wanted: Any, *, of_maximum: float, of_norm: float | None = None) -> None:
    difference = found.numpy() - wanted
    assert np.abs(difference).max() <= of_maximum * np.abs(wanted).max()
    if of_norm is not None:
        assert np.linalg.norm(difference) <= of_norm * np.linalg.norm(wanted)


def filled_discriminator() -> Discriminator:
    discriminator = Discriminator()
    windows = {name: value.clone() for name, value in discriminator.named_buffers()}
    fill_as_ruled(discriminator)
    for name, buffer in discriminator.named_buffers():
        buffer.copy_(windows[name])
    return discriminator


@pytest.mark.parametrize("case", load_cases(MODEL, "training/*.npz"), ids=case_name)
def test_every_recorded_array(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recording(case)
    check_the_discriminator_and_its_losses(recorded)
    check_mel_spectra(recorded)
    check_the_balancer(recorded)
    for name in sorted({name.split("/")[1] for name in recorded.named("codebook/")}):
        check_a_codebook(recorded, name)
    check_kmeans(recorded)
    check_whole_steps(recorded, monkeypatch)
    recorded.check_complete()


def test_parameter_names_and_shapes() -> None:
    contract = load_config(MODEL, "training/discriminator_state_dict.json")
    found = {name: list(value.shape) for name, value in Discriminator().state_dict().items()}
    assert found == {name: list(shape) for name, shape in contract.items()}


# ---------------------------------------------------------------------------------------------- parts


def check_the_discriminator_and_its_losses(recorded: Recording) -> None:
    discriminator = filled_discriminator()
    target, output = tensor(recorded["x"][0]), tensor(recorded["step0/y_pred"]).requires_grad_()
    real, fake = discriminator(target), discriminator(output)
    for kind, judgements in (("real", real), ("fake", fake)):
        for part, judgement in enumerate(judgements):
            close(judgement.logit, recorded[f"disc/logit_{kind}_{part}"], absolute=1e-5)
            check_maps(recorded, f"disc/fmap_{kind}_{part}", judgement)
    adversarial, feature = adversarial_loss(fake), feature_loss(real, fake)
    close(adversarial, recorded["disc/generator_hinge_before_update"], relative=1e-5)
    close(feature, recorded["disc/feature_loss_before_update"], relative=1e-5)
    gradients = output_gradients({"adv": adversarial, "feat": feature}, output)
    for name, gradient in gradients.items():
        wanted = recorded[f"disc/grad_{name}_before_update"]
        close_gradient(gradient, wanted, of_maximum=1e-2, of_norm=1e-3)
    close(discriminator_loss(real, fake), recorded["step0/disc_loss"], relative=1e-5)


def check_maps(recorded: Recording, name: str, judgement: Judgement) -> None:
    for layer, found in enumerate(judgement.maps):
        assert list(found.shape) == recorded[f"{name}_{layer}_shape"].tolist()
        close(found[0, :4, :5, :40], recorded[f"{name}_{layer}"], absolute=1e-5)
        close(found.double().abs().mean(), recorded[f"{name}_{layer}_mean_abs"], relative=1e-5)


def check_mel_spectra(recorded: Recording) -> None:
    sound = tensor(recorded["x"][0])
    rate = config_from_audiocraft(configuration("tiny", "constant")).sample_rate
    assert {int(name.split("_")[1]) for name in recorded.named("mel/power")} == set(MEL_WINDOWS)
    for window in MEL_WINDOWS:
        power = mel_spectrum(sound, window, rate)
        assert list(power.shape) == recorded[f"mel/power_{window}_shape"].tolist()
        close(power[0, :, :6], recorded[f"mel/power_{window}"], absolute=1e-5)
        close(power.double().sum(), recorded[f"mel/power_{window}_sum"], relative=1e-5)
        # The sheet's 2e-5: float32 logarithms of the smallest powers.
        close(log_mel(power)[0, :, :6], recorded[f"mel/log_{window}"], absolute=2e-5)


def check_the_balancer(recorded: Recording) -> None:
    weights = recorded["balancer/weights"]
    balancer = Balancer({str(index): weight for index, weight in enumerate(weights.tolist())})
    for number in count(recorded, "balancer"):
        gradients = dict(zip(balancer.weights, tensor(recorded[f"balancer/step{number}/grads"]), strict=True))
        scales = balancer.scales(gradients)
        close(combined(gradients, scales), recorded[f"balancer/step{number}/combined"], absolute=1e-5)
        losses = dict(zip(scales, recorded[f"balancer/step{number}/losses"].tolist(), strict=True))
        effective = sum(scale * losses[name] for name, scale in scales.items())
        close(effective, recorded[f"balancer/step{number}/effective_loss"], relative=1e-5)


def count(recorded: Recording, prefix: str) -> range:
    names = {name.removeprefix(f"{prefix}/").split("/")[0] for name in recorded.named(f"{prefix}/step")}
    assert names
    return range(len(names))


def codebook(rows: Tensor, sizes: Tensor) -> Any:
    return SimpleNamespace(
        inited=torch.ones(1),
        embed=rows.clone(),
        cluster_size=sizes.clone(),
        embed_avg=rows * sizes[:, None],
    )


def check_a_codebook(recorded: Recording, case: str) -> None:
    prefix = f"codebook/{case}"
    table = codebook(
        tensor(recorded[f"{prefix}/embed_initial"]), tensor(recorded[f"{prefix}/cluster_size_initial"])
    )
    for number in count(recorded, prefix):
        now = f"{prefix}/step{number}"
        vectors = tensor(recorded[f"{prefix}/vectors"][number])
        index = codebooks.nearest(vectors, table.embed)
        assert np.array_equal(index, recorded[f"{now}/index"])
        close(table.embed[index], recorded[f"{now}/quantized"], absolute=1e-5)
        dead = codebooks.dead_rows(table.cluster_size, "official")
        assert np.array_equal(dead, recorded[f"{now}/expired"])
        picked = vectors[tensor(recorded[f"{now}/random_pick"]).long()]
        codebooks.replace(table, dead, picked, "official")
        close(table.embed, recorded[f"{now}/embed_right_after_replacement"], absolute=1e-5)
        codebooks.update(table, vectors, index)
        for name in ("embed", "cluster_size", "embed_avg"):
            close(getattr(table, name), recorded[f"{now}/{name}"], absolute=1e-5)


def check_kmeans(recorded: Recording) -> None:
    samples = tensor(recorded["kmeans/samples"])
    means, counts = codebooks.kmeans(samples, samples[tensor(recorded["kmeans/initial_pick"]).long()])
    close(means, recorded["kmeans/means"], absolute=1e-5)
    close(counts, recorded["kmeans/bins"])


# ----------------------------------------------------------------------------------------- whole steps


def tiny_training(recorded: Recording) -> CodecTraining:
    codec = trainable_codec("tiny", "constant")
    for layer, sizes in zip(codec.quantizer.vq.layers, tensor(recorded["cluster_size_initial"]), strict=True):
        table = layer._codebook
        close(40 * table.cluster_size.abs(), sizes, relative=1e-6)
        table.inited.fill_(1)
        table.cluster_size.copy_(sizes)
        table.embed_avg.copy_(table.embed * sizes[:, None])
    return begin(codec, filled_discriminator(), learning_rate=3e-4, dead_codes="official")


class Spy:
    """Keeps the latest results of functions that a step calls, and the gradients at chosen moments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, training: CodecTraining) -> None:
        self.results: dict[str, Any] = {}
        self.gradients: list[dict[str, float]] = []
        self.network = training.codec.network
        for function in (reconstruct, output_gradients, combined):
            monkeypatch.setattr(f"{step.__module__}.{function.__name__}", self.watched(function))
        monkeypatch.setattr(f"{step.__module__}.gradient_norm", self.norm)

    def watched(self, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            self.results[function.__name__] = function(*arguments)
            return self.results[function.__name__]

        return call

    def norm(self, parameters: Iterable[nn.Parameter]) -> float:
        named = self.network.named_parameters()
        norms = {name: 0.0 if one.grad is None else float(one.grad.norm()) for name, one in named}
        self.gradients.append(norms)
        return gradient_norm(parameters)


def check_whole_steps(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    training = tiny_training(recorded)
    for number in range(len(recorded["x"])):
        with monkeypatch.context() as patched:
            spy = Spy(patched, training)
            sound, random = tensor(recorded["x"][number]), torch.Generator().manual_seed(50 + number)
            figures = step(training, sound, random, norms=True)
        now, first = f"step{number}", number == 0
        check_losses(recorded, now, figures, relative=1e-5 if first else 1e-3)
        check_reconstruction(recorded, now, spy.results["reconstruct"], training)
        check_gradients(recorded, now, figures, spy, training.balancer)
        check_weights(recorded, now, training)


def check_losses(recorded: Recording, now: str, figures: Mapping[str, float], *, relative: float) -> None:
    close(figures["commitment"], recorded[f"{now}/penalty"], relative=relative)
    close(figures["discriminator"], recorded[f"{now}/disc_loss"], relative=relative)
    close(figures["loss"], recorded[f"{now}/g_loss"], relative=relative)
    for theirs, ours in NAMES.items():
        close(figures[ours], recorded[f"{now}/{theirs}"], relative=relative)


def check_reconstruction(
    recorded: Recording, now: str, made: Reconstruction, training: CodecTraining
) -> None:
    # The sheet has no tolerance for these. Adam makes whole steps of gradients that are nearly zero.
    tolerance = 1e-5 if now == "step0" else 1e-2
    close(made.latent, recorded[f"{now}/embedding"], absolute=tolerance)
    assert np.array_equal(made.codes, recorded[f"{now}/codes"])
    if f"{now}/y_pred" in recorded:
        close(made.sound, recorded[f"{now}/y_pred"], absolute=tolerance)
    config = codec_of(training).config
    bandwidth = config.n_q * np.log2(config.bins) * config.frame_rate / 1000
    close(bandwidth, recorded[f"{now}/bandwidth"], relative=1e-6)


def check_gradients(
    recorded: Recording, now: str, figures: Mapping[str, float], spy: Spy, balancer: Balancer
) -> None:
    gradients = spy.results["output_gradients"]
    ordered = [NAMES[name] for name in recorded["balanced_names"]]
    norms = [float(norm(gradients[name])) for name in ordered]
    close(norms, recorded[f"{now}/grad_norms_now"], relative=5e-3)
    averages = [balancer.sums[name] / balancer.count for name in ordered]
    close(averages, recorded[f"{now}/grad_norms_average"], relative=5e-3)
    close_gradient(spy.results["combined"], recorded[f"{now}/combined_grad"], of_maximum=3e-2)
    for theirs, ours in NAMES.items():
        if f"{now}/grad_{theirs}" in recorded:
            limit = 1e-4 if ours in ("l1", "spectral") else 3e-2
            close_gradient(gradients[ours], recorded[f"{now}/grad_{theirs}"], of_maximum=limit)
    close(figures["gradient_of_commitment"], recorded[f"{now}/ratio1"], relative=5e-3)
    close(figures["gradient"], recorded[f"{now}/ratio2"], relative=5e-3)
    names = recorded["model_param_names"].tolist()
    for found, wanted in zip(
        spy.gradients, ("param_grad_norms_penalty_only", "param_grad_norms"), strict=True
    ):
        assert set(found) == set(names)
        close([found[name] for name in names], recorded[f"{now}/{wanted}"], relative=5e-3)


def check_weights(recorded: Recording, now: str, training: CodecTraining) -> None:
    assert training.codec.average is not None
    averaged = training.codec.average.module
    parts = (
        (codec_of(training), "model_param_norms", "model_param_names", "param"),
        (averaged, "ema_norms", "model_param_names", "ema"),
        (training.discriminator.network, "disc_param_norms", "disc_param_names", "disc"),
    )
    for network, norms, names, prefix in parts:
        state = network.state_dict()
        found = [float(state[name].norm()) for name in recorded[names]]
        close(found, recorded[f"{now}/{norms}"], absolute=1e-4)
        for name in recorded.named(f"{now}/{prefix}/"):
            close(state[name.removeprefix(f"{now}/{prefix}/")], recorded[name], absolute=1e-4)
    tables, means = (
        [one._codebook for one in codec.quantizer.vq.layers] for codec in (codec_of(training), averaged)
    )
    limit = 1e-3
    chosen = tensor(recorded["codebook_rows"])
    close(torch.stack([one.cluster_size for one in tables]), recorded[f"{now}/cluster_size"], absolute=limit)
    close(torch.stack([one.embed[chosen] for one in tables]), recorded[f"{now}/embed_rows"], absolute=limit)
    for name, values in {
        "embed_norm": [one.embed for one in tables],
        "embed_avg_norm": [one.embed_avg for one in tables],
        "ema_embed_norm": [one.embed for one in means],
    }.items():
        close([float(one.norm()) for one in values], recorded[f"{now}/{name}"], absolute=limit)
    updates = int(training.codec.average.n_averaged)
    close((1 - AVERAGE**updates) / (1 - AVERAGE), recorded[f"{now}/ema_count"], relative=1e-12)


def codec_of(training: CodecTraining) -> Codec:
    assert isinstance(training.codec.network, Codec)
    return training.codec.network
