"""What the README shows: no type checker may object."""

import torch

from pyg_ckd import (
    CKD,
    Recommendation,
    Teacher,
    diagnose,
    evaluate,
    evaluate_views,
    explain,
    fit,
    fit_teachers,
    from_interactions,
    knock_out,
    nn,
    only,
)
from pyg_ckd.balance import (
    AGM,
    OGMGE,
    UMT,
    Balance,
    CounterfactualWeights,
    ModalityDropout,
    SoftCrossEntropy,
)
from pyg_ckd.datasets import FakeMultimodal, MMRecFolder
from pyg_ckd.experiments import (
    BACKBONES,
    METHODS,
    Experiment,
    Settings,
    Store,
    summarize,
)
from pyg_ckd.nn import FREEDOM, VBPR, Backbone, Cosine, Popularity
from pyg_ckd.objectives import Softmax
from pyg_ckd.train import SaveLast

data = FakeMultimodal(num_users=100, pre_transform=FREEDOM.pre_transform)[0]
baby = MMRecFolder(root='datasets', name='baby')[0]
print(data['item'].x_text.shape, baby['user'].num_nodes)
found: dict[str, dict[str, dict[str, float]]] = {}
for name, balance in {'VBPR': None, 'VBPR + CKD': CKD()}.items():
    torch.manual_seed(0)
    model = VBPR.from_data(data, dim=16)
    task = Recommendation(model, data, balance=balance, lr=0.01)
    task = fit(task, max_epochs=40, patience=2)
    found[name] = evaluate_views(task.model, data, split='test', ks=(20,))
model = VBPR.from_data(data, dim=16)
task = fit(Recommendation(model, data, balance=CKD()))
item, score = task.recommend([7, 8], k=10, view=only('text'))
print(item.shape, score.shape, task.history[-1]['epoch'])
print(evaluate(model, data, ks=(10, 20), metrics=['recall', 'coverage']))

balances: list[Balance] = [CKD(), UMT(), OGMGE(), AGM(), ModalityDropout(0.3)]
for each in balances:
    other = Recommendation(Cosine(model), data, Softmax(tau=0.2), each)
    fit(
        other,
        max_epochs=1,
        progress=False,
        accelerator='cpu',
        max_time={'minutes': 5},
        precision='bf16-mixed',
        callbacks=[SaveLast('last.ckpt')],
    )

teachers = fit_teachers(lambda: VBPR.from_data(data), data, max_epochs=5)
CKD(teachers, weights=None)
CKD(on_batch=None, on_random=SoftCrossEntropy(tau=0.2, weight=10.0))
CKD(weights=CounterfactualWeights(reference='teacher', effect='average'))
itself = Teacher.from_model(model, data)
again = CKD({only('image'): itself, only('text'): itself})
print(diagnose(model, data, teachers, history=task.history))
print(explain(model, data, user=7, item=int(item[0, 0])))
print(knock_out(model, data))

freedom: FREEDOM = nn.FREEDOM.from_data(data, ['text'], dim=8)
Popularity.from_data(data)


def made(backbone: type[Backbone]) -> Backbone:
    return backbone.from_data(data, use=['text'], dim=8)


from_interactions(
    users=['ann', 'ann', 'ann'],
    items=['mug', 'hat', 'pen'],
    features={'text': {'mug': [1.0], 'hat': [0.0], 'pen': [0.5]}},
    split=['train', 'val', 'test'],
)


class Mine(torch.nn.Module):
    """A recommender that is not of the library."""


experiment = Experiment(
    'shop',
    lambda pre_transform: FakeMultimodal(pre_transform=pre_transform)[0],
    Settings({'shop': {'Mine': {'train': {'lr': 0.01}}}}),
    Store('results/shop'),
    backbones={**BACKBONES, 'Mine': Mine},
    max_epochs=5,
)
runs = experiment.plan(['Mine'], [METHODS['base'], METHODS['ckd']], seeds=[0])
for row in summarize(experiment.run(runs)):
    print(row['backbone'], row['method'], row['recall@20'])
