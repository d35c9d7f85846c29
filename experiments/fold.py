import pickle,glob,sys,zlib,time,argparse,os
import numpy as np, torch
torch.set_num_threads(1)
from renderers.pianist_mean.model import *
from renderers.pianist_mean.training.loop import TrainingSettings, train
from renderers.pianist_mean.training.batches import material
from renderers.expression import correlation, moving_mean, _around
A=argparse.ArgumentParser(); A.add_argument("fold",type=int); A.add_argument("name"); A.add_argument("--set",nargs="*",default=[]); A.add_argument("--limit",type=int,default=1)
a=A.parse_args()
st=TrainingSettings(**{k:float(v) if "." in v or "e" in v else int(v) for k,v in (x.split("=") for x in a.set)})
D=[]
for f in sorted(glob.glob("experiment/data/train__*.pkl"))[::a.limit]:
    with open(f,"rb") as h: D.append(pickle.load(h))
fo=[zlib.crc32(f"{d['piece'].composer} {d['piece'].title}".encode())%st.folds for d in D]
tr=[d for d,k in zip(D,fo) if k!=a.fold]; te=[d for d,k in zip(D,fo) if k==a.fold]
S=Statistics.of([d["F"] for d in tr]); M=[material(d["F"],d["T"]) for d in tr]
print(len(tr),len(te),flush=True); w=time.time()
net=train(M,S,st,a.fold,lambda l: print(round(time.process_time()),round(time.time()-w),l,flush=True))
os.makedirs("experiment/models",exist_ok=True)
torch.save(dict(net=net,stats=S),f"experiment/models/{a.name}_{a.fold}.pt")
def judge(o,d):
    r,T=d["ref"],d["T"]
    return [correlation(o.velocity,r.velocity),correlation(o.velocity-_around(d["grid"],o.velocity),r.relative_velocity),
     correlation(o.period,r.beat_period),correlation(o.period-moving_mean(o.period,4),r.local_beat_period),
     correlation(o.articulation,r.articulation),correlation(o.lead,T.lead),correlation(o.pedal,r.pedal),
     correlation(o.pedal-o.pedal.mean(1,keepdims=True),r.pedal_within_beat)]
if __name__=="__main__":
    m=Model((net,),(S,),None,{}); rows={}; outs={}
    for d in te:
        o=m.outputs(d["F"]); outs[d["piece"].folder]=o
        if d["robust"]: rows[d["piece"].folder]=judge(o,d)
    R=np.array(list(rows.values())); print("vel within bp local art lead pedal inbeat"); print(np.nanmean(R,0).round(3),len(R))
    with open(f"experiment/models/{a.name}_{a.fold}.pred","wb") as h: pickle.dump((rows,outs),h)
