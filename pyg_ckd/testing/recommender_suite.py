"""The tests that every backbone inherits."""

from __future__ import annotations

from pyg_ckd.testing.invariance_suite import InvarianceSuite
from pyg_ckd.testing.life_cycle_suite import LifeCycleSuite
from pyg_ckd.testing.view_suite import ViewSuite


class RecommenderSuite(ViewSuite, InvarianceSuite, LifeCycleSuite):
    """The tests that every backbone inherits.

    Views equal views by ablation from outside, in margins, rankings and
    gradients; they are blind to what they ablate; scores do not depend on how
    users and items are numbered; a model can be copied, pickled, saved, cast
    and trained under autocast; a graph that it needs and that is not there is
    an error.

    Attributes:
        model (type[Backbone]): The backbone.
        blind (bool): Whether its scores do not depend on features.
            (default: :obj:`False`)

    Example:
        >>> from pyg_ckd.nn import VBPR
        >>> class TestVBPR(RecommenderSuite):
        ...     model = VBPR
        >>> TestVBPR().test_from_data()
    """
