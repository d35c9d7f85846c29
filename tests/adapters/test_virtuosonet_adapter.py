"""The renderer ``virtuosonet`` from a score file and a checkpoint file to a performance."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapters.virtuosonet import VirtuosoNet, VirtuosoNetParameters, read_checkpoint
from score_to_audio.errors import InputError
from score_to_audio.formats.midi import performance_to_midi
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.plugins import Checkpoint, Renderer
from score_to_audio.testing import Check, renderer_checks
from score_to_audio.types import Performance
from tests.paths import GOLDEN
from tests.renderers.virtuosonet_scores import attributes, document, four_quarters, note
from tests.virtuosonet_checkpoint import checkpoint, write_checkpoint

SCORES = GOLDEN / "virtuosonet" / "scores"
PUBLISHED = SCORES.parent / "tiny_checkpoint.pt"
QUIRKS = SCORES / "quirks_single_part.musicxml"


def renderer(weights: Path = PUBLISHED, **options: Any) -> VirtuosoNet:
    found = {"checkpoint": Checkpoint("test", {"weights": weights}, "0" * 64)}
    return VirtuosoNet(VirtuosoNetParameters(**options), checkpoints=found, device="cpu")


def render(path: Path = QUIRKS, *, seed: int = 0, **options: Any) -> Performance:
    return renderer(**options).render(read_score(path), seed=seed)


def write(folder: Path, *parts: list[str]) -> Path:
    path = folder / "score.musicxml"
    path.write_text(document(*parts), "utf-8")
    return path


def test_it_is_a_renderer() -> None:
    assert isinstance(renderer(), Renderer)


@pytest.mark.parametrize(
    "check",
    renderer_checks("virtuosonet", {"checkpoint": str(PUBLISHED), "style": "sampled"}),
    ids=lambda check: check.__name__,
)
def test_conformance(check: Check) -> None:
    check()


def test_importing_it_is_light() -> None:
    code = (
        "import sys, adapters.virtuosonet; "
        "print(*[m for m in ('torch', 'numpy', 'partitura', 'lxml', 'prefect') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"numpy"}


@pytest.mark.parametrize("path", sorted(SCORES.glob("*.musicxml")), ids=lambda path: path.stem)
def test_every_written_note_is_played(path: Path) -> None:
    score = read_score(path)
    played = renderer(trills=False).render(score, seed=0)
    assert played.score_ids is not None
    assert set(played.score_ids) <= set(score.parsed.notes.id)
    assert len(set(played.score_ids)) == len(played)
    hidden_cue_or_unison = 3
    assert len(played) >= len(score.parsed.notes) - hidden_cue_or_unison


def test_a_checkpoint_of_the_published_layout(tmp_path: Path) -> None:
    """A file of the published class and one of our trainer with the same weights give the same notes."""
    own = write_checkpoint(tmp_path / "checkpoint_best.pt")
    score = read_score(QUIRKS)
    first, second = (renderer(path).render(score, seed=0) for path in (PUBLISHED, own))
    assert performance_to_midi(first) == performance_to_midi(second)


@pytest.mark.slow
def test_a_checkpoint_of_the_published_size(tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path / "checkpoint_best.pt", size="full", salt="other")
    network, _ = read_checkpoint(weights)
    assert sum(parameter.numel() for parameter in network.parameters()) == 14_985_893
    assert len(renderer(weights).render(read_score(QUIRKS), seed=0)) > 60


def test_compressed_scores(tmp_path: Path) -> None:
    packed = tmp_path / "score.mxl"
    container = '<container><rootfiles><rootfile full-path="score.xml"/></rootfiles></container>'
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("META-INF/container.xml", container)
        archive.write(QUIRKS, "score.xml")
    assert performance_to_midi(render(packed)) == performance_to_midi(render())


def test_parts_that_are_not_the_pianos_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, [attributes() + four_quarters("C5")], [attributes() + four_quarters("C3")])
    path.write_text(
        path.read_text("utf-8").replace("Piano 1", "Soprano").replace("Piano 2", "Piano"), "utf-8"
    )
    assert set(render(path).pitch.tolist()) == {48}
    assert set(render(path, compatibility="official").pitch.tolist()) == {48, 72}


@pytest.mark.parametrize("count", [1, 2, 17])
def test_short_pieces(tmp_path: Path, count: int) -> None:
    path = write(tmp_path, [attributes() + note("C4", 1), *(note("D4", 1) for _ in range(count - 1))])
    for compatibility in ("none", "official"):
        assert len(render(path, compatibility=compatibility)) == count


def test_midi_scores_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "score.mid"
    path.write_bytes(performance_to_midi(render()))
    with pytest.raises(InputError, match="MusicXML"):
        render(path)


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("C", "utf-8")
    text = document([attributes() + four_quarters()]).replace("<step>C</step>", "<step>&file;</step>")
    path = tmp_path / "score.musicxml"
    path.write_text(f'<!DOCTYPE score-partwise [<!ENTITY file SYSTEM "{secret}">]>{text}', "utf-8")
    with pytest.raises(InputError):
        render(path)


def test_the_number_of_threads_is_left_as_it_was() -> None:
    before = torch.get_num_threads()
    render()
    assert torch.get_num_threads() == before


# -------------------------------------------------------------------------------------------- options


def test_the_seed_samples_the_style() -> None:
    first, again, other = (performance_to_midi(render(style="sampled", seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert performance_to_midi(render(seed=3)) == performance_to_midi(render(seed=4))


def test_options_change_the_performance() -> None:
    plain = performance_to_midi(render())
    for options in (
        {"tempo": 40.0},
        {"composer": "Chopin"},
        {"velocity_multiplier": 2.0},
        {"pedal_inverse": True},
        {"trills": False},
        {"style": "sampled"},
    ):
        assert performance_to_midi(render(**options)) != plain, options


def test_velocities_are_spread() -> None:
    none, one, two = (render(velocity_multiplier=k, trills=False).velocity for k in (0.0, 1.0, 2.0))
    assert np.ptp(none) == 0
    assert np.std(one) > 0
    assert np.std(two) == pytest.approx(2 * np.std(one), rel=0.05)


def test_a_style_that_is_no_file() -> None:
    with pytest.raises(InputError, match="official, zero, sampled or a MIDI file"):
        render(style="no-such.mid")


# ----------------------------------------------------------------------------------------------- style


@pytest.mark.slow
def test_style_from_a_performance(tmp_path: Path) -> None:
    styles = []
    for seed in (1, 2):
        midi = tmp_path / f"{seed}.mid"
        midi.write_bytes(performance_to_midi(render(style="sampled", seed=seed)))
        styles.append(performance_to_midi(render(style=str(midi))))
    assert styles[0] != styles[1]
    assert performance_to_midi(render()) not in styles


def test_the_style_of_another_piece(tmp_path: Path) -> None:
    midi = tmp_path / "performance.mid"
    other = SCORES / "quirks_two_parts.musicxml"
    midi.write_bytes(performance_to_midi(render(other, style="sampled")))
    transferred, plain = render(style=str(midi), style_score=str(other), trills=False), render(trills=False)
    assert sorted(transferred.score_ids or ()) == sorted(plain.score_ids or ())
    assert performance_to_midi(transferred) != performance_to_midi(plain)


def test_a_performance_of_something_else_is_refused(tmp_path: Path) -> None:
    midi = tmp_path / "performance.mid"
    midi.write_bytes(performance_to_midi(render(write(tmp_path, [attributes() + four_quarters("C1")]))))
    with pytest.raises(InputError, match="style_score"):
        render(style=str(midi))


# ----------------------------------------------------------------------------------------- checkpoints


def broken(folder: Path, content: Any) -> Path:
    path = folder / "broken.pt"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("key", ["state_dict", "stats", "network_params"])
def test_a_checkpoint_that_lacks_something(tmp_path: Path, key: str) -> None:
    content = checkpoint()
    del content[key]
    with pytest.raises(InputError, match=key):
        read_checkpoint(broken(tmp_path, content))


def test_weights_under_other_names(tmp_path: Path) -> None:
    content = checkpoint()
    content["state_dict"]["score_encoder.rnn.bias"] = content["state_dict"].pop("performance_decoder.fc.bias")
    with pytest.raises(InputError, match=r"performance_decoder\.fc\.bias.*score_encoder\.rnn\.bias"):
        read_checkpoint(broken(tmp_path, content))


def test_statistics_that_are_missing(tmp_path: Path) -> None:
    content = checkpoint()
    del content["stats"]["stats"]["duration"]
    with pytest.raises(InputError, match="duration"):
        read_checkpoint(broken(tmp_path, content))


def test_the_width_is_that_of_the_weights(tmp_path: Path) -> None:
    """The configuration may have another width, as in the published file."""
    content = checkpoint(size="full")
    content["network_params"]["input_size"] = 79
    network, _ = read_checkpoint(broken(tmp_path, content))
    assert network.sizes.inputs == 84


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    content = checkpoint()
    content["state_dict"]["performance_decoder.fc.bias"] += float("nan")
    with pytest.raises(InputError, match="not a number"):
        renderer(broken(tmp_path, content)).render(read_score(QUIRKS), seed=0)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this must not run",))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = checkpoint() | {"extra": Malicious()}
    with pytest.raises(InputError, match="print"):
        read_checkpoint(broken(tmp_path, content))
    assert "must not run" not in capsys.readouterr().out


def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(io.BytesIO(b"nothing").getvalue())
    with pytest.raises(InputError, match=r"weights\.pt"):
        read_checkpoint(path)
