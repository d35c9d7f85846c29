"""Chopin, Prelude in E minor, op. 28 no. 4."""

from tools.typeset_pieces.notation import Piece, measure

PIECE = Piece(
    file="chopin_prelude_op28_no4",
    title="Prelude in E minor",
    number="op. 28 no. 4",
    composer="Frédéric Chopin",
    source="the first editions (1839)",
    fifths=1,
    mode="minor",
    time=(2, 2),
    time_symbol="cut",
    tempo=56,
    words="Largo",
    pickup=True,
    beam=2,
    measures=(
        measure(R1=r"\p \t:espressivo B3/8.( B4/16", L1="r/4"),
        measure(R1="B4/2. C5/4", L1="G3+B3+E4/8( G3+B3+E4/8*7"),
        measure(R1="B4/2. C5/4", L1="F#3+A3+E4/8*4 F#3+A3+Eb4/8*4"),
        measure(R1="B4/2. C5/4", L1="F3+A3+Eb4/8*4 F3+A3+D4/8*2 F3+G#3+D4/8*2"),
        measure(R1="B4/2. Bb4/4", L1="E3+G#3+D4/8*4 E3+G3+D4/8*2 E3+G3+C#4/8*2"),
        measure(R1="A4/2. B4!/4", L1="E3+G3+C4!/8 E3+G3+C4/8*3 E3+F#3+C4/8*4"),
        measure(R1="A4/2. B4/4", L1="E3+F#3+C4/8*4 D#3+F#3+C4/8*4"),
        measure(R1="A4/2. B4/8. A4/16", L1="D3!+F#3+C4/8 D3+F#3+C4/8*7"),
        measure(R1="A4/2.) G#4~/4:accent", L1="D3+F3+C4/8*4 D3+F3+B3/8*4"),
        measure(
            R1=r"G#4/4 \< A4/8( B4/8 \! \> D5/8 C5/8 E4/8 A4/8 \!",
            L1="C3+E3+B3/8*2 C3+E3+A3/8*6",
        ),
        measure(R1="F#4/2.) A4/4(", L1="B2+E3+A3/8*2 B2+D#3+A3/8*2 C3+E3+A3/8*4"),
        measure(R1="F#4/2.) a:B4/8 A4/4(", L1="B2+D#3+A3/8*4 C3+E3+A3/8*4"),
        measure(
            R1=r"G4/8)( F#4/8 \< C4/8:accent B3/8 D#4/8 F#4/8 \! D5!/8t C5/8t B4/8t)",
            L1="B2+D#3+A3/4) r/4 r/2",
        ),
        measure(R1="B4/2.( C5/4", L1="G3+B3+E4/8( G3+B3+E4/8*7"),
        measure(R1="B4/2. C5/4", L1="F#3+A3+E4/8*4 F3+A3+Eb4/8*4"),
        measure(R1="B4/2. C5/4", L1="F3+Ab3+Eb4/8*2 F3+Ab3+D4/8*2 E3+G#3+D4/8*4"),
        measure(
            R1=r"\< B4/8. A#4/16 \T:stretto \dashes A#4/4:turn:below-double-sharp \! \> G5/4 F#5/8. E5/16 \!",
            L1="E3+G3!+D4/8 E3+G3+D4/8 E3+G3+C#4/8*2 C#3+E3+A#3/8*2 C3+E3+A3/8 C3+E3+A3/8)",
        ),
        measure(
            R1=r"\f E5/8 D#5/8 C6/8 D#5/8 \> D#5/8 E5/8 G5/8 B4/8",
            L1=r"\ped B1+B2/8( A3+C4+F#4+A4/8*2 \* A3+C4+F#4+A4/8 G3+B3+D#4+F#4/8 G3+B3+E4/8*3",
        ),
        measure(
            R1=r"\! D5!/8 C5/8 E5/8t E4/8t A4/8t \enddashes \t:dim. F#4/4. A4/8",
            L1=r"A3+C4+E4/8*2 \ped A2/8 E3+F#3+C4/8 \* B2+E3+B3/8*2 C3+E3+A3/8*2",
        ),
        measure(R1=r"\p F#4/2.) a:B4/8 A4/4(", L1="B2+E3+B3/8*4 C3+E3+A3/8*4"),
        measure(R1=r"F#4~/2. \< F#4/8.) E4/16(", L1="B2+E3+B3/8*4 B2+D#3+B3/8*2 B2+D#3+A3/8*2"),
        measure(R1=r"\! E4/2. \t:smorz. F#4/4", L1="C3+G3/8*4 C3+Bb3/8*2 C3+E3+A3/8*2"),
        measure(R1="E4/2. F#4/4", L1="B2+E3+A3/8*2 B2+E3+G#3/8*2 B2+E3+G3/8*4"),
        measure(R1="E4/2) r/2:fermata", L1="Bb2+C3+G3/2) r/2:fermata"),
        measure(R1=r"\clef:F4 \pp E3+F#3+B3+E4/2( D#3+F#3+B3+D#4/2", L1="B1+B2!/2( B1+F#2+B2/2"),
        measure(R1="E3+G3+B3+E4/1):fermata", L1="E1+E2/1):fermata"),
    ),
)
