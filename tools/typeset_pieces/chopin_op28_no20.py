"""Chopin, Prelude in C minor, op. 28 no. 20.

The inner voice comes first in the file because verovio would otherwise draw the clef changes a beat early.
"""

from tools.typeset_pieces.notation import Measure, Piece, measure


def second_strain(dynamic: str, before_last: str) -> tuple[Measure, ...]:
    """The four measures that are heard twice, with the marks in which the two times differ."""
    return (
        measure(
            R2="s/2 Ab4/8. F#4/16 s/4",
            R1=rf"\clef:G2 \{dynamic} Eb4+G4+Eb5/4( Eb4+Ab4+Eb5/4 D4+D5/4 D4+G4+D5/4",
            L1="C2+C3/4( C3+C4/4 B2+B3/4 Bb2+Bb3/4",
        ),
        measure(
            R1="C4+G4+C5/4 C4+D4+F#4+D5/4 D4+G4+B4/8. C4+A4/16 B3+D4+G4/4",
            L1="A2+A3/4 Ab2+Ab3/4 G2+G3/4 F2+F3/4",
        ),
        measure(
            R2="s/2 G3+D4/4 s/4",
            R1=f"C4+G4+C5/4 Ab3+C4+Ab4/4 G4/8. F4/16 {before_last}G3+C4+Eb4/4",
            L1="Eb2+Eb3/4 F2+F3/4 B1+B2/4 C2+C3/4",
        ),
        measure(
            R2="s/2 F3+G3+B3/4 s/4",
            R1=r"\clef:F4 Eb3+Ab3+C4+Eb4/4 F3+Ab3+Db4+F4/4 Eb4/8. D4/16 Eb3+G3+C4/4)",
            L1="Ab1+Ab2/4 Db1+Db2/4 G1+G2/4 C1+C2/4)",
        ),
    )


PIECE = Piece(
    file="chopin_prelude_op28_no20",
    title="Prelude in C minor",
    number="op. 28 no. 20",
    composer="Frédéric Chopin",
    source="the first editions (1839)",
    fifths=-3,
    mode="minor",
    time=(4, 4),
    time_symbol="common",
    tempo=42,
    words="Largo",
    beam=1,
    upper_clef="F4",
    measures=(
        measure(
            R2="s/2 G3+B3/4 s/4",
            R1=r"\ff G3+C4+Eb4+G4/4( Ab3+C4+Eb4+Ab4/4 Eb4+G4/8. D4+F4/16 Eb3+G3+C4+Eb4/4)",
            L1="C2+C3/4 F1+F2/4 G1+G2/4 C2+G2+C3/4",
        ),
        measure(
            R2="s/2 Db3+Eb3+G3/4 s/4",
            R1="Eb3+Ab3+C4+Eb4/4( F3+Ab3+Db4+F4/4 C4+Eb4/8. Bb3+Db4/16 C3+Eb3+Ab3+C4/4)",
            L1="Ab1+Ab2/4 Db1+Db2/4 Eb1+Eb2/4 Ab1+Ab2/4",
        ),
        measure(
            R2="s/2 Ab3+C4/4 s/4",
            R1=r"\< D3+F3+B3+D4/4( E3+G3+Bb3+C4+E4/4 G4/8. F4/16 G3+C4+Eb4/4",
            L1="G1+G2/4 C1+C2/4 F1+F2/4 C2+C3/4",
        ),
        measure(
            R2="s/2 C4+D4+F#4/4 s/4",
            R1=r"D3+F#3+C4+D4/4 G3+B3+D4+G4/4 \clef:G2 B4/8. A4/16 B3+D4+G4/4) \!",
            L1="D2+A2/4 G1+G2/4 D1+D2/4 G1+G2/4",
        ),
        *second_strain("p", ""),
        *second_strain("pp", r"\T:ritenuto "),
        measure(R1=r"\clef:G2 C4+Eb4+G4+C5/1:fermata:accent", L1="C3+G3/1:fermata"),
    ),
)
