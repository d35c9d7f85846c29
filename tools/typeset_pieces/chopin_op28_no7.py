"""Chopin, Prelude in A major, op. 28 no. 7."""

from tools.typeset_pieces.notation import Piece, measure

PIECE = Piece(
    file="chopin_prelude_op28_no7",
    title="Prelude in A major",
    number="op. 28 no. 7",
    composer="Frédéric Chopin",
    source="the first editions (1839)",
    fifths=3,
    mode="major",
    time=(3, 4),
    tempo=84,
    words="Andantino",
    pickup=True,
    beam=1,
    measures=(
        measure(R1=r"\p \t:dolce E4/4(", L1="r/4"),
        measure(R1="C#5/8. D5/16 D4+G#4+B4/4*2", L1=r"\ped E2/4 E3+E4/4*2"),
        measure(R1="D4+G#4+B4/2) D5+F#5/4(", L1=r"E3+E4/2 \* r/4"),
        measure(R1="B#4+D#5/8. C#5+E5/16 C#5+A5/4*2", L1=r"\ped A2/4 A3+E4/4*2"),
        measure(R1="C#5+A5/2) E4+C#5/4(", L1=r"A3+E4/2 \* r/4"),
        measure(R1="C#4+A#4/8. D4~+B4/16 F#4+D5/4*2", R2="s/4 D4~/2", L1=r"\ped E2/4 E3+B3/4*2"),
        measure(R1="F#4+D5/2) D4+G#4/4(", R2="D4/2 s/4", L1=r"E3+B3/2 \* r/4"),
        measure(R1="D4+G#4/8. C#4+A4/16 C#4+C#5/4*2", L1=r"\ped A1/4 E3+A3+E4/4*2"),
        measure(R1="C#4+C#5/2) E4~/4(", L1=r"E3+A3+E4/2 \* r/4"),
        measure(R1="C#5/8. D5/16 D4+G#4+B4/4*2", R2="E4+G#4/4 s/2", L1=r"\ped E2/4 E3+E4/4*2"),
        measure(R1="D4+G#4+B4/2) D5+F#5/4(", L1=r"E3+E4/2 \* r/4"),
        measure(
            R1="s/4 A5+C#6/4*2",
            R2=r"\< B#4+D#5/8. C#5~+E5~/16 C#5+E5/2 \!",
            L1=r"\ped A2/4 A3+E4+A4/4 \* A3+E4+A4/4",
        ),
        measure(R1="A#4+C#5+E5+A#5+C#6/2) A#4+C#5/4(", L1=r"\ped F#3+C#4+E4+F#4/2 \* r/4"),
        measure(R1="A#4+C#5/8. B4+D5/16 B4+F#5/4 A4+F#5/4", L1=r"\ped B1/4 F#3+D4/4 \* F#3+B3+D4/4"),
        measure(R1="G#4+F#5/2) D4+G#4/4(", L1=r"\ped E3+B3+D4/2 \* r/4"),
        measure(R1="D4+B4/8. C#4+A4/16 C#5+A5/4*2", R2="s/4 a:A4~/8 A4~/2", L1=r"\ped A1/4 E3+A3+E4/4*2"),
        measure(R1="C#5+A5/2) r/4", R2="A4/2 s/4", L1=r"A3+E4/2 \* r/4"),
    ),
)
