"""Counterfactual knowledge distillation in a training loop of your own.

Trains VBPR on a made-up shop, plainly and with CKD, and prints Recall@20 of
the whole model and of each modality alone.
"""

import torch
import torch.nn.functional as F

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.distill import (
    Teacher,
    effects,
    generic_loss,
    modality_weights,
    specific_loss,
)
from pyg_ckd.evaluation import evaluate_views
from pyg_ckd.nn import VBPR
from pyg_ckd.triplet_loader import TripletLoader
from pyg_ckd.views import full, only, views

torch.manual_seed(0)
data = FakeMultimodal()[0]
loader = TripletLoader(data, batch_size=1024)
names = ['image', 'text']


def train(keeps, teachers=()):
    """Train the first view by BPR; the teachers teach the other views."""
    model = VBPR.from_data(data, dim=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(20):
        for batch in loader:
            embeddings = views(model, data, keeps)
            margin = embeddings.triples(*batch).margin()  # [batch, view]
            loss = -F.logsigmoid(margin[:, 0]).mean()
            if teachers:
                distillation = distill(embeddings, margin, batch, teachers)
                loss = loss + 0.01 * distillation
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def distill(embeddings, margin, batch, teachers):
    """Return CKD's loss for the views full, only(image) and only(text)."""
    alone = margin[:, 1:]  # [batch, modality]
    taught = torch.stack([t.margin(*batch) for t in teachers], dim=-1)
    specific = specific_loss(alone, taught)  # [batch, modality]

    # With two modalities, without(image) is only(text):
    progress = effects(margin[:, 0], without=alone.flip(-1), reference=alone)
    weight = modality_weights(progress)  # [batch, modality]

    # All users, with two random items each:
    user = torch.randperm(data['user'].num_nodes)
    triples = user, *torch.randint(data['item'].num_nodes, (2, len(user)))
    alone = embeddings.triples(*triples).margin()[:, 1:]
    taught = torch.stack([t.margin(*triples) for t in teachers], dim=-1)
    generic = generic_loss(alone, taught)  # [modality]
    return (weight * (specific + 5 * generic)).mean(0).sum()


base = train([full(names)])
teachers = [Teacher.from_model(train([only(m)]), data, m) for m in names]
student = train([full(names), only('image'), only('text')], teachers)

before, after = evaluate_views(base, data), evaluate_views(student, data)
print('Recall@20       base    CKD')
for view in before:
    one, other = before[view]['recall@20'], after[view]['recall@20']
    print(f'{view:13} {one:.4f} {other:.4f}')
