import math
from functools import partial
from inspect import signature

import pytest
from torch import nn

from pyg_ckd.balance import RRD, CounterfactualWeights, SoftCrossEntropy
from pyg_ckd.experiments import BACKBONES, METHODS, Method, Run, Settings
from pyg_ckd.experiments.method import BALANCES, OBJECTIVES
from pyg_ckd.experiments.settings import DEFAULT, EXTRA, PARTS, merged
from pyg_ckd.nn import VBPR
from pyg_ckd.train import Recommendation, fit

TRAIN = ('lr', 'batch_size', 'sampling')
FIT = ('eval_every', 'patience', 'monitor')


def effective(sections, method=METHODS['ckd'], name='VBPR', make=None):
    settings = Settings({'shop': {name: sections}}, 'my.toml')
    return settings.effective('shop', name, make or BACKBONES[name], method)


def key_of(*args, **kwargs):
    settings = effective(*args, **kwargs)
    return Run('shop', 'VBPR', Method(), 0, settings).key


def defaults(make, names=None):
    """Return the defaults that a file can write out."""
    return {
        name: one.default
        for name, one in signature(make).parameters.items()
        if isinstance(one.default, bool | int | float | str)
        and (names is None or name in names)
    }


def other(name, value):
    """Return another value that the argument may have."""
    texts = {
        'sampling': 'user',
        'monitor': 'val_ndcg@20',
        'routing': 'published',
        'reference': 'teacher',
        'effect': 'average',
        'negatives': 'batch',
    }
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return texts[name]
    return value + 1


def cases():
    """Yield each argument with a default, by its place in the settings."""
    ckd = METHODS['ckd']
    for backbone, make in BACKBONES.items():
        for name, value in defaults(make).items():
            yield backbone, ckd, ('model',), name, value
    for section, make, names in (
        ('train', Recommendation, TRAIN),
        ('fit', fit, FIT),
    ):
        for name, value in defaults(make, names).items():
            yield 'VBPR', ckd, (section,), name, value
    for objective, make in OBJECTIVES.items():
        for name, value in defaults(make).items():
            method = Method(objective=objective)
            yield 'VBPR', method, (objective,), name, value
    for balance, make in BALANCES.items():
        for name, value in defaults(make).items():
            yield 'VBPR', Method.student(balance), (balance,), name, value
    for part, makers in PARTS.items():
        for name, value in defaults(makers[0]).items():
            yield 'VBPR', ckd, ('CKD', part), name, value
    for name, value in EXTRA.items():
        yield 'VBPR', ckd, ('extra',), name, value


CASES = list(cases())


def written(path, arguments):
    for part in reversed(path):
        arguments = {part: arguments}
    return arguments


def test_cases_are_all_there():
    found = {path[-1] for _, _, path, _, _ in CASES}
    assert found == {
        *('model', 'train', 'fit', 'extra', 'on_batch', 'on_random', 'weights'),
        *OBJECTIVES,
        *BALANCES,
    }


@pytest.mark.parametrize(('backbone', 'method', 'path', 'name', 'value'), CASES)
def test_defaults_may_be_written_out(backbone, method, path, name, value):
    key = partial(key_of, method=method, name=backbone)
    plain = key({})
    assert key(written(path, {name: value})) == plain
    if type(value) is int:
        assert key(written(path, {name: float(value)})) == plain
    elif type(value) is float and value.is_integer():
        assert key(written(path, {name: int(value)})) == plain
    if name != 'p':  # a number or a table
        assert key(written(path, {name: other(name, value)})) != plain


def test_all_defaults_at_once():
    ckd = {'on_batch': {}, **defaults(BALANCES['CKD'])}
    for part, makers in PARTS.items():
        ckd[part] = defaults(makers[0])
    sections = {
        'model': defaults(VBPR),
        'train': defaults(Recommendation, TRAIN),
        'fit': {**defaults(fit, FIT), 'max_epochs': 1000},
        'BPR': defaults(OBJECTIVES['BPR']),
        'CKD': ckd,
    }
    assert effective(sections) == effective({})
    assert key_of(sections) == key_of({})


def test_settings_of_others_do_not_count():
    sections = {'Softmax': {'tau': 0.5}, 'AGM': {'alpha': 2.0}}
    assert key_of(sections) == key_of({})
    assert key_of(sections, METHODS['agm']) != key_of({}, METHODS['agm'])
    assert key_of({'CKD': {'gate': True}}) != key_of({})
    base = METHODS['base']
    assert key_of({'CKD': {'gate': True}}, base) == key_of({}, base)


def test_arguments_of_lightning():
    key = key_of({})
    assert key_of({'fit': {'accumulate_grad_batches': 1}}) == key
    assert key_of({'fit': {'accumulate_grad_batches': 2}}) != key
    settings = effective({'fit': {'precision': 'bf16-mixed'}})
    assert settings['fit']['precision'] == 'bf16-mixed'


def test_largest_number_of_epochs():
    settings = Settings({'shop': {'VBPR': {'fit': {'max_epochs': 7}}}})
    make = BACKBONES['VBPR']
    for dataset, expected in (('shop', 7), ('other', 3)):
        found = settings.effective(dataset, 'VBPR', make, Method(), 3)
        assert found['fit']['max_epochs'] == expected


def test_whole_numbers_become_what_the_argument_is():
    found = effective({'model': {'dim': 8.0}, 'train': {'lr': 1}})
    assert type(found['model']['dim']) is int
    assert type(found['train']['lr']) is float
    found = effective({'train': {'lr': math.inf}})
    assert found['train']['lr'] == math.inf


def test_parts_that_are_left_out():
    off = effective({'CKD': {'on_batch': False, 'on_random': {'tau': 0.5}}})
    balance = off['balance']
    assert balance['on_batch'] is None
    assert balance['on_random']['tau'] == 0.5
    assert balance['weights'] == defaults(CounterfactualWeights)
    assert key_of({'CKD': {'on_batch': False}}) != key_of({})
    back = effective({'CKD': {'on_batch': {}}})
    assert back == effective({})


def test_parts_keep_all_that_they_are_made_with():
    changed = {'tau': 0.3, 'num_pairs': 7, 'weight': 2.0, 'eps': 0.1}
    changed |= {'group_size': 3, 'relative': True, 'band': 0.5}
    found = effective({'CKD': {'on_random': changed}})
    assert found['balance']['on_random'] == changed
    assert changed.keys() == signature(SoftCrossEntropy).parameters.keys()


def test_parts_of_another_class():
    listed = {'name': 'RRD', 'k': 7}
    found = effective({'CKD': {'on_random': listed}})
    assert found['balance']['on_random'] == {
        'name': 'RRD',
        **defaults(RRD),
        'k': 7,
    }
    usual = {'CKD': {'on_random': {'name': 'SoftCrossEntropy', 'tau': 0.3}}}
    assert effective(usual) == effective({'CKD': {'on_random': {'tau': 0.3}}})
    # Named by a method, it has nothing of the one in the file:
    changes = {'CKD': {'on_random': listed}}
    method = Method.student('CKD', changes=changes)
    written = {'CKD': {'on_random': {'tau': 0.3, 'num_pairs': 9}}}
    assert effective(written, method) == found
    # And by arguments alone, a method changes the one in the file:
    method = Method.student('CKD', changes={'CKD': {'on_random': {'k': 7}}})
    assert effective({'CKD': {'on_random': {'name': 'RRD'}}}, method) == found


def test_extra_settings():
    assert 'extra' not in effective({})
    on = {'extra': {'standardize': True, 'item_bias': False}}
    assert effective(on)['extra'] == {'standardize': True}
    assert effective({'extra': {'nlgcl': 1}})['extra'] == {'nlgcl': 1.0}


def test_settings_with_an_objective():
    own = {
        'train': {'lr': 0.1, 'batch_size': 7},
        'CosineSoftmax': {
            'tau': 0.3,
            'with': {'train': {'lr': 0.2}, 'CKD': {'strength': 0.5}},
        },
        'Softmax': {'with': {'train': {'lr': 0.4}}},
    }
    ckd = Method.student('CKD')
    plain = {'train': own['train']}
    assert effective(own) == effective(plain)
    cosine = Method.student('CKD', objective='CosineSoftmax')
    assert effective(own, cosine) == effective(
        {
            'train': {'lr': 0.2, 'batch_size': 7},
            'CosineSoftmax': {'tau': 0.3},
            'CKD': {'strength': 0.5},
        },
        cosine,
    )
    changed = Method(objective='Softmax', changes={'train': {'lr': 0.6}})
    assert effective(own, changed)['train'] == {
        **effective(own, ckd)['train'],
        'lr': 0.6,
    }


def test_changes_of_a_method():
    sections = {
        'CKD': {'on_random': {'weight': 2.0, 'tau': 0.5}, 'strength': 3}
    }
    changes = {'CKD': {'on_random': {'tau': 0.7}}, 'train': {'lr': 0.5}}
    found = effective(sections, Method.student('CKD', changes=changes))
    expected = {
        'CKD': {'on_random': {'weight': 2.0, 'tau': 0.7}, 'strength': 3},
        'train': {'lr': 0.5},
    }
    assert found == effective(expected)
    off = Method.student('CKD', changes={'CKD': {'on_random': False}})
    assert effective(sections, off)['balance']['on_random'] is None
    # On again, by arguments alone:
    on = Method.student('CKD', changes={'CKD': {'on_random': {'tau': 0.7}}})
    assert effective({'CKD': {'on_random': False}}, on) == effective(
        {'CKD': {'on_random': {'tau': 0.7}}}
    )


def test_merged_changes_nothing_in_place():
    before, changes = {'a': {'b': 1}, 'c': 2}, {'a': {'d': 3}, 'c': {}}
    assert merged(before, changes) == {'a': {'b': 1, 'd': 3}, 'c': {}}
    assert before == {'a': {'b': 1}, 'c': 2}
    assert changes == {'a': {'d': 3}, 'c': {}}


def test_changed_settings():
    settings = Settings(
        {'default': {'VBPR': {'train': {'lr': 1.0}}}}, 'my.toml'
    )
    new = settings.changed('shop', 'VBPR', {'model': {'dim': 2}})
    assert new.of('shop', 'VBPR') == {'train': {'lr': 1.0}, 'model': {'dim': 2}}
    assert new.of('other', 'VBPR') == settings.of('shop', 'VBPR')
    assert new.of('shop', 'LightGCN') == {}
    assert settings.of('shop', 'VBPR') == {'train': {'lr': 1.0}}
    with pytest.raises(ValueError, match=r"'my.toml', \[shop.VBPR\] has no"):
        settings.changed('shop', 'VBPR', {'modle': {}})


def test_own_table_counts_alone():
    settings = Settings(
        {
            'default': {'VBPR': {'train': {'lr': 1.0}, 'model': {'dim': 2}}},
            'shop': {'VBPR': {'model': {'dim': 3}}},
        }
    )
    assert settings.of('shop', 'VBPR') == {'model': {'dim': 3}}
    assert settings.of('other', 'VBPR')['model'] == {'dim': 2}
    assert settings.of('shop', 'LightGCN') == {}


def test_objectives():
    assert effective({})['objective']['name'] == 'BPR'
    own_loss = effective({}, METHODS['base'], 'BM3')
    assert own_loss['objective'] is None
    instead = effective({'BPR': {}}, METHODS['base'], 'BM3')
    assert instead['objective']['name'] == 'BPR'
    softmax = effective({}, Method(objective='CosineSoftmax'), 'BM3')
    assert softmax['objective']['name'] == 'CosineSoftmax'


def test_file_of_the_library():
    settings = Settings.read()
    assert settings.source == str(DEFAULT)
    for dataset, backbones in settings.tables.items():
        for name, sections in backbones.items():
            make = BACKBONES[name]
            methods = [Method(objective=o) for o in ('', *OBJECTIVES)]
            methods += [Method.student(b) for b in BALANCES if b in sections]
            for method in methods:
                found = settings.effective(dataset, name, make, method)
                Run(dataset, name, method, 0, found).key  # noqa: B018


# Own backbones ###############################################################


ACT = nn.ReLU()


class Own(nn.Module):
    def __init__(self, data, dim: int = 4, act=ACT, depth=None):
        super().__init__()


def own(graph, /, dim, *, rate=0.5):
    return Own(graph)


def test_defaults_of_own_backbones():
    for sections in ({}, {'model': {'dim': 4.0}}):
        found = effective(sections, name='Own', make=Own)
        assert found['model'] == {'dim': 4, 'depth': None}
        assert type(found['model']['dim']) is int
    found = effective({'model': {'dim': 'deep'}}, name='own', make=own)
    assert found['model'] == {'dim': 'deep', 'rate': 0.5}
    assert found['objective']['name'] == 'BPR'


def test_own_backbone_that_takes_anything():
    found = effective(
        {'model': {'dim': 3}},
        name='own',
        make=partial(VBPR.from_data, use=['text']),
    )
    assert found['model'] == {'dim': 3}
    made = lambda data, **kwargs: Own(data, **kwargs)  # noqa: E731
    found = effective({'model': {'depth': [1, 2]}}, name='own', make=made)
    assert found['model'] == {'depth': [1, 2]}


def test_own_backbone_refuses():
    with pytest.raises(ValueError, match=r"own\], model.*no argument 'dmi'"):
        effective({'model': {'dmi': 1, 'dim': 1}}, name='own', make=own)
    with pytest.raises(
        ValueError, match="model: the argument 'dim' is missing"
    ):
        effective({}, name='own', make=own)
    with pytest.raises(ValueError, match="'dim' needs to be int"):
        effective({'model': {'dim': 'x'}}, name='Own', make=Own)
    with pytest.raises(ValueError, match="'act' needs a plain value"):
        effective({'model': {'act': print}}, name='Own', make=Own)


def test_own_class_of_ours():
    class Mine(VBPR):
        def __init__(self, num_users, num_items, in_channels, depth=2, dim=3):
            super().__init__(num_users, num_items, in_channels, dim)

    found = effective({'model': {'use': ['text']}}, name='Mine', make=Mine)
    assert found['model'] == {'use': ['text'], 'depth': 2, 'dim': 3}


# Refused #####################################################################


@pytest.mark.parametrize(
    ('sections', 'message'),
    [
        ({'modle': {}}, r"\[shop.VBPR\] has no section for 'modle'.*model"),
        ({'model': 3}, r'\[shop.VBPR\], model needs to be a table \(got 3\)'),
        ({'CKD': []}, r'\[shop.VBPR\], CKD needs to be a table \(got \[\]\)'),
        ({'model': {'dmi': 3}}, r"\], model: .*no argument 'dmi'; .*dim"),
        ({'model': {'num_users': 3}}, "no argument 'num_users'"),
        ({'model': {'dim': 'a'}}, r"model: 'dim' needs to be int \(got 'a'\)"),
        ({'model': {'dim': 2.5}}, r"model: 'dim' needs to be int \(got 2.5\)"),
        ({'model': {'dim': True}}, "'dim' needs to be int"),
        (
            {'model': {'use': 'text'}},
            r"'use' needs to be list\[str\] \| None \(",
        ),
        ({'train': {'rate': 1.0}}, r"\], train: .*no argument 'rate'; .*lr"),
        ({'train': {'keep': ['a']}}, "train: .*no argument 'keep'"),
        ({'train': {'lr': '0.1'}}, r"train: 'lr' needs to be float"),
        (
            {'train': {'sampling': 'item'}},
            r"'sampling' needs to be Literal\['user'",
        ),
        ({'fit': {'patince': 3}}, r"\], fit: .*no argument 'patince'; .*eval"),
        ({'fit': {'patience': 1.5}}, "fit: 'patience' needs to be int"),
        ({'fit': {'accelerator': 'cpu'}}, "fit: 'accelerator' is passed by"),
        ({'fit': {'callbacks': []}}, "fit: 'callbacks' is passed by"),
        ({'fit': {'max_time': nn}}, "fit: 'max_time' needs a plain value"),
        ({'BPR': {'tau': 1.0}}, r"\], BPR: .*no argument 'tau'; .* l2"),
        ({'BPR': {'l2': [1]}}, "BPR: 'l2' needs to be float"),
        ({'CKD': {'teachers': {}}}, r"\], CKD: .*no argument 'teachers'"),
        ({'CKD': {'strenght': 1}}, r"\], CKD: .*no argument 'strenght'"),
        ({'CKD': {'gate': 1}}, "CKD: 'gate' needs to be "),
        ({'CKD': {'on_batch': True}}, "CKD: 'on_batch' needs to be a table"),
        ({'CKD': {'weights': 'x'}}, "CKD: 'weights' needs to be a table"),
        (
            {'CKD': {'on_random': {'size': 1}}},
            r"\], CKD, on_random: .*no argument 'size'",
        ),
        ({'CKD': {'on_random': {'tau': 'x'}}}, "on_random: 'tau' needs to be"),
        ({'CKD': {'on_batch': {'tau': 1}}}, r"no argument 'tau'; .*selective"),
        ({'CKD': {'weights': {'effect': 'x'}}}, "weights: 'effect' needs to"),
        (
            {'CKD': {'on_random': {'name': 'RDD'}}},
            r"CKD, on_random: there is no 'RDD'; there are Soft.*, RRD, DCD",
        ),
        ({'extra': {'bias': True}}, r"extra: .*no argument 'bias'; .*item_b"),
        ({'extra': {'nlgcl': 'x'}}, "extra: 'nlgcl' needs to be float"),
        ({'Softmax': {'with': 3}}, 'Softmax, with needs to be a table'),
    ],
    ids=str,
)
def test_refused(sections, message):
    with pytest.raises(ValueError, match=f"'my.toml', .*{message}"):
        effective(sections)


def test_refused_with_an_objective():
    for name in ('trian', 'Softmax'):
        with pytest.raises(ValueError, match=f"no section '{name}'"):
            effective(
                {'Softmax': {'with': {name: {}}}}, Method(objective='Softmax')
            )


def test_refused_in_changes():
    method = Method(changes={'model': 3})
    with pytest.raises(ValueError, match='model needs to be a table'):
        effective({}, method)
    method = Method(changes={'train': {'rate': 3}})
    with pytest.raises(ValueError, match=r"train: .*no argument 'rate'"):
        effective({}, method)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'[shop.VBPR', 'is no TOML file: .*end of'),
        (b'[shop.VBPR]\nmodel = {dim = 1}\nmodel = {dim = 2}', 'no TOML file'),
        (b'[shop.VBPR]\nmodel = "\xff"', 'is no TOML file: .*decode'),
        (b'shop = 3', r'\[shop\] needs to be a table \(got 3\)'),
        (b'[shop]\nVBPR = [1]', r'\[shop.VBPR\] needs to be a table'),
        (b'[shop.VBPR]\ndim = 3', "has no section for 'dim'"),
    ],
)
def test_broken_files(content, message, tmp_path):
    path = tmp_path / 'my.toml'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"my.toml'.*{message}"):
        Settings.read(path)


def test_files(tmp_path):
    path = tmp_path / 'my.toml'
    path.write_bytes(b'\xef\xbb\xbf[shop.VBPR]\r\nmodel = { dim = 3 }\r\n')
    assert Settings.read(path).of('shop', 'VBPR') == {'model': {'dim': 3}}
    path.write_text('[shop.VBPR]\nfit = { max_time = 00:01:00 }')
    settings = Settings.read(path)
    with pytest.raises(ValueError, match="'max_time' needs a plain value"):
        settings.effective('shop', 'VBPR', VBPR, Method())
    with pytest.raises(FileNotFoundError, match=r'none\.toml'):
        Settings.read(tmp_path / 'none.toml')
    with pytest.raises(ValueError, match=r"'settings' needs to be a table"):
        Settings([])
