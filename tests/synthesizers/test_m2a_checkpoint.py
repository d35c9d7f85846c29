"""Reading M2A's checkpoints as ESPnet saves them: unchanged, safely, with errors that say what is wrong."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from adapters.m2a import read_config, read_model, read_statistics
from score_to_audio.errors import InputError
from synthesizers.m2a.network import AcousticConfig
from tests.synthesizers.m2a_checkpoints import (
    ACOUSTIC,
    SETTINGS,
    VOCODER,
    acoustic_model,
    generator,
    state_dict,
    statistics,
    write,
)

TEXT2MEL, VOCODER_NAME = "tts.generator.text2mel.", "tts.generator.vocoder."


def test_a_checkpoint_is_read_as_it_is(tmp_path: Path) -> None:
    config = replace(ACOUSTIC, performers=3, environments=4)
    files = {**write(tmp_path, config).files, "statistics": statistics(tmp_path / "feats_stats.npz")}
    model, vocoder = read_model(files)
    assert (model.config, vocoder.config) == (config, VOCODER)
    assert not model.training
    for name, tensor in acoustic_model(config).state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    for name, tensor in generator().state_dict().items():
        torch.testing.assert_close(vocoder.state_dict()[name], tensor)


def test_names_may_lack_their_first_part(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({name.removeprefix("tts."): tensor for name, tensor in state_dict().items()}, path)
    config = write(tmp_path / "other").files["weights"].with_name("config.yaml")
    assert read_model({"weights": path, "config": config})[0].config == ACOUSTIC


def test_without_a_configuration_the_released_one_holds(tmp_path: Path) -> None:
    assert read_config(tmp_path / "config.yaml") == {}
    weights = write(tmp_path).weights
    weights.with_name("config.yaml").unlink()
    with pytest.raises(InputError, match="other residual blocks than resblock_dilations"):
        read_model({"weights": weights})


def test_statistics_give_mean_and_deviation(tmp_path: Path) -> None:
    mean, deviation = read_statistics(statistics(tmp_path / "feats_stats.npz"))
    assert mean.dtype == deviation.dtype == torch.float32
    np.testing.assert_allclose(mean, np.linspace(-2, 1, 128), atol=1e-5)
    np.testing.assert_allclose(deviation, np.linspace(0.5, 1, 128), atol=1e-5)


def test_statistics_of_another_training_are_refused(tmp_path: Path) -> None:
    other = statistics(tmp_path / "feats_stats.npz", shift=0.5)
    with pytest.raises(InputError, match=r"normalize\.mean differs"):
        read_model({**write(tmp_path).files, "statistics": other})


def test_pickles_in_statistics_are_not_run(tmp_path: Path) -> None:
    path = tmp_path / "feats_stats.npz"
    np.savez(path, count=np.array([{}], dtype=object), sum=0, sum_square=0)
    with pytest.raises(InputError, match=r"not a readable feats_stats\.npz"):
        read_statistics(path)
    path.write_bytes(b"PK no")
    with pytest.raises(InputError, match=r"not a readable feats_stats\.npz"):
        read_statistics(path)


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("run",))


def test_code_in_weights_or_configuration_is_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path).weights
    torch.save({"tts.generator.x": Evil()}, path, pickle_module=pickle)
    with pytest.raises(InputError, match="print"):
        read_model({"weights": path})
    path.with_name("config.yaml").write_text("tts_conf: !!python/object/apply:builtins.print [run]")
    with pytest.raises(InputError, match="not a readable YAML file"):
        read_config(path.with_name("config.yaml"))
    assert not capsys.readouterr().out


@pytest.mark.parametrize("text", ["[]", "tts: joint_text2wav", "tts_conf: 3", "a: [", "\0"])
def test_other_configurations_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"config\.yaml: (has no tts_conf|not a readable YAML)"):
        read_config(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{TEXT2MEL}feat_out.bias": None}, r"acoustic model\).* lacks feat_out\.bias \(512,\)"),
        ({f"{TEXT2MEL}prob_out.weight": None}, r"lacks prob_out\.weight"),
        ({f"{TEXT2MEL}prob_out.weight": torch.zeros(3, 32)}, r"needs \(128, 128, 4, 288\)"),
        ({f"{TEXT2MEL}encoder.embed.0.weight": torch.zeros(32)}, r"encoder\.embed\.0\.weight as \(32,\)"),
        ({f"{TEXT2MEL}encoder.encoders.7.norm1.weight": torch.zeros(32)}, r"lacks encoder\.encoders\.2"),
        ({f"{VOCODER_NAME}upsamples.0.1.weight_g": None}, r"vocoder\).* lacks upsamples\.0\.1\.weight"),
        ({f"{VOCODER_NAME}upsamples.0.1.weight_v": torch.zeros(32, 16, 8)}, "only twice the scale"),
        ({f"{VOCODER_NAME}blocks.9.convs1.0.1.weight_v": torch.zeros(2, 2, 3)}, r"unknown blocks\.9"),
    ],
)
def test_other_tensors_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_model(write(tmp_path, **changes).files)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("text2mel_params", {"aheads": 5}, "which 5 heads cannot share"),
        ("text2mel_params", {"aheads": "many"}, "has aheads = 'many'"),
        ("text2mel_params", {"dprenet_dropout_rate": 1}, "has dprenet_dropout_rate = 1"),
        (
            "text2mel_params",
            {"encoder_normalize_before": False},
            "encoder_normalize_before = False; only True",
        ),
        ("vocoder_params", {"upsample_scales": [8, 4]}, r"4 upsamplings, but upsample_scales = \[8, 4\]"),
        ("vocoder_params", {"resblock_dilations": [[1, 10**9], [1, 3]]}, "other residual blocks"),
        ("vocoder_params", {"use_additional_convs": False}, "use_additional_convs = False; only True"),
    ],
)
def test_other_settings_are_refused(part: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    checkpoint = write(tmp_path)
    changed = {**SETTINGS, part: {**SETTINGS[part], **changes}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"tts_conf": changed}))
    with pytest.raises(InputError, match=message):
        read_model(checkpoint.files)


def test_any_other_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    for content in ({"weight": torch.ones(2)}, [1, 2], {1: 2}):
        torch.save(content, path)
        with pytest.raises(InputError, match=r"has no tts\.generator"):
            read_model({"weights": path})


def test_the_released_configuration() -> None:
    """17.65 million parameters (fact sheet)."""
    from synthesizers.m2a.network import AcousticModel

    with torch.device("meta"):
        model = AcousticModel(AcousticConfig())
    assert sum(one.numel() for one in model.parameters()) == pytest.approx(17.65e6, abs=5e3)
