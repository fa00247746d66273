"""The suite finds what is wrong with a backbone."""

import copy

import pytest
import torch
import torch.nn.functional as F

from pyg_ckd.graph import modalities
from pyg_ckd.nn import VBPR, LightGCN, Recommender
from pyg_ckd.testing import RecommenderSuite, same_noise
from pyg_ckd.views import Views, default_views, full


class LeakyViews(VBPR):
    """All of its views are the full one."""

    def views(self, data, keeps):
        return super().views(data, [full(modalities(data))] * len(keeps))


class OtherScale(VBPR):
    """Its views rank alike, with margins of another size."""

    def views(self, data, keeps):
        several = super().views(data, keeps)
        several.user = [several.user[0] * 1.1, *several.user[1:]]
        return several


class NoGradient(VBPR):
    """Nothing flows back to the items' table."""

    def views(self, data, keeps):
        several = super().views(data, keeps)
        several.item = [several.item[0].detach(), *several.item[1:]]
        return several


class MeanForGood(VBPR):
    """A view replaces parameters, as ablation by hand would."""

    def views(self, data, keeps):
        for m in self.in_channels:
            if any(m not in keep for keep in keeps):
                table = self.preference[m].data
                table.copy_(table.mean(dim=0).expand_as(table))
        return super().views(data, keeps)


class CountsItems(VBPR):
    """Later items score higher."""

    def forward(self, data):
        user, item = super().forward(data)
        return user, item + 0.1 * torch.arange(len(item)).unsqueeze(1)

    views = Recommender.views


class LossOfAll(VBPR):
    """What it adds to the loss does not know of the view."""

    def regularization(self, data, keep, views, user, pos, neg):
        x = torch.cat([data['item'][f'x_{m}'] for m in self.in_channels], 1)
        return x[pos].square().mean()


class LossOfLast(VBPR):
    """What it adds to the loss belongs to the last view."""

    def regularization(self, data, keep, views, user, pos, neg):
        return views.triples(user, pos, neg).margin()[:, -1].mean()


class NoReset(VBPR):
    def reset_parameters(self):
        if not hasattr(self, 'started'):
            self.started = True
            super().reset_parameters()


class HalfReset(VBPR):
    def reset_parameters(self):
        torch.nn.init.xavier_uniform_(self.user.weight)
        torch.nn.init.xavier_uniform_(self.item.weight)
        for table in self.preference.values():
            torch.nn.init.xavier_uniform_(table)


class HiddenState(VBPR):
    """What it computes is not in its state."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.hidden = torch.randn(self.num_items, 1)

    def forward(self, data):
        user, item = super().forward(data)
        return user, item * self.hidden

    views = Recommender.views


class NoCopies(VBPR):
    """It remembers a tensor with a gradient."""

    def views(self, data, keeps):
        self.last = self.user.weight * 2
        return super().views(data, keeps)


class SinglePrecision(VBPR):
    def branch(self, data, modality):
        return tuple(x.float() for x in super().branch(data, modality))

    views = Recommender.views


class NoHalf(LightGCN):
    """It multiplies sparse matrices as they are."""

    def _propagate(self, data, x):
        return self.user_item_graph(data).adj_t @ x.bfloat16().to(
            torch.get_autocast_dtype('cpu')
            if torch.is_autocast_enabled('cpu')
            else torch.float
        )


class RoughHalf(VBPR):
    """It loses what half precision cannot hold."""

    def branch(self, data, modality):
        parts = super().branch(data, modality)
        if torch.is_autocast_enabled('cpu'):
            parts = [(1000 + x).bfloat16() - 1000 for x in parts]
        return tuple(parts)

    views = Recommender.views


class AnyGraph(LightGCN):
    """It takes the first graph that it finds."""

    def user_item_graph(self, data):
        return next(iter(data.graphs.values()))


class NoName(LightGCN):
    """Its error does not tell who needs the graph."""

    def user_item_graph(self, data):
        return self.adjacency.of(data)


class NoTable(VBPR):
    """It says that a table of IDs serves each modality."""

    def tables(self, modality):
        return [self.user.weight]


class Unsized(VBPR):
    def check_positive(self, **arguments):
        pass


class ShortRepr(VBPR):
    def extra_repr(self):
        return f'{self.num_users}, {self.num_items}, {self.in_channels}'


def fails(backbone, test, *args):
    """Whether a test of the suite fails for a backbone."""
    case = RecommenderSuite()
    case.model = backbone
    with same_noise():
        try:
            getattr(case, f'test_{test}')(*args)
        except (Exception, pytest.fail.Exception):
            return True
    return False


@pytest.mark.parametrize(
    ('backbone', 'test', 'args'),
    [
        (LeakyViews, 'views_equal_default_views', (2, False)),
        (LeakyViews, 'ablation_hides_the_modality', (2,)),
        (OtherScale, 'views_equal_default_views', (2, False)),
        (OtherScale, 'full_view_equals_forward', (False,)),
        (NoGradient, 'views_equal_default_views', (3, True)),
        (MeanForGood, 'input_is_untouched', ()),
        (CountsItems, 'renumbering', ()),
        (LossOfAll, 'ablation_hides_the_modality', (3,)),
        (LossOfLast, 'loss_of_each_view', (2,)),
        (NoReset, 'reset_parameters', ()),
        (HalfReset, 'reset_parameters', ()),
        (HiddenState, 'state_dict', ()),
        (NoCopies, 'copies_of_what_was_used', (copy.deepcopy,)),
        (SinglePrecision, 'double_precision', ()),
        (NoHalf, 'half_precision', ()),
        (RoughHalf, 'half_precision', ()),
        (AnyGraph, 'missing_or_other_graphs', ()),
        (NoName, 'missing_or_other_graphs', ()),
        (NoTable, 'parameters_of_a_modality', ()),
        (Unsized, 'size_error', ('dim', 0)),
        (ShortRepr, 'repr', ()),
    ],
)
def test_what_is_wrong_is_found(backbone, test, args):
    assert fails(backbone, test, *args)
    good = next(base for base in backbone.__bases__)
    assert not fails(good, test, *args)


class Blind(VBPR):
    """It has features and does not look at them."""

    def forward(self, data):
        return self.user.weight, self.item.weight

    def views(self, data, keeps):
        return Views(
            [self.user.weight], [self.item.weight], torch.ones(len(keeps), 1)
        )


def test_blind_ones_say_so():
    """Who does not see what is given does not pass in silence."""
    assert fails(Blind, 'ablation_hides_the_modality', 2)
    case = RecommenderSuite()
    case.model, case.blind = Blind, True
    case.test_ablation_hides_the_modality(2)


class Declared(VBPR):
    """Views by ablation from outside, with an MLP in between."""

    def branch(self, data, modality):
        user, item = super().branch(data, modality)
        return user, item if modality is None else F.relu(item)

    def views(self, data, keeps):
        return default_views(self, data, keeps)


class TestDeclared(RecommenderSuite):
    """Who declares no views of its own passes, too."""

    model = Declared
