import json,pickle,sys,numpy as np
R={}
for l in open("experiment/rules.jsonl"):
    r=json.loads(l); R[r["folder"]]=r
names=["velocity","relative_velocity","beat_period","local_beat_period","articulation","lead","pedal","pedal_within_beat"]
for n in sys.argv[1:]:
    P=pickle.load(open(f"experiment/models/{n}.pred","rb"))[0]
    f=[x for x in P if x in R]
    print(n,len(P),len(f)); print(" model",np.nanmean([P[x] for x in P],0).round(3)); 
    if f:
        print(" same ",np.nanmean([P[x] for x in f],0).round(3))
        print(" rules",np.nanmean([[R[x]["agreement"][k] for k in names] for x in f],0).round(3))
        print(" ceil ",np.nanmean([[R[x]["ceiling"].get(k,np.nan) for k in names] for x in f],0).round(3))
