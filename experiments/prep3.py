import sys, pickle, hashlib, traceback
from pathlib import Path
from score_to_audio.formats.matches import pieces, read_match_cached
from score_to_audio.formats.scores.reader import read_score
corpus = Path.home()/".cache/score-to-audio-data/asap"
cache = Path.home()/".cache/score-to-audio/matches"
part=int(sys.argv[1])
for split in ("validation","train"):
    for k,p in reversed(list(enumerate(pieces(corpus, split)))):
        if k%2!=1 or k<124: continue
        out = Path("experiment/pieces")/(split+"__"+p.folder.replace("/","__")+".pkl")
        if out.exists(): continue
        try:
            s = read_score(p.score)
            parsed = s.parsed
        except Exception as e:
            print("score", p.folder, e, flush=True); continue
        perf=[]
        for robust, files in ([(True,p.robust[:8])] if p.robust else [(False,p.others[:4])]):
            for f in files:
                try: perf.append((robust, f.name, read_match_cached(f, cache)))
                except Exception as e: print("match", f, e, flush=True)
        out.write_bytes(pickle.dumps((p, parsed, perf)))
        print(split,k,p.folder,len(perf),len(parsed.notes),flush=True)
print("done")
