import pickle,glob,zlib
import numpy as np
from renderers.pianist_mean import level
from renderers.pianist_mean.level import *
S=[];F=[];M=[];P=[];W=[]
for f in sorted(glob.glob("experiment/data/train__*.pkl")):
    with open(f,"rb") as h: d=pickle.load(h)
    with open(f.replace("/data/","/pieces/"),"rb") as h: p,s,_=pickle.load(h)
    S.append(s);F.append(d["F"]);M.append(Means(d["T"].velocity_mean,d["T"].period_mean));P.append(p);W.append(d["T"].performances/(1+d["T"].performances))
W=np.array(W); fold=np.array([zlib.crc32((p.composer+p.title).encode())%5 for p in P])
for R in (.3,1,2,5):
    level.RIDGE=R; e={k:[] for k in (MARKED,WORDS,SILENT)}; base={k:[] for k in e}; ev=[]
    for k in range(5):
        tr=np.flatnonzero(fold!=k)
        L=fit([S[i] for i in tr],[F[i] for i in tr],[M[i] for i in tr],W[tr])
        for i in np.flatnonzero(fold==k):
            for kind in e:
                s=level._without(S[i],kind)
                if kind_of(s)!=kind: continue
                m=L.of(s,F[i]); e[kind].append(abs(m.period-M[i].period)); base[kind].append(abs(written_period(s)-M[i].period))
            m=L.of(S[i],F[i]); ev.append((abs(m.velocity-M[i].velocity)))
            if R==1: print(P[i].folder,kind_of(S[i]),round(60/2**m.period),round(60/2**M[i].period)) if abs(m.period-M[i].period)>.5 else 0
    vm=np.array([m.velocity for m in M]); print(R,{k:(len(v),(2**np.quantile(v,[.5,.9])).round(2),(2**np.quantile(base[k],[.5,.9])).round(2)) for k,v in e.items()},"vel",np.mean(ev),np.abs(vm-vm.mean()).mean())
