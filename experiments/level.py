import pickle,glob,sys
import numpy as np
from renderers.pianist_mean.features import features
from renderers import tempo,meter
rows=[]
for f in sorted(glob.glob("experiment/data/train__*.pkl")):
    with open(f,"rb") as h: d=pickle.load(h)
    with open(f.replace("/data/","/pieces/"),"rb") as h: p,s,_=pickle.load(h)
    F=d["F"]; g=d["grid"]
    tm=tempo.time_map(s); b=g.beats
    wp=np.log2((tm.to_seconds(b[-1])-tm.to_seconds(b[0]))/(b[-1]-b[0]))
    first=[x for x in s.directions if x.kind=="tempo"][:3]
    rows.append((p.folder,d["T"].period_mean,wp,[(x.text[:30],x.value,x.onset) for x in first]))
    print(p.folder[:40].ljust(40),"bpm",round(60/2**d["T"].period_mean),"written",round(60/2**wp),rows[-1][3],flush=True)
e=np.array([abs(r[1]-r[2]) for r in rows]); print(2**np.median(e),2**np.quantile(e,.9))
