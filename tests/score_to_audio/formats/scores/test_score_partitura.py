"""partitura's view of a score: offline, quiet, with our ids; and partitura as a check of our own reading."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.partitura_bridge import spell
from score_to_audio.formats.scores.reader import ScoreOptions, load_partitura_score, load_parts, parse_score
from score_to_audio.types import Score
from tests.paths import PROJECT
from tests.score_to_audio.formats.scores.score_builder import backup, document, note, parse, part, repeat

ROOT = PROJECT
PROLOGUE = """
import socket, sys
def refuse(*_, **__): raise OSError("no network in this test")
socket.socket.connect = refuse
socket.create_connection = refuse
socket.getaddrinfo = refuse
"""


def score(text: str) -> Score:
    return Score(Path("test.musicxml"), text.encode(), parse_score)  # type: ignore[arg-type]


def run(program: str, path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{path}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, "-c", PROLOGUE + program],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )


@pytest.fixture
def with_pyfluidsynth(tmp_path: Path) -> Path:
    """A folder with a module that partitura takes for pyfluidsynth."""
    (tmp_path / "fluidsynth.py").write_text("class Synth: pass\n")
    return tmp_path


@pytest.mark.slow
def test_importing_partitura_fetches_nothing(with_pyfluidsynth: Path) -> None:
    program = (
        "from score_to_audio.formats.scores.partitura_bridge import import_partitura\n"
        "partitura = import_partitura()\n"
        "import fluidsynth; assert fluidsynth.Synth\n"
        "from partitura.utils import fluidsynth as own; assert not own.HAS_FLUIDSYNTH\n"
    )
    result = run(program, with_pyfluidsynth)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.slow
def test_a_bare_import_would_fetch_a_soundfont(with_pyfluidsynth: Path) -> None:
    """Shows that the test above can fail; once partitura stops this, ``import_partitura`` can go."""
    result = run("import partitura", with_pyfluidsynth)
    assert "Downloading soundfont" in result.stdout


@pytest.mark.slow
def test_reading_musicxml_imports_no_partitura(tmp_path: Path) -> None:
    path = tmp_path / "a.musicxml"
    path.write_text(document(part([note("C4", 4)])))
    program = (
        "from pathlib import Path\nfrom score_to_audio.formats.scores.reader import read_score\n"
        f"assert len(read_score(Path({str(path)!r})).parsed.notes) == 1\n"
        "assert not {'partitura', 'torch', 'prefect', 'scipy'} & set(sys.modules)\n"
    )
    result = run(program, tmp_path)
    assert result.returncode == 0, result.stderr


def test_parts_have_the_ids_of_the_file_and_given_ones() -> None:
    text = document(part([note("C4", 2, id="a") + note("rest", 1) + note("D4", 1)]))
    (loaded,) = load_parts(score(text))
    assert [n.id for n in loaded.notes] == ["a", "p1n3"]
    assert [id_.removesuffix("-1") for id_ in parse(text).notes.id] == ["a", "p1n3"]


def test_unfolded_parts_have_the_ids_of_the_parsed_score() -> None:
    first = note("C4", 4, id="a") + repeat("backward")
    text = document(part([first, note("D4", 4, id="b")]))
    (loaded,) = load_parts(score(text), unfolded=True)
    assert tuple(n.id for n in loaded.notes) == parse(text).notes.id == ("a-1", "a-2", "b-1")


def test_the_chosen_parts_are_loaded() -> None:
    text = document(part([note("C5", 4)], "P1"), part([note("C3", 4)], "P2"), names=("Voice", "Piano"))
    assert [p.part_name for p in load_parts(score(text))] == ["Piano"]
    assert [p.part_name for p in load_parts(score(text), ScoreOptions(parts="all"))] == ["Voice", "Piano"]
    assert [p.part_name for p in load_partitura_score(score(text)).parts] == ["Voice", "Piano"]


def test_changing_divisions_give_a_note_array() -> None:
    """partitura: "note array from parts with multiple divisions is not supported"."""
    finer = note("D4", 2).replace("<duration>24<", "<duration>48<")
    change = "<attributes><divisions>24</divisions></attributes>"
    (loaded,) = load_parts(score(document(part([note("C4", 4), change + finer + finer]))))
    array = loaded.note_array()
    assert array["onset_quarter"].tolist() == [0, 4, 6]
    assert array["duration_quarter"].tolist() == [4, 2, 2]


def test_grace_notes_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """partitura raises here for notes without ids."""
    text = document(part([note("D4", grace="") + note("C4", 4)]))
    (loaded,) = load_parts(score(text))
    assert len(loaded.note_array(include_grace_notes=True)) == 2
    assert capsys.readouterr() == ("", "")


def test_what_partitura_cannot_read_is_told_in_one_sentence() -> None:
    root = "<root><root-step>C</root-step><root-alter>x</root-alter></root>"
    harmony = f"<harmony>{root}<kind>major</kind></harmony>"
    bad = document(part([note("C4", 4) + harmony]))
    with pytest.raises(InputError, match="cannot be read by partitura"):
        load_parts(score(bad))


def test_a_midi_file_has_no_parts() -> None:
    with pytest.raises(InputError, match="needs a notated score"):
        load_parts(Score(Path("a.mid"), b"MThd", parse_score))  # type: ignore[arg-type]


def test_spelling_of_midi_pitches() -> None:
    pitches = [60, 62, 64, 65, 67, 69, 71, 72, 66, 67]
    assert spell(range(10), [1] * 10, pitches, 1) == [
        "C4",
        "D4",
        "E4",
        "F4",
        "G4",
        "A4",
        "B4",
        "C5",
        "F#4",
        "G4",
    ]


def test_partitura_agrees_about_notes() -> None:
    """Ties, chords, voices, tuplets, a pickup and cross-staff notes, against partitura's note array."""
    text = document(
        part(
            [
                note("G4", 1),
                note("C4", 2, ties="start", voice=1, staff=1)
                + note("E4", 2, chord=True, voice=1, staff=1)
                + note("C4", 2, ties="stop start", voice=1, staff=1)
                + backup(4)
                + "".join(note(p, 1 / 3, voice=5, staff=2) for p in ("C3", "D3", "E3") * 4),
                note("C4", 1, ties="stop", voice=1, staff=1) + note("Bb3", 3, voice=1, staff=2),
            ]
        )
    )
    ours = parse(text)
    (loaded,) = load_parts(score(text), unfolded=True)
    theirs = loaded.note_array(include_pitch_spelling=True, include_staff=True)
    theirs = theirs[np.lexsort((theirs["pitch"], theirs["onset_quarter"]))]
    assert ours.notes.id == tuple(theirs["id"])
    np.testing.assert_allclose(
        ours.notes.onset, theirs["onset_quarter"] - theirs["onset_quarter"][0], atol=1e-5
    )
    np.testing.assert_allclose(ours.notes.duration, theirs["duration_quarter"], atol=1e-5)
    np.testing.assert_array_equal(ours.notes.pitch, theirs["pitch"])
    np.testing.assert_array_equal(ours.notes.voice, theirs["voice"])
    np.testing.assert_array_equal(ours.notes.staff, theirs["staff"])
