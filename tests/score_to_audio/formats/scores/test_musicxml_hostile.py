"""Bad and hostile files: one clear sentence, in little time and memory, and nothing left behind."""

from __future__ import annotations

import io
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from score_to_audio.errors import InputError
from score_to_audio.formats.scores import files as score_files
from score_to_audio.formats.scores import unfolding as score_unfolding
from score_to_audio.formats.scores.reader import SUFFIXES, read_score
from tests.score_to_audio.formats.scores.score_builder import (
    document,
    note,
    parse,
    part,
    read_text,
    repeat,
    words,
)

GOOD = document(part([note("C4", 4)]))
DOCTYPE = (
    '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" '
    '"http://www.musicxml.org/dtds/partwise.dtd">'
)


def refused(text: str | bytes, reason: str, name: str = "test.musicxml") -> str:
    """The message of the error, which has to be one line that names the file and the reason."""
    with pytest.raises(InputError, match=reason) as caught:
        parse(text, name)
    message = str(caught.value)
    assert name in message
    assert "\n" not in message
    assert len(message) < 400
    return message


def compressed(members: dict[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


CONTAINER = '<container><rootfiles><rootfile full-path="score.xml"/></rootfiles></container>'


def with_prolog(prolog: str, text: str = GOOD) -> str:
    return text.replace("?>", "?>" + prolog, 1)


# ------------------------------------------------------------------------------------------- the file


def test_good_files_of_every_kind_are_read(tmp_path: Path) -> None:
    packed = compressed({"META-INF/container.xml": CONTAINER, "score.xml": GOOD})
    for name, content in [
        ("a.musicxml", GOOD.encode()),
        ("a.xml", with_prolog(DOCTYPE).encode()),
        ("a.mxl", packed),
        ("packed.musicxml", packed),
        ("UPPER.XML", GOOD.encode()),
    ]:
        assert len(read_text(tmp_path, content, name).notes) == 1


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.mscz", "a.musicxml.zip"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(GOOD)
    with pytest.raises(InputError, match="is not a score file") as caught:
        read_score(tmp_path / name)
    assert all(suffix in str(caught.value) for suffix in SUFFIXES)


def test_missing_empty_folder_and_device(tmp_path: Path) -> None:
    (tmp_path / "empty.xml").touch()
    (tmp_path / "folder.xml").mkdir()
    (tmp_path / "device.xml").symlink_to("/dev/zero")
    for name, reason in [
        ("missing.xml", "does not exist"),
        ("empty.xml", "is empty"),
        ("folder.xml", "is a folder"),
        ("device.xml", "not a regular file"),
    ]:
        with pytest.raises(InputError, match=reason):
            read_score(tmp_path / name)


def test_gigabytes_are_refused_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "huge.musicxml"
    with path.open("wb") as file:
        file.truncate(5 * 2**30)
    with pytest.raises(InputError, match="5120 MiB"):
        read_score(path)


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.xml"
    path.write_text(GOOD)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        read_score(path)


# ----------------------------------------------------------------------------------------------- XML


def test_not_xml() -> None:
    refused(b"just some text", "is not XML")
    refused(b"\x89PNG\r\n\x1a\n\0\0\0", "is not text in the encoding")
    refused(b"\xff\xfe\0\0" + b"x" * 8, "is not text in the encoding")
    refused(b'<?xml version="1.0" encoding="UTF-7"?><score-partwise/>', "declares the encoding 'utf-7'")


@pytest.mark.parametrize(
    ("label", "encoding", "title"),
    [
        ("Shift_JIS", "shift_jis", "春の海"),
        ("Shift_JIS", "cp932", "①番"),
        ("x-sjis", "shift_jis", "春"),
        ("Windows-31J", "cp932", "①番"),
        ("windows-874", "cp874", "เปียโน"),
        ("cp-1252", "cp1252", "Für"),
        ("ANSI", "cp1252", "Für"),
        ("Unicode", "utf-8", "Für"),
        ("EUC-JP", "euc_jp", "春"),
        ("ISO-8859-2", "iso-8859-2", "Dvořák"),
        ("windows-1251", "cp1251", "Чайковский"),
        ("KOI8-R", "koi8-r", "Чайковский"),
        ("GB2312", "gb2312", "黄河"),
        ("gb2312", "gb18030", "镕"),
        ("Big5", "big5", "黃河"),
        ("EUC-KR", "euc_kr", "아리랑"),
        ("macintosh", "mac-roman", "Für Elise"),
        ("x-mac-roman", "mac-roman", "Für Elise"),
        ("UTF-16", "utf-16", "Für"),
        ("UTF-16LE", "utf-16-le", "Für"),
        ("UTF-32", "utf-32", "Für"),
        ("UTF-32", "utf-32-be", "Für"),
        ("UTF-16", "utf-8", "Für"),
    ],
)
def test_encodings_that_python_knows(label: str, encoding: str, title: str) -> None:
    titled = GOOD.replace("<part-list>", f"<movement-title>{title}</movement-title><part-list>")
    assert parse(titled.replace("UTF-8", label).encode(encoding)).title == title


@pytest.mark.parametrize("label", ["unknown", "utf-7", "rot13", "zlib", "idna", "unicode_escape", "cp037"])
def test_other_encodings_are_refused(label: str) -> None:
    refused(GOOD.replace("UTF-8", label), f"declares the encoding '{label}'")


@pytest.mark.parametrize("encoding", ["shift_jis", "utf-32", "utf-16", "cp1251"])
def test_entities_are_refused_in_every_encoding(encoding: str) -> None:
    bomb = with_prolog('<!DOCTYPE a [<!ENTITY a "b">]>', GOOD.replace("UTF-8", encoding))
    refused(bomb.encode(encoding), "declares XML entities")


@pytest.mark.parametrize("length", [30, 100, 200, -20, -1])
def test_truncated(length: int) -> None:
    refused(GOOD[:length], "not well-formed XML")


def test_another_kind_of_xml() -> None:
    refused("<html><body/></html>", "its root element is <html>")
    refused("<opus/>", "its root element is <opus>")


def test_the_standard_doctype_is_accepted_and_not_fetched() -> None:
    assert len(parse(with_prolog(DOCTYPE)).notes) == 1


def test_entity_bombs() -> None:
    laughs = '<!DOCTYPE score-partwise [<!ENTITY a "lol">' + "".join(
        f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9)
    )
    refused(with_prolog(laughs + "]>", GOOD.replace("Piano", "&j;")), "declares XML entities")
    quadratic = f'<!DOCTYPE score-partwise [<!ENTITY a "{"x" * 10000}">]>'
    refused(with_prolog(quadratic, GOOD.replace("Piano", "&a;" * 10000)), "declares XML entities")
    attribute = with_prolog(quadratic, GOOD.replace('version="4.0"', 'version="&a;"'))
    refused(attribute, "declares XML entities")
    refused(with_prolog(laughs + "]>").replace("UTF-8", "UTF-16").encode("utf-16"), "declares XML entities")


def test_external_entities(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    external = f'<!DOCTYPE score-partwise [<!ENTITY a SYSTEM "file://{secret}">]>'
    refused(with_prolog(external, GOOD.replace("Piano", "&a;")), "declares XML entities")
    parameter = f'<!DOCTYPE score-partwise [<!ENTITY % a SYSTEM "file://{secret}"> %a;]>'
    refused(with_prolog(parameter), "declares XML entities")


def test_an_undeclared_entity() -> None:
    refused(GOOD.replace("Piano", "&nbsp;"), "not well-formed|cannot be")


def test_xinclude_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hidden words")
    include = f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{secret}" parse="text"/>'
    assert "hidden" not in repr(
        parse(GOOD.replace("<part-list>", f"<movement-title>{include}</movement-title><part-list>"))
    )


def test_deep_nesting() -> None:
    refused("<a>" * 100_000 + "</a>" * 100_000, "not well-formed XML")


def test_too_many_tags() -> None:
    refused(
        "<score-partwise>" + "<a/>" * (score_files.MAX_XML_TAGS + 1) + "</score-partwise>",
        "more than 3,000,000 tags",
    )


# ----------------------------------------------------------------------------------------------- .mxl


def test_zip_bomb() -> None:
    bomb = compressed({"META-INF/container.xml": CONTAINER, "score.xml": b" " * (65 * 2**20)})
    assert len(bomb) < 2**17
    refused(bomb, "unpacks to more than 64 MiB", "bomb.mxl")


def test_zip_bomb_that_lies_about_its_size() -> None:
    bomb = bytearray(compressed({"META-INF/container.xml": CONTAINER, "score.xml": b" " * (65 * 2**20)}))
    size = (65 * 2**20).to_bytes(4, "little")
    while (at := bomb.find(size)) >= 0:
        bomb[at : at + 4] = (1000).to_bytes(4, "little")
    refused(bytes(bomb), "damaged|unpacks|not XML", "bomb.mxl")


def test_bomb_in_the_container() -> None:
    bomb = compressed({"META-INF/container.xml": b" " * (65 * 2**20), "score.xml": GOOD})
    refused(bomb, "unpacks to more than 1 MiB", "bomb.mxl")


def test_many_members() -> None:
    refused(compressed({str(i): b"" for i in range(1001)}), "contains 1001 files", "many.mxl")


def test_damaged_archives() -> None:
    whole = compressed({"META-INF/container.xml": CONTAINER, "score.xml": GOOD})
    refused(whole[:100], "damaged compressed score", "cut.mxl")
    refused(whole[: len(whole) - 30], "damaged compressed score", "cut.mxl")
    broken = bytearray(whole)
    middle = whole.find(b"score.xml") + 40
    broken[middle : middle + 20] = bytes(20)
    refused(bytes(broken), "damaged compressed score|not well-formed", "broken.mxl")


def test_archives_that_are_no_scores() -> None:
    refused(compressed({"a.txt": "x"}), "contains no score", "a.mxl")
    refused(compressed({"META-INF/container.xml": CONTAINER}), "contains no score", "a.mxl")
    two = {"a.xml": GOOD, "b.musicxml": GOOD}
    refused(compressed(two), "contains 2 files that may be the score", "a.mxl")
    refused(compressed({"META-INF/container.xml": "<container/>", **two}), "contains 2 files", "a.mxl")
    bomb = '<!DOCTYPE container [<!ENTITY a "b">]><container/>'
    refused(compressed({"META-INF/container.xml": bomb, "a.xml": GOOD}), "declares XML entities", "a.mxl")


@pytest.mark.parametrize(
    ("named", "member"),
    [
        ("data\\score.xml", "data/score.xml"),
        ("data/score.xml", "data\\score.xml"),
        ("./score.xml", "score.xml"),
        ("/score.xml", "score.xml"),
        ("Score.XML", "score.xml"),
        ("my%20score.xml", "my score.xml"),
        ("100%25.xml", "100%.xml"),
        ("100%25.xml", "100%25.xml"),
        ("other.xml", "score.xml"),
        ("", "deep/in/score.musicxml"),
    ],
)
def test_the_score_is_found_however_it_is_named(named: str, member: str) -> None:
    container = CONTAINER.replace("score.xml", named)
    whole = compressed({"mimetype": "x", "META-INF/container.xml": container, member: GOOD, "a.png": "x"})
    assert len(parse(whole, "a.mxl").notes) == 1


@pytest.mark.parametrize(
    "container",
    [
        None,
        "<container/>",
        "not XML",
        '<?xml version="1.0" encoding="UTF-8">' + CONTAINER,
        b"\xff\xff",
        '<c:container xmlns:c="urn:x"><c:rootfile full-path="x.xml"/></c:container>',
    ],
)
def test_the_only_score_is_taken_where_the_container_does_not_help(container: str | bytes | None) -> None:
    members: dict[str, str | bytes] = {"score.xml": GOOD, "__MACOSX/._score.xml": "x", "META-INF/x.xml": "x"}
    members["._score.xml"] = "x"
    if container is not None:
        members["META-INF/container.xml"] = container
    assert len(parse(compressed(members), "a.mxl").notes) == 1


def test_the_container_chooses_among_several() -> None:
    other = GOOD.replace("<octave>4", "<octave>5")
    pdf = '<rootfile full-path="a.pdf" media-type="application/pdf"/>'
    named = CONTAINER.replace("score.xml", "b.xml").replace("<rootfile ", pdf + "<rootfile ")
    whole = compressed({"META-INF/container.xml": named, "a.xml": GOOD, "b.xml": other, "a.pdf": "x"})
    assert parse(whole, "a.mxl").notes.spelling == ("C5",)
    untyped = named.replace(' media-type="application/pdf"', "")
    whole = compressed({"META-INF/container.xml": untyped, "a.xml": GOOD, "b.xml": other, "a.pdf": "x"})
    assert parse(whole, "a.mxl").notes.spelling == ("C5",)


def test_paths_that_lead_out_of_the_archive() -> None:
    evil = CONTAINER.replace("score.xml", "../../../../etc/passwd")
    refused(compressed({"META-INF/container.xml": evil}), "contains no score", "a.mxl")


def test_an_encrypted_archive() -> None:
    content = bytearray(compressed({"META-INF/container.xml": CONTAINER, "score.xml": GOOD}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + offset] |= 1
    refused(bytes(content), "encrypted", "a.mxl")


# ------------------------------------------------------------------------------------- absurd content


def test_no_notes() -> None:
    refused(document(part([note("rest", 4)])), "has no notes to play: it holds rests only")
    refused(GOOD.replace("<measure", "<x").replace("</measure", "</x"), "has no measures")
    refused("<score-partwise/>", "has no measures")


def test_percussion_only() -> None:
    drum = "<note><unpitched/><duration>48</duration></note>"
    refused(document(part([drum])), "for percussion only")


@pytest.mark.parametrize(
    ("wrong", "right", "reason"),
    [
        ("<duration>x</duration>", "<duration>48</duration>", "measure 1: a <note> has the duration 'x'"),
        ("", "<duration>48</duration>", "measure 1: a <note> has no duration"),
        ("<duration>1e999999999</duration>", "<duration>48</duration>", "has the duration '1e999999999'"),
        ("<duration>999999999999</duration>", "<duration>48</duration>", "longer than 4,000 quarter notes"),
        ("<divisions>0</divisions>", "<divisions>12</divisions>", "must be above 0"),
        ("<divisions>-4</divisions>", "<divisions>12</divisions>", "must be above 0"),
        ("<step>H</step>", "<step>C</step>", "measure 1: a note has the step 'H'"),
        ("<octave>77</octave>", "<octave>4</octave>", "outside the MIDI range"),
        ("<octave></octave>", "<octave>4</octave>", "octave ''"),
    ],
)
def test_impossible_values_are_told_with_their_measure(wrong: str, right: str, reason: str) -> None:
    assert right in GOOD
    refused(GOOD.replace(right, wrong), reason)


def test_the_part_is_named_where_there_are_several() -> None:
    bad = part([note("C4", 4).replace("<step>C</step>", "<step>?</step>")], "P2")
    text = document(part([note("C4", 4)], "P1"), bad, names=("Piano", "Klavier"))
    refused(text, "measure 1 of the part 'Klavier'")


def test_a_broken_part_that_is_left_out_is_still_told() -> None:
    """Its measures count for all parts, so that it cannot be ignored."""
    bad = part([note("C4", 4).replace("<duration>48", "<duration>?")], "P1")
    refused(document(bad, part([note("C4", 4)], "P2"), names=("Voice", "Piano")), "part 'Voice'")


def test_many_different_divisions_are_rounded_and_said() -> None:
    changes = [
        f"<attributes><divisions>{prime}</divisions></attributes>"
        f"<note><pitch><step>C</step><octave>4</octave></pitch><duration>{prime}</duration></note>"
        for prime in (7919, 7907, 7901, 7883, 7879, 7877)
    ]
    parsed = parse(document(part(changes)))
    assert parsed.notes.onset.tolist() == [0, 1, 2, 3, 4, 5]
    assert "note durations were rounded" in parsed.notices[0]


def test_repeats_of_many_notes_slurs_and_directions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    again = repeat("backward", 'times="10000"')
    many = "".join(note("C4", 0.25) for _ in range(100))
    refused(document(part([many + again])), "more than 500,000 notes")
    monkeypatch.setattr(score_unfolding, "MAX_PLAYED_NOTES", 20_000)
    refused(document(part([note("C4", 4) + words("cresc.") * 10 + again])), "more than 20,000 directions")
    slurs = note("C4", 4, notations='<slur type="start"/><slur type="stop"/>' * 3)
    refused(document(part([slurs + again])), "more than 20,000 slurs")


def test_long_texts_and_many_open_ends_take_little_time() -> None:
    """Each of these took minutes with a naive pattern or a quadratic search."""
    texts = ["- " * 20_000 + "x", "<![CDATA[" + "<a" * 20_000 + "]]>", "a" * 50_000, "." * 50_000 + "="]
    slurs = "".join(note("C4", 0.125, id="same", notations='<slur type="start"/>') for _ in range(4000))
    content = "".join(map(words, texts)) + words("cresc.") * 4000 + slurs
    parsed = parse(document(part([content])))
    assert len(set(parsed.notes.id)) == 4000


# ------------------------------------------------------------------------------- nothing left behind


@pytest.mark.slow
def test_memory_stays_bounded_and_no_file_is_left(tmp_path: Path) -> None:
    """The largest documents that are accepted or refused, in a process that may use 3 GiB."""
    tags = "<score-partwise>" + "<a/>" * 2_990_000 + "</score-partwise>"
    (tmp_path / "tags.xml").write_text(tags)
    notes = "".join(note("C4", 0.25) for _ in range(90_000))
    (tmp_path / "notes.xml").write_text(document(part([notes])))
    bomb = compressed({"META-INF/container.xml": CONTAINER, "score.xml": b" " * (1 << 30)})
    (tmp_path / "bomb.mxl").write_bytes(bomb)
    program = (
        "import sys; from pathlib import Path\n"
        "from score_to_audio.formats.scores.reader import read_score\n"
        "from score_to_audio.errors import InputError\n"
        "for path in map(Path, sys.argv[1:]):\n"
        "    try: read_score(path).parsed\n"
        "    except InputError as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30)),
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(result.stdout.splitlines()) == 3, result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bomb.mxl", "notes.xml", "tags.xml"]


def test_a_short_file_cannot_play_for_weeks() -> None:
    endless = repeat("forward") + note("C4", 3000) + repeat("backward", 'times="1000"')
    refused(document(part([endless])), "longer than 400,000 quarter notes")


def test_a_sum_of_odd_beats_is_no_time_signature() -> None:
    sum_of_beats = "".join(f"<beats>1</beats><beat-type>{kind}</beat-type>" for kind in (997, 991, 983, 977))
    text = GOOD.replace("<beats>4</beats><beat-type>4</beat-type>", sum_of_beats)
    assert text != GOOD
    assert [sign.beat_type for sign in parse(text).time_signatures if sign.beat_type > 128] == []


def test_parts_that_the_part_list_leaves_out() -> None:
    from score_to_audio.formats.scores.reader import load_parts, parse_score
    from score_to_audio.types import Score

    text = GOOD.replace('<score-part id="P1">', '<score-part id="other">')
    with pytest.raises(InputError, match="leaves out the part 'P1'"):
        load_parts(Score(Path("a.musicxml"), text.encode(), parse_score))
