"""Reading match files of the (n)ASAP kind, and finding them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from score_to_audio.errors import InputError
from score_to_audio.formats.matches import pieces, read_match

MATCH = """info(matchFileVersion,1.0.0).
info(midiClockUnits,480).
info(midiClockRate,500000).
scoreprop(timeSignature,4/4,1:1,0,0.0000).
snote(n1,[C,n],4,1:1,0,1/4,0.0000,1.0000,[v1,staff1])-note(0,60,480,900,60,0,0).
snote(n2,[D,n],4,1:2,0,1/4,1.0000,2.0000,[v1,staff1])-note(1,62,960,1400,70,0,0).
snote(n3,[E,n],4,1:3,0,1/4,2.0000,3.0000,[v1,staff1])-deletion.
insertion-note(2,90,1440,1500,20,0,0).
sustain(500,127).
sustain(940,30).
"""

TABLE = """composer,title,folder,split,performance,match,match_is_robust,beats_match_score
Bach,One,Bach/One,train,a.mid,a.match,1.0,True
Bach,One,Bach/One,train,b.mid,b.match,1.0,False
Bach,One,Bach/One,train,c.mid,c.match,0.0,True
Bach,One,Bach/One,train,d.mid,d.match,1.0,
Bach,Two,Bach/Two,train,e.mid,,,
Bach,Three,Bach/Three,test,f.mid,f.match,1.0,True
"""


def test_a_match_file_is_a_performance_that_knows_its_score(tmp_path: Path):
    path = tmp_path / "a.match"
    path.write_text(MATCH)
    played = read_match(path)
    assert played.score_ids == ("n1", "n2", "")
    np.testing.assert_allclose(played.onset, [0.5, 1.0, 1.5])
    np.testing.assert_allclose(played.offset[:2], [900 / 960, 1400 / 960])
    np.testing.assert_array_equal(played.velocity, [60, 70, 20])
    np.testing.assert_allclose(played.controls.time, [500 / 960, 940 / 960])
    np.testing.assert_array_equal(played.controls.value, [127, 30])


def test_robust_matches_with_matching_beats_are_told_from_the_others(tmp_path: Path):
    (tmp_path / "performances.csv").write_text(TABLE)
    (piece,) = pieces(tmp_path, "train")
    assert [path.name for path in piece.robust] == ["a.match", "d.match"]
    assert [path.name for path in piece.others] == ["b.match", "c.match"]
    assert piece.score == tmp_path / "Bach/One/xml_score.musicxml"


def test_what_is_no_match_file_is_an_input_error(tmp_path: Path):
    path = tmp_path / "a.match"
    path.write_text("info(matchFileVersion,1.0.0).\n")
    with pytest.raises(InputError, match=r"a\.match"):
        read_match(path)
    with pytest.raises(InputError, match=r"performances\.csv"):
        pieces(tmp_path, "train")
