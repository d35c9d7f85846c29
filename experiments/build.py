"""cache: features + targets + references per piece -> one pickle list"""
import pickle,glob,sys,warnings,os
import numpy as np
from renderers.pianist_mean.features import features
from renderers.pianist_mean.training.targets import targets, leads
from renderers.expression import grid, measure, mean_expression, ceiling, MEASURES, relative_spread, _std, nan_average
out={}
pat=sys.argv[1]
for f in sorted(glob.glob("experiment/pieces/%s__*.pkl"%pat)):
    o="experiment/data/"+os.path.basename(f)
    if os.path.exists(o): continue
    with open(f,"rb") as h: p,s,perf=pickle.load(h)
    g=grid(s)
    rob=[x for r,_,x in perf if r]; use=rob or [x for r,_,x in perf]
    good=[]
    for x in use:
        try: measure(g,x); good.append(x)
        except ValueError as e: print(p.folder,e)
    if not good: print("none",p.folder); continue
    T=targets(g,good); F=features(s)
    hum=[measure(g,x) for x in good]
    L=np.stack([leads(g,x) for x in good])
    spreads={m:nan_average([_std(getattr(h,m)) for h in hum]) for m in MEASURES}
    spreads["lead"]=nan_average([_std(l) for l in L])
    med=dict(piece=p,robust=bool(rob),F=F,T=T,grid=g,ref=mean_expression(hum),ceiling=ceiling(hum),spreads=spreads,lengths=[float(np.ptp(x.onset)) for x in good])
    os.makedirs("experiment/data",exist_ok=True)
    with open(o,"wb") as h: pickle.dump(med,h)
    print(p.folder,len(good),flush=True)
