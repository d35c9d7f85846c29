"""Bach, Prelude in C major, BWV 846, from the first book of the Well-Tempered Clavier."""

from tools.typeset_pieces.notation import Measure, Piece, measure

HARMONIES = (
    "C4 E4 G4 C5 E5",
    "C4 D4 A4 D5 F5",
    "B3 D4 G4 D5 F5",
    "C4 E4 G4 C5 E5",
    "C4 E4 A4 E5 A5",
    "C4 D4 F#4 A4 D5",
    "B3 D4 G4 D5 G5",
    "B3 C4 E4 G4 C5",
    "A3 C4 E4 G4 C5",
    "D3 A3 D4 F#4 C5",
    "G3 B3 D4 G4 B4",
    "G3 Bb3 E4 G4 C#5",
    "F3 A3 D4 A4 D5",
    "F3 Ab3 D4 F4 B4",
    "E3 G3 C4 G4 C5",
    "E3 F3 A3 C4 F4",
    "D3 F3 A3 C4 F4",
    "G2 D3 G3 B3 F4",
    "C3 E3 G3 C4 E4",
    "C3 G3 Bb3 C4 E4",
    "F2 F3 A3 C4 E4",
    "F#2 C3 A3 C4 Eb4",
    "Ab2 F3 B3 C4 D4",
    "G2 F3 G3 B3 D4",
    "G2 E3 G3 C4 E4",
    "G2 D3 G3 C4 F4",
    "G2 D3 G3 B3 F4",
    "G2 Eb3 A3 C4 F#4",
    "G2 E3 G3 C4 G4",
    "G2 D3 G3 C4 F4",
    "G2 D3 G3 B3 F4",
    "C2 C3 G3 Bb3 E4",
)
"""Of measures 1 to 32, from the bass upwards: five notes, broken twice in each measure."""


def broken(harmony: str) -> Measure:
    """A measure in the piece's pattern: the two lowest notes are held by the left hand."""
    bass, tenor, first, second, third = harmony.split()
    figure = f"r/8 {first}/16 {second}/16 " + f"{third}/16 {first}/16 {second}/16 {third}/16"
    return measure(
        R1=f"{figure} {figure}",
        L1=f"r/16 {tenor}~/8. {tenor}/4 r/16 {tenor}~/8. {tenor}/4",
        L2=f"{bass}/2 {bass}/2",
    )


def sixteenths(pitches: str) -> str:
    """An eighth rest, then sixteenth notes."""
    return "r/8 " + " ".join(f"{pitch}/16" for pitch in pitches.split())


PIECE = Piece(
    file="bach_prelude_bwv846",
    title="Prelude in C major",
    number="BWV 846",
    composer="Johann Sebastian Bach",
    source="the Bach-Gesellschaft's edition (1866)",
    fifths=0,
    mode="major",
    time=(4, 4),
    time_symbol="common",
    tempo=69,
    beam=1,
    measures=(
        *(broken(harmony) for harmony in HARMONIES),
        measure(
            R1=r"\clef:F4 " + sixteenths("F3 A3 C4 F4 C4 A3 C4 A3 F3 A3 F3 D3 F3 D3"),
            L1="r/16 C3~/8. C3~/4 C3/2",
            L2="C2/1",
        ),
        measure(
            R1=r"\clef:G2 " + sixteenths("G4 B4 D5 F5 D5 B4 D5 B4 G4 B4 D4 F4 E4 D4"),
            L1="r/16 B2~/8. B2~/4 B2/2",
            L2="C2/1",
        ),
        measure(R1="E4+G4+C5/1:fermata", L1="C2+C3/1:fermata"),
    ),
)
