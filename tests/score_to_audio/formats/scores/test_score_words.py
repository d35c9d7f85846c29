"""What words in a score mean; the texts are those of real scores."""

from __future__ import annotations

import pytest

from score_to_audio.formats.scores.words import (
    beats_per_minute,
    meanings,
    metronome_in_words,
    plain_text,
)


def kinds(text: str) -> set[tuple[str, str]]:
    return {
        (meaning.kind, meaning.text if meaning.kind in ("hairpin", "dynamic", "impulse") else "")
        for meaning in meanings(text)
    }


@pytest.mark.parametrize(
    "text",
    [
        "Allegro",
        "Andante con moto",
        "LARGO",
        "Presto con fuoco",
        "Molto vivace",
        "Più mosso",
        "meno allegro",
        "Doppio movimento",
        "Tempo di Menuetto",
        "In tempo d'un Menuetto",
        "Sehr langsam M.M.",
        "Assez vif.",
        "Etwas langsamer",
        "Noch schneller",
        "Plus lent",
        "Très lent",
        "Poco Adagio.",
        "sempre presto",
    ],
)
def test_tempos(text: str) -> None:
    assert kinds(text) == {("tempo", "")}


@pytest.mark.parametrize(
    "text",
    [
        "rit.",
        "poco ritard.",
        "riten.",
        "ritenuto",
        "poco ritenente",
        "ritar",
        "rall.",
        "poco rallent.",
        "accel.",
        "accelerando",
        "string.",
        "stretto",
        "slentando",
        "allargando",
        "Cédez",
        "cédez légèrement",
        "En animant",
        "zurückhaltend",
        "sempre più mosso",
        "poco a poco animato",
        "un peu retenu",
        "(en retenant jusqu'à la fin)",
    ],
)
def test_tempo_changes(text: str) -> None:
    assert kinds(text) == {("tempo-change", "")}


@pytest.mark.parametrize(
    "text",
    [
        "a tempo",
        "a Tempo",
        "a tempo (meno mosso)",
        "Tempo I",
        "tempo I.",
        "Tempo primo",
        "Primo tempo",
        "Erstes Tempo",
        "au Mouvt",
        "1o Tempo",
        "in tempo.",
        "Reprenez le mouvement",
        "tempo",
    ],
)
def test_tempo_resets(text: str) -> None:
    assert kinds(text) == {("tempo-reset", "")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cresc.", {("hairpin", "crescendo")}),
        ("poco a poco crescendo", {("hairpin", "crescendo")}),
        ("dimin.", {("hairpin", "diminuendo")}),
        ("decresc.", {("hairpin", "diminuendo")}),
        ("sempre più piano", {("hairpin", "diminuendo")}),
        ("smorz.", {("hairpin", "diminuendo"), ("tempo-change", "")}),
        ("calando", {("hairpin", "diminuendo"), ("tempo-change", "")}),
        ("cresc. ed accel.", {("hairpin", "crescendo"), ("tempo-change", "")}),
        ("cresc. e stretto", {("hairpin", "crescendo"), ("tempo-change", "")}),
        ("a tempo ed accel.", {("tempo-reset", ""), ("tempo-change", "")}),
        ("sempre pp", {("dynamic", "pp")}),
        ("p dolce", {("dynamic", "p")}),
        ("piano", {("dynamic", "p")}),
        ("sempre fortissimo", {("dynamic", "ff")}),
        ("rinforz.", {("impulse", "rf")}),
        ("dolce", {("words", "")}),
        ("Un poco più animato il tempo.", {("tempo", "")}),
        ("sans ralentir", {("words", "")}),
        ("attacca subito l'Allegro", {("words", "")}),
        ("m.d.", {("words", "")}),
        ("3", {("words", "")}),
        ("1) Few pianists follow this mark: allegro rit. cresc. is what most play instead", {("words", "")}),
    ],
)
def test_other_words(text: str, expected: set[tuple[str, str]]) -> None:
    assert kinds(text) == expected


def test_markup_and_extension_lines_are_taken_off() -> None:
    assert plain_text("<i>poco  rall.</i>") == "poco rall."
    assert plain_text("&lt;i&gt;poco ritenuto.&lt;/i&gt;") == "poco ritenuto."
    assert plain_text("rit.  -  -   -") == "rit."
    assert plain_text(" - - ") == "- -"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Assai vivace (\ueca5\uecb7 = 80)", 120),
        ("♩ = 66", 66),
        ("(♪= c. 100)", 50),
        ("Allegro", None),
        ("♩ = ♪", None),
    ],
)
def test_metronome_marks_in_words(text: str, value: float | None) -> None:
    assert metronome_in_words(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("120", 120), ("ca. 92.5", 92.5), ("100-108", 104), ("100–120", 110), ("lento", None), ("0", None)],
)
def test_beats_per_minute(text: str, value: float | None) -> None:
    assert beats_per_minute(text) == value
