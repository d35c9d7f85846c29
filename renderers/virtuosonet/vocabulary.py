"""The vocabulary that VirtuosoNet was trained with: words in the score's directions, and their vectors.

Order matters in every table (later entries overwrite earlier ones). The weights were trained with the
misspelt and joined entries. Jeong et al., "VirtuosoNet: A Hierarchical RNN-based System for Modeling
Expressive Piano Performance", ISMIR 2019, section 3."""

TEMPO_EMBEDDING: tuple[tuple[str, int, float], ...] = (
    ("scherzo", 4, 1.0), ("menuetto", 4, -1.0), ("minuetto", 4, -1.0), ("rit", 2, -0.5), ("acc", 2, 0.5),
    ("lent", 0, -0.9), ("lento", 0, -0.9), ("grave", 0, -0.9), ("largo", 0, -0.7), ("languido", 0, -0.6),
    ("molto languido", 0, -0.7), ("adagio", 0, -0.6), ("larghetto", 0, -0.6), ("adagietto", 0, -0.55),
    ("andante", 0, -0.5), ("andantino", 0, -0.3), ("mesto", 0, -0.3), ("andantino molto", 0, -0.4),
    ("maestoso", 0, -0.2), ("accarezzevole", 0, -0.4), ("moderato", 0, 0.0), ("tempo giusto", 0, 0.1),
    ("allegretto", 0, 0.3), ("allegro", 0, 0.5), ("allegro assai", 0, 0.6), ("vivace", 0, 0.6),
    ("vivacissimo", 0, 0.8), ("molto vivace", 0, 0.7), ("vivace assai", 0, 0.7), ("presto", 0, 0.8),
    ("precipitato", 0, 0.8), ("prestissimo", 0, 0.9), ("doppio movimento", 0, 0.6),
    ("molto allegro", 0, 0.6), ("allegro molto", 0, 0.6), ("allegro ma non troppo", 0, 0.4),
    ("più presto possibile", 0, 1.0), ("largo e mesto", 0, -0.8), ("non troppo presto", 0, 0.75),
    ("andante con moto", 0, -0.4), ("allegretto vivace", 0, 0.4), ("adagio molto", 0, -0.9),
    ("adagio ma non troppo", 0, -0.5), ("a tempo", 1, 0.0), ("im tempo", 1, 0.0), ("meno mosso", 1, -0.6),
    ("meno vivo", 1, -0.6), ("più lento", 1, -0.5), ("animato", 1, 0.5), ("più animato", 1, 0.6),
    ("molto animato", 1, 0.8), ("agitato", 1, 0.4), ("più mosso", 1, 0.6), ("stretto", 1, 0.5),
    ("appassionato", 1, 0.2), ("più moderato", 1, -0.1), ("più allegro", 1, 0.8),
    ("più allegro quasi presto", 1, 1.0), ("più largo", 1, -0.5), ("poco meno mosso", 1, -0.3),
    ("poco più mosso", 1, 0.3), ("poco più vivace", 1, 0.3), ("molto agitato", 1, 0.8),
    ("tranquillo", 1, -0.2), ("meno adagio", 1, 0.2), ("più adagio", 1, -0.2), ("riten", 3, -0.5),
    ("ritenuto", 3, -0.5), ("più riten", 3, -0.7), ("poco riten", 3, -0.3), ("poco ritenuto", 3, -0.3),
    ("très grave", 0, -1.0), ("très lent", 0, -1.0), ("large", 0, -0.7),
    ("Assez doux, mais d'une sonoritè large", 0, -0.6), ("assez vif", 0, 0.6), ("assez animé", 0, 0.7),
    ("d'un rythme souple", 0, 0.0), ("un peau retenu", 1, -0.3), ("retenez", 1, -0.5),
    ("en élargissant beaucoup", 2, -0.4), ("plus lent", 1, -0.5), ("un peu plus lent", 1, -0.3),
    ("encore plus lent", 1, -0.5), ("cédez", 1, -0.4), ("un peu retenu", 1, -0.2),
    ("Un pe moins vif", 1, -0.2), ("cédez légèrement", 1, -0.2), ("mesuré", 1, 0.0), ("au mouvt", 1, 0.0),
    ("reprenez le mouvement", 1, 0.0), ("Un peu plus vif", 1, 0.2), ("en accélérant", 1, 0.3),
    ("en animant", 1, 0.6), ("rapide", 1, 0.6), ("rapido molto", 1, 0.8), ("accélerez", 2, 0.5),
    ("sans ralentir", 2, 0.01), ("sehr langsam", 0, -0.55), ("sehr innig", 0, -0.5), ("innig", 0, -0.4),
    ("leicht und zart", 0, 0.2), ("sehr lebhaft", 0, 0.6), ("sehr aufgeregt", 0, 0.6),
    ("sehr rasch", 0, 0.8), ("Sehr innig und nicht zu rasch", 0, -0.8), ("lebhaftig", 0, 0.5),
    ("nicht zu geschwind", 0, -0.3), ("langsamer", 1, -0.5), ("etwas langsamer", 1, -0.3),
    ("bewegter", 1, 0.4), ("schneller", 1, 0.5), ("allargando", 2, -0.2), ("ritardando", 2, -0.5),
    ("rit", 2, -0.5), ("ritar", 2, -0.5), ("rallentando", 2, -0.5), ("rall", 2, -0.5),
    ("slentando", 2, -0.3), ("accel", 2, 0.5), ("accelerando", 2, 0.5), ("smorz", 2, -0.5),
    ("string", 2, 0.4), ("stringendo", 2, 0.4), ("molto stringendo", 2, 0.7), ("stringendo molto", 2, 0.7),
    ("poco rall", 2, -0.3), ("poco rit", 2, -0.3),
)  # fmt: skip
"""Word -> (index, value) in the vector of five: tempo, relative tempo, gradual change, hold back, dance."""

DYNAMIC_EMBEDDING: tuple[tuple[str, int, float], ...] = (
    ("pppp", 0, -1.1), ("ppp", 0, -0.9), ("pp", 0, -0.7), ("piano", 0, -0.4), ("p", 0, -0.4),
    ("mp", 0, -0.2), ("mf", 0, 0.2), ("f", 0, 0.4), ("forte", 0, 0.4), ("ff", 0, 0.7), ("fff", 0, 0.9),
    ("più p", 3, -0.5), ("più piano", 3, -0.5), ("più pp", 3, -0.7), ("più f", 3, 0.5),
    ("più forte", 3, 0.5), ("più forte possibile", 0, 1.0), ("cresc", 1, 0.7), ("crescendo", 1, 0.7),
    ("allargando", 1, 0.4), ("dim", 1, -0.7), ("diminuendo", 1, -0.7), ("decresc", 1, -0.7),
    ("decrescendo", 1, -0.7), ("smorz", 1, -0.4), ("poco a poco meno f", 1, -0.2), ("poco cresc", 1, 0.5),
    ("più cresc", 1, 0.85), ("molto cresc", 1, 1.0), ("cresc molto", 1, 1.0), ("fz", 2, 0.3),
    ("sf", 2, 0.5), ("sfz", 2, 0.7), ("ffz", 2, 0.8), ("sffz", 2, 0.9), ("rf", 3, 0.3), ("rinf", 3, 0.3),
    ("rinforzando", 3, 0.3), ("rinforzando molto", 3, 0.7), ("rinforzando assai", 3, 0.6),
    ("rinforz assai", 3, 0.6), ("molto rin", 3, 0.5), ("con brio", 3, 0.3), ("con forza", 3, 0.5),
    ("con fuoco", 3, 0.7), ("con più fuoco possibile", 3, 1.0), ("sotto voce", 3, -0.5),
    ("mezza voce", 3, -0.3), ("appassionato", 3, 0.5), ("più rinforz", 3, 0.5),
)  # fmt: skip
"""Word -> (index, value) in the vector of four: level, gradual change, accent, character."""

ABSOLUTE_TEMPO_KEYWORDS = (
    "adagio", "grave", "lento", "largo", "larghetto", "andante", "andantino", "moderato", "allegretto",
    "allegro", "vivace", "accarezzevole", "languido", "tempo giusto", "mesto", "presto", "prestissimo",
    "maestoso", "lullaby", "doppio movimento", "agitato", "precipitato", "leicht und zart", "aufgeregt",
    "bewegt", "rasch", "innig", "lebhaft", "geschwind", "d'un rythme souple", "lent", "large", "vif",
    "animé", "scherzo", "menuetto", "minuetto", "tempo i", "tempo primo", "erstes tempo", "1er mouvement",
    "1er mouvt", "au mouvtdu début", "au mouvement", "au mouvt", "1o tempo",
)  # fmt: skip

RELATIVE_TEMPO_KEYWORDS = (
    "animato", "pesante", "veloce", "agitato", "acc", "accel", "rit", "ritard", "ritardando", "accelerando",
    "rall", "rallentando", "ritenuto", "string", "a tempo", "im tempo", "stretto", "slentando",
    "meno mosso", "meno vivo", "più mosso", "allargando", "smorzando", "appassionato", "perdendo",
    "langsamer", "schneller", "bewegter", "retenu", "revenez", "cédez", "mesuré", "élargissant",
    "accélerez", "rapide", "reprenez  le  mouvement",
)  # fmt: skip

RELATIVE_LONG_TEMPO_KEYWORDS = (
    "meno mosso", "meno vivo", "più mosso", "animato", "langsamer", "schneller", "stretto", "bewegter",
    "tranquillo", "agitato", "appassionato",
)  # fmt: skip

TEMPO_PRIMO_WORDS = (
    "tempo i", "tempo primo", "erstes tempo", "1er mouvement", "1er mouvt", "au mouvtdu début",
    "au mouvement", "au mouvt", "1o tempo",
)  # fmt: skip

ABSOLUTE_DYNAMIC_KEYWORDS = (
    "pppp", "ppp", "pp", "p", "piano", "mp", "mf", "f", "forte", "ff", "fff", "fp", "ffp", "dynamic",
)  # fmt: skip

RELATIVE_DYNAMIC_KEYWORDS = (
    "crescendo", "diminuendo", "cresc", "dim", "diminsotto voce", "mezza voce", "sf", "fz", "sfz",
    "rf,sffz", "rf", "rinf", "con brio", "con forza", "con fuoco", "smorzando", "appassionato", "perdendo",
)  # fmt: skip

RELATIVE_WORDS_INSIDE_ABSOLUTE = (
    "più", "meno", "plus", "moins", "mehr", "bewegter", "langsamer",
)  # fmt: skip

COMPOSERS = (
    "Bach", "Balakirev", "Beethoven", "Brahms", "Chopin", "Debussy", "Glinka", "Haydn", "Liszt", "Mozart",
    "Prokofiev", "Rachmaninoff", "Ravel", "Schubert", "Schumann", "Scriabin",
)  # fmt: skip
"""Slots of the composer vector; one more slot stands for all other composers."""
