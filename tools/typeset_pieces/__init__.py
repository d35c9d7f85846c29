"""The pieces of ``examples/scores`` as compact note lists; ``notation`` says how to read them."""

from tools.typeset_pieces import (
    bach_bwv846_prelude,
    chopin_op28_no4,
    chopin_op28_no7,
    chopin_op28_no20,
    petzold_minuet_g,
    schumann_op15_no1,
)

PIECES = (
    bach_bwv846_prelude.PIECE,
    chopin_op28_no4.PIECE,
    chopin_op28_no7.PIECE,
    chopin_op28_no20.PIECE,
    petzold_minuet_g.PIECE,
    schumann_op15_no1.PIECE,
)
