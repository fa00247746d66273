"""Each line that says so is an error, and no other."""

import pyg_ckd
import pyg_ckd.experiments
from pyg_ckd import CKD, Recommendation, fit, fit_teachers, nn, rank, recommend
from pyg_ckd import Recomendation as Misspelt  # error
from pyg_ckd.balance import AGM, UMT
from pyg_ckd.datasets import Catalog, FakeMultimodal  # error
from pyg_ckd.experiments import Experiment, Settings, Sotre, Store  # error
from pyg_ckd.nn import FREEDOM, VBPR, Backbone, LightGCN
from pyg_ckd.objectives import Softmax
from pyg_ckd.train import KeepBest, KepBest, SaveLast  # error

data = FakeMultimodal(num_user=10)[0]  # error
data = FakeMultimodal()[0]
model = VBPR.from_data(data, dmi=16)  # error
model = VBPR.from_data(data, dim='16')  # error
model = VBPR.from_data(data, uses=['text'])  # error
LightGCN.from_data(data, num_layer=2)  # error
FREEDOM.from_data(data, dim=16, layers=2)  # error
nn.VBPR.from_data(data, dmi=16)  # error


def made(backbone: type[Backbone]) -> Backbone:
    return backbone.from_data(data, dmi=8)  # error


CKD(strenght=1)  # error
UMT(strenght=1)  # error
AGM(alhpa=1.0)  # error
Softmax(tua=0.2)  # error
model = VBPR.from_data(data)
task = Recommendation(model, data, balanec=CKD())  # error
task = Recommendation(model, data, balance='CKD')  # error
task = Recommendation(model, data, sampling='users')  # error
task = Recommendation(model, data)
fit(task, max_epoch=3)  # error
fit(task, max_epochs='3')  # error
fit(task, acelerator='cpu')  # error
fit(task, check_val_every_n_epoch=5)  # error
fit(model)  # error
fit_teachers(lambda: model, data, max_epoch=3)  # error
task.recommend(7, top=3)  # error
recommend(model, data, 7, top=3)  # error
rank(model, data, splits='test')  # error
pyg_ckd.evalute(model, data)  # error
pyg_ckd.train.fitt  # error
pyg_ckd.experiments.METHDOS  # error
KeepBest(monitr='val_recall@20')  # error
SaveLast(pathh='last.ckpt')  # error
kept = Settings({}), Store('results')
Experiment('shop', lambda transform: data, *kept, max_epoch=5)  # error
