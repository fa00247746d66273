"""Variants of CKD, and what they are compared with, by their names."""

from __future__ import annotations

from typing import Any

from pyg_ckd.experiments import METHODS, Method

#: Arguments of `CKD` that differ from those in the settings.
CHANGES: dict[str, dict[str, Any]] = {
    # Random triples are drawn all the same, as with the base settings:
    'only specific': {'on_random': {'weight': 0.0}},
    'only generic': {'on_batch': False},
    'no weights': {'weights': False},
    'only generic, no weights': {'on_batch': False, 'weights': False},
    'teacher reference': {'weights': {'reference': 'teacher'}},
    'average effect': {'weights': {'effect': 'average'}},
    'average, teacher': {
        'weights': {'effect': 'average', 'reference': 'teacher'}
    },
    'eps 1e-8': {'on_random': {'eps': 1e-8}},
    '5,000 x 1 triples': {'on_random': {'num_pairs': 5000, 'group_size': 1}},
    '256 x 32 triples': {'on_random': {'num_pairs': 256, 'group_size': 32}},
    **{f'strength {s:g}': {'strength': s} for s in (0.001, 0.003, 0.01)},
    **{f'strength {s:g}': {'strength': s} for s in (0.03, 0.1, 0.3)},
    **{f'gamma {g:g}': {'on_random': {'weight': g}} for g in (1.0, 20.0)},
    **{f'tau {tau:g}': {'on_random': {'tau': tau}} for tau in (0.05, 0.2, 1.0)},
    **{
        f'tau {tau:g} of the spread': {
            'on_random': {'tau': tau, 'relative': True}
        }
        for tau in (0.1, 0.3, 1.0)
    },
    'hinge, selective': {'on_batch': {'selective': True}},
    'only specific, selective': {
        'on_batch': {'selective': True},
        'on_random': {'weight': 0.0},
    },
}
#: Methods by the name of the variant.
VARIANTS: dict[str, Method] = {
    **{
        name: Method.student('CKD', changes={'CKD': own}, name=f'CKD, {name}')
        for name, own in CHANGES.items()
    },
    'gate': METHODS['ckd-gate'],
    'pairs alike in popularity': METHODS['ckd-band'],
    'RCE-KD': METHODS['ckd-rce-kd'],
    'RRD': METHODS['ckd-rrd'],
    'DCD': METHODS['ckd-dcd'],
    'published': METHODS['ckd-published'],
    'self-distilled': METHODS['self-distilled'],
    'self-distilled twice': METHODS['second-generation'],
    'born again': METHODS['born-again'],
    **{
        f'taught by {teacher}': Method.student('CKD', teachers=teacher)
        for teacher in ('ensemble', 'Popularity', 'VBPR', 'LightGCN', 'FREEDOM')
    },
    'ensemble': METHODS['ensemble'],
    'longer': Method(changes={'fit': {'patience': 40}}, name='longer'),
    'standardized': Method(
        changes={'extra': {'standardize': True}}, name='standardized'
    ),
    **{
        f'{dim} components': Method(
            changes={'extra': {'components': dim}}, name=f'{dim} components'
        )
        for dim in (64, 256)
    },
    'item bias': METHODS['item-bias'],
    'NLGCL': METHODS['nlgcl'],
}
