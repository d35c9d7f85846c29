import pickle,glob,sys,time,os,zlib,copy,argparse
import numpy as np, torch
torch.set_num_threads(1)
from renderers.pianist_mean.network import *
from renderers.pianist_mean.training.batches import *
from renderers.pianist_mean.training.batches import _joined
from renderers.pianist_mean.training.loss import loss
from renderers.expression import correlation, moving_mean, MEASURES, LOCAL_BEATS, _around
A=argparse.ArgumentParser()
A.add_argument("--fold",type=int,default=0);A.add_argument("--folds",type=int,default=5)
A.add_argument("--epochs",type=int,default=12);A.add_argument("--width",type=int,default=96)
A.add_argument("--dropout",type=float,default=.2);A.add_argument("--lr",type=float,default=2e-3)
A.add_argument("--wd",type=float,default=.05);A.add_argument("--size",type=int,default=12);A.add_argument("--slices",type=int,default=160)
A.add_argument("--most",type=int,default=6);A.add_argument("--name",default="a");A.add_argument("--seed",type=int,default=0)
A.add_argument("--bf16",type=int,default=0);A.add_argument("--limit",type=int,default=0)
a=A.parse_args()
SCALE=np.array([12.,.9,.015,.25,.35])
def fold_of(p): return zlib.crc32((p.composer+p.title).encode())%a.folds
D=[]
for f in sorted(glob.glob("experiment/data/train__*.pkl")):
    with open(f,"rb") as h: D.append(pickle.load(h))
if a.limit: D=D[::max(1,len(D)//a.limit)]
tr=[d for d in D if fold_of(d["piece"])!=a.fold]; te=[d for d in D if fold_of(d["piece"])==a.fold]
print(len(D),len(tr),len(te),flush=True)
M=[material(d["F"],d["T"],SCALE) for d in tr]
stats=normalisation([d["F"] for d in tr])
sizes=Sizes(M[0].features.notes.shape[1],M[0].features.beats.shape[1],width=a.width)
torch.manual_seed(a.seed*100+a.fold)
net=Network(sizes,a.dropout); print(sum(p.numel() for p in net.parameters()),flush=True)
ema=copy.deepcopy(net)
opt=torch.optim.AdamW(net.parameters(),lr=a.lr,weight_decay=a.wd)
per=sum(min(-(-len(m.features.beat_of_slice)//a.slices),a.most) for m in M)
steps=a.epochs*-(-per//a.size); k=0
def predict(n,d):
    f=d["F"]; x=standardised(f.notes,f.beats,stats)
    from dataclasses import replace
    m=Material(replace(f,notes=x[0],beats=x[1]),np.zeros((len(f.notes),3)),np.zeros((len(f.beats),9)),np.ones(3),np.ones(4),1.)
    n.eval()
    with torch.inference_mode(): o,b=n(_joined([m]).batch)
    o=o.numpy()*SCALE[:3]; b=b[0].numpy(); b[:,:1]*=SCALE[3]; b[:,1:]=b[:,1:]*SCALE[4]+.5
    return o,b
def judge(n):
    rows=[]; preds={}
    for d in te:
        o,b=predict(n,d); preds[d["piece"].folder]=(o,b)
        if not d["robust"]: continue
        r,T=d["ref"],d["T"]
        rows.append([correlation(o[:,0],r.velocity),correlation(o[:,0]-_around(d["grid"],o[:,0].astype(float)),r.relative_velocity),
          correlation(b[:,0],r.beat_period),correlation(b[:,0]-moving_mean(b[:,0].astype(float),4),r.local_beat_period),
          correlation(o[:,1],r.articulation),correlation(o[:,2],T.lead),correlation(b[:,1:],r.pedal),
          correlation(b[:,1:]-b[:,1:].mean(1,keepdims=True),r.pedal_within_beat)])
    return np.nanmean(np.array(rows),0),preds
g=np.random.default_rng(a.seed*1000+a.fold)
t0=time.process_time(); w0=time.time()
for e in range(a.epochs):
    net.train(); tot=0;n=0
    for ex in epoch(M,stats,slices=a.slices,most=a.most,size=a.size,generator=g):
        done=k/steps; lr=a.lr*min(1,(k+1)/max(1,.05*steps))*(1+np.cos(np.pi*done))/2
        for q in opt.param_groups: q["lr"]=lr
        with torch.autocast("cpu",dtype=torch.bfloat16,enabled=bool(a.bf16)):
            o,b=net(ex.batch)
        l,parts=loss(o.float(),b.float(),ex)
        opt.zero_grad(set_to_none=True); l.backward(); torch.nn.utils.clip_grad_norm_(net.parameters(),1.0); opt.step()
        decay=min(.99,(1+k)/(10+k))
        with torch.no_grad():
            for p,q in zip(ema.parameters(),net.parameters()): p.lerp_(q,1-decay)
        tot=tot+parts; n+=1; k+=1
        if k==20: print("20 steps of",steps,round(time.process_time()-t0,1),"cpu s",round(time.time()-w0,1),flush=True)
    r,preds=judge(ema) if (e%3==2 or e==a.epochs-1) else ("",None)
    print(e+1,round(time.process_time()-t0),round(time.time()-w0),(tot/n).numpy().round(3),np.round(r,3) if len(r) else "",flush=True)
os.makedirs("experiment/models",exist_ok=True)
torch.save(dict(state=ema.state_dict(),stats=stats,sizes=vars(sizes)),f"experiment/models/{a.name}_{a.fold}.pt")
with open(f"experiment/models/{a.name}_{a.fold}.pred","wb") as h: pickle.dump(preds,h)
