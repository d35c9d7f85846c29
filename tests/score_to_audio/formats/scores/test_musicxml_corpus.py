"""The reader on real scores: the ASAP corpus, the Vienna 4x22 excerpts and the shared examples.

The corpus is found through SCORE_TO_AUDIO_CORPUS (the unpacked folder), else through ``shared/data`` beside
the checkout (unpacked into a temporary folder); the tests say so and skip where there is neither.
"""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from score_to_audio.formats.scores.reader import ScoreOptions, load_parts, read_score
from score_to_audio.types import ParsedScore
from tests.paths import SHARED

SHARED = SHARED / "data"
SNOTE = re.compile(r"^snote\(([^,]+),\[([A-G]),([^\]]+)\],(-?\d+)", re.MULTILINE)
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ALTERATIONS = {"n": 0, "#": 1, "b": -1, "x": 2, "##": 2, "bb": -2}
JOINED = [
    "Bach/Prelude/bwv_854",
    "Beethoven/Piano_Sonatas/17-1",
    "Brahms/Six_Pieces_op_118/2",
    "Haydn/Keyboard_Sonatas/39-1",
    "Mozart/Piano_Sonatas/12-1",
    "Schubert/Piano_Sonatas/664-1",
    "Chopin/Ballades/1",
]
"""Scores whose matches are joined; with repeats, voltas, ornaments and small notes."""


def shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.exists():
        pytest.skip(f"no {name}: {folder} does not exist beside the checkout")
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (named := os.environ.get("SCORE_TO_AUDIO_CORPUS")) is not None:
        return Path(named)
    archive = SHARED / "asap" / "corpus.tar.xz"
    if not archive.exists():
        pytest.skip(f"no corpus: set SCORE_TO_AUDIO_CORPUS to its folder ({archive} does not exist either)")
    folder = tmp_path_factory.mktemp("corpus")
    with tarfile.open(archive) as packed:
        wanted = [m for m in packed if m.name.endswith((".musicxml", ".match"))]
        packed.extractall(folder, members=wanted, filter="data")
    return folder / "asap"


def check(parsed: ParsedScore) -> None:
    """What has to hold for every score."""
    notes = parsed.notes
    assert len(notes) > 0
    assert len(set(notes.id)) == len(notes)
    assert (np.diff(notes.onset) >= 0).all()
    is_main = np.array([grace == "" for grace in notes.grace])
    ends = np.array([m.end for m in parsed.measures])[notes.measure]
    starts = np.array([m.onset for m in parsed.measures])[notes.measure]
    assert (notes.onset >= starts).all()
    assert (notes.onset[is_main] < ends[is_main]).all()
    assert (notes.duration[is_main] > 0).all()
    assert ((notes.pitch >= 0) & (notes.pitch <= 127)).all()
    assert all(0 <= slur.start <= slur.end < len(notes) for slur in parsed.slurs)
    assert all(0 <= d.onset <= d.end <= parsed.end for d in parsed.directions)
    assert parsed.time_signatures[0].onset == 0


@pytest.mark.slow
def test_every_score_of_the_corpus_is_read(corpus: Path) -> None:
    paths = sorted(corpus.rglob("xml_score.musicxml"))
    assert len(paths) > 0
    for path in paths:
        check(read_score(path).parsed)


@pytest.mark.slow
@pytest.mark.parametrize("name", JOINED)
def test_notes_join_the_matches_by_id(corpus: Path, name: str) -> None:
    """The ids of an unfolded score are those of the match files; what is missing was hidden or tied."""
    path = corpus / name / "xml_score.musicxml"
    parsed = read_score(path).parsed
    pitch_of = dict(zip(parsed.notes.id, parsed.notes.pitch.tolist(), strict=True))
    hidden, tied = _hidden_and_tied(path)
    matches = sorted((corpus / name).glob("*.match"))
    assert len(matches) > 0
    for match in matches:
        joined = 0
        for id_, step, alteration, octave in SNOTE.findall(match.read_text()):
            if id_ not in pitch_of:
                assert id_.rpartition("-")[0] in hidden | tied, (match.name, id_)
                continue
            joined += 1
            expected = 12 * (int(octave) + 1) + SEMITONES[step] + ALTERATIONS[alteration]
            assert pitch_of[id_] == expected, (match.name, id_)
        assert joined > 0.99 * len(pitch_of)


def _hidden_and_tied(path: Path) -> tuple[set[str], set[str]]:
    """Ids of the notes that are hidden cue notes, and of those that continue a tie."""
    hidden, tied = set(), set()
    for text in re.findall(r"<note.*?</note>", path.read_text(), re.DOTALL):
        id_ = re.search(r'id="([^"]*)"', text)
        assert id_ is not None
        if "<cue" in text and 'print-object="no"' in text[: text.index(">")]:
            hidden.add(id_.group(1))
        if re.search(r'<tied? type="stop"', text):
            tied.add(id_.group(1))
    return hidden, tied


@pytest.mark.slow
@pytest.mark.parametrize("name", JOINED[:4])
def test_partitura_reads_the_same_notes(corpus: Path, name: str) -> None:
    """Its note array, not unfolded, holds our notes and the hidden ones; durations agree.

    Except for a tie into another voice, which partitura leaves open and we follow: there ours is longer.
    """
    score = read_score(corpus / name / "xml_score.musicxml", ScoreOptions(repeats=False))
    (loaded,) = load_parts(score)
    theirs = {str(n.id): n for n in loaded.notes_tied}
    ours = score.parsed.notes
    quarter = loaded.quarter_map
    open_ties = 0
    for index, id_ in enumerate(ours.id):
        other = theirs[id_]
        assert other.midi_pitch == ours.pitch[index]
        assert (type(other).__name__ == "GraceNote") == (ours.grace[index] != "")
        begin = float(quarter(other.start.t))
        duration = float(quarter(other.end_tied.t)) - begin
        if duration < ours.duration[index] - 1e-5:
            open_ties += 1
        else:
            assert duration == pytest.approx(ours.duration[index], abs=1e-5)
    assert open_ties <= 2


def test_the_examples_are_read() -> None:
    folder = shared("examples")
    counts = {path.name: len(read_score(path).parsed.notes) for path in sorted(folder.glob("*.mxl"))}
    assert counts == {
        "bach-petzold_minuet_g_bwv_anh_114.mxl": 408,
        "chopin_prelude_op28_no4.mxl": 604,
        "clara_schumann_polonaise_op1_no1.mxl": 1900,
        "joplin_the_entertainer.mxl": 2628,
        "schubert_das_wandern_d795_1_voice_and_piano.mxl": 528,
    }


def test_the_vienna_excerpts_join_their_matches() -> None:
    folder = shared("vienna4x22")
    for path in sorted((folder / "musicxml").glob("*.musicxml")):
        # These scores are written out, and their matches use the ids of the file.
        parsed = read_score(path, ScoreOptions(repeats=False)).parsed
        check(parsed)
        matches = sorted((folder / "match").glob(f"{path.stem}*.match"))
        assert len(matches) == 22
        for match in matches:
            ids = {found[0] for found in SNOTE.findall(match.read_text())}
            assert ids <= set(parsed.notes.id), match.name
