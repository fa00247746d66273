"""Counterfactual knowledge distillation in a training loop of your own.

Trains VBPR on a made-up shop, plainly and with CKD, and prints Recall@20 of
the whole model and of each modality alone.
"""

import torch
import torch.nn.functional as F

from pyg_ckd import Teacher, TripletLoader, evaluate_views, full, only
from pyg_ckd.balance import Hinge, SoftCrossEntropy, effects, modality_weights
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.nn import VBPR

torch.manual_seed(0)
data = FakeMultimodal()[0]
loader = TripletLoader(data, batch_size=1024)
names = ['image', 'text']
hinge, soft_cross_entropy = Hinge(), SoftCrossEntropy(tau=0.1)


def train(keeps, teachers=()):
    """Train the first view by BPR; the teachers teach the other views."""
    model = VBPR.from_data(data, dim=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(20):
        for batch in loader:
            views = model.views(data, keeps)
            margin = views.triples(*batch).margin()  # [batch, view]
            loss = -F.logsigmoid(margin[:, 0]).mean()
            if teachers:
                loss += 0.01 * distill(views, margin, batch, teachers)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def distill(views, margin, batch, teachers):
    """Return CKD's loss for the views full, only(image) and only(text)."""
    alone = margin[:, 1:]  # [batch, modality]
    taught = torch.stack([t.margin(*batch) for t in teachers], dim=-1)
    specific = hinge(alone, taught)  # [batch, modality]

    # With two modalities, without(image) is only(text):
    progress = effects(margin[:, 0], without=alone.flip(-1), reference=alone)
    weight = modality_weights(progress)  # [batch, modality]

    # All users, with two random items each:
    user = torch.randperm(data['user'].num_nodes)
    triples = user, *torch.randint(data['item'].num_nodes, (2, len(user)))
    alone = views.triples(*triples).margin()[:, 1:]
    taught = torch.stack([t.margin(*triples) for t in teachers], dim=-1)
    generic = soft_cross_entropy(alone, taught)  # [modality]
    return (weight * (specific + 5 * generic)).mean(0).sum()


base = train([full(names)])
teachers = [Teacher.from_model(train([only(m)]), data, only(m)) for m in names]
student = train([full(names), only('image'), only('text')], teachers)

before, after = evaluate_views(base, data), evaluate_views(student, data)
print('Recall@20       base    CKD')
for view in before:
    one, other = before[view]['recall@20'], after[view]['recall@20']
    print(f'{view:13} {one:.4f} {other:.4f}')
