"""Schumann, Von fremden Ländern und Menschen, op. 15 no. 1."""

from tools.typeset_pieces.notation import Measure, Piece, measure


def triplets(*groups: str) -> str:
    """Groups that pass from the left hand to the right, which takes the last note of each."""
    tokens = []
    for group in groups:
        first, second, last = group.split()
        tokens += [f"{first}/8t", f"{second}/8t", f"{last}/8t@1"]
    return " ".join(tokens)


def opening(start: str) -> tuple[Measure, ...]:
    """Measures 1 to 7, and 15 to 21, which begin with another first note."""
    on_g = {"L1": triplets("B3 D4 G4", "Bb3 E4 G4"), "L2": "G3/8 r/8 C#3/8 r/8"}
    on_d = {"L1": triplets("A3 D4 F#4", "C4 D4 A4"), "L2": "D3/8 r/8 F#3/8 r/8"}
    return (
        measure(R1=start, **on_g),
        measure(R1="F#5/8. E5/16 D5/4)", **on_d),
        measure(R1="B4/4( G5/4", **on_g),
        measure(R1="F#5/8. E5/16 D5/4)", **on_d),
        measure(
            R1="B4/4( G5/4",
            L3="s/4 G3~/4",
            L1=triplets("B3 D4 G4", "G3 D4 G4"),
            L2="G3/8 r/8 B2/8 r/8",
        ),
        measure(
            R1="E5/8. D5/16 C5/4",
            L3="G3/4 s/4",
            L1=triplets("G3 E4 G4", "G3 C4 G4"),
            L2="C3/8 r/8 E3/8 r/8",
        ),
        measure(
            R1=r"A4/4 \> D5/4",
            L1=triplets("G3 C4 G4", "F#3 C4 F#4"),
            L2="D3/8 r/8 D3/8 r/8",
        ),
    )


FIRST, *REST = opening(r"\p B4/4( G5/4")

PIECE = Piece(
    file="schumann_kinderszenen_op15_no1",
    title="Von fremden Ländern und Menschen",
    number="Kinderszenen op. 15 no. 1",
    composer="Robert Schumann",
    source="the first edition (1839)",
    fifths=1,
    mode="major",
    time=(2, 4),
    tempo=108,
    metronome=True,
    beam=1,
    tuplet_numbers=False,
    measures=(
        measure(**{**FIRST.voices, "L2": r"\t:Pedal " + FIRST.voices["L2"]}, repeat_starts=True),
        *REST,
        measure(
            R1=r"B4/2) \!",
            L1=triplets("D3 B3 G4", "G3 B3 G4"),
            L2="G2/8 r/8 G3/8 r/8",
            repeat_ends=True,
        ),
        measure(
            R1=r"\p G4+B4/4( A4+C5/4",
            L1=triplets("E3 B3 E4", "A2 A3 E4"),
            L2="E3/4( A2/4",
            repeat_starts=True,
        ),
        measure(R1="F#4+A4/4 G4+B4/4)", L1=triplets("D3 A3 D4", "B2 G3 D4"), L2="D3/8. C3/16 B2/4)"),
        measure(R1="E4+G4/4( E4+A4/4", L1=triplets("C3 G3 C4", "F#2 F#3 C4"), L2="C3/4( F#2/4"),
        measure(R1="D#4+F#4/4 D4+G4/4)", L1=triplets("B2 F#3 B3", "G2 G3 B3"), L2="B2/8. A2/16 G2/4)"),
        measure(R1=r"\T:ritard. E4/4( \< F#4/4", L1=triplets("C3 G3 C4", "D3 A3 D4"), L2="C3/4( C3/4"),
        measure(
            R1=r"G4/8. A4/16 B4/8.:fermata C5/16) \!",
            L1=triplets("D3 G3 D4", "G2 A3 D4"),
            L2="B2/8. A2/16 G2/4)",
            L3="D3/2",
        ),
        *opening(r"\tempo:a_tempo=108 D5/4( G5/4"),
        measure(
            R1=r"B4/2) \!",
            L3="s/8t B3~/4t B3/8t s/4t",
            L1=triplets("D3 B3 G4") + " s/8t B3/8t G4/8t@1",
            L2="G2+D3/2",
            repeat_ends=True,
        ),
    ),
)
