"""The order of notes within voices."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from renderers.voices import neighbours
from tests.renderers.score_builder import N, parsed


def test_chords_grace_notes_and_voices():
    score = parsed(
        [N("C4", 0), N("E4", 0), N("D5", 1, grace="acciaccatura"), N("F4", 1), N("A3", 0, 2, voice=2)]
    )
    names = [*score.notes.spelling, "-"]
    before, after = neighbours(score.notes)
    found = {
        name: (names[b], names[a]) for name, b, a in zip(score.notes.spelling, before, after, strict=True)
    }
    assert found["A3"] == ("-", "-")
    assert found["C4"] == found["E4"] == ("-", "F4")
    assert found["D5"][0] in ("C4", "E4")
    assert found["D5"][1] == "F4"
    assert found["F4"][0] in ("C4", "E4")


_notes = st.builds(
    N,
    st.sampled_from(["C4", "D4", "E4"]),
    st.integers(0, 6).map(float),
    grace=st.sampled_from(["", "", "acciaccatura"]),
    voice=st.integers(0, 3),
    staff=st.integers(1, 2),
    part=st.integers(0, 1),
)


@given(st.lists(_notes, max_size=25))
def test_against_a_plain_search(given_notes):
    notes = parsed(given_notes).notes
    before, after = neighbours(notes)

    def same_voice(i, j):
        key = [(notes.part[k], notes.voice[k], notes.staff[k] if notes.voice[k] == 0 else 0) for k in (i, j)]
        return key[0] == key[1] and not notes.grace[j]

    for i in range(len(notes)):
        others = [j for j in range(len(notes)) if same_voice(i, j)]
        earlier = [notes.onset[j] for j in others if notes.onset[j] < notes.onset[i]]
        later = [
            notes.onset[j]
            for j in others
            if notes.onset[j] > notes.onset[i] or (notes.grace[i] and notes.onset[j] == notes.onset[i])
        ]
        assert (notes.onset[before[i]] if before[i] >= 0 else None) == max(earlier, default=None)
        assert (notes.onset[after[i]] if after[i] >= 0 else None) == min(later, default=None)
        assert before[i] < 0 or same_voice(i, before[i])
        assert after[i] < 0 or same_voice(i, after[i])
