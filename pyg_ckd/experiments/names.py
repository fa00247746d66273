"""Names that arguments take, known without importing what they stand for."""

#: Backbones without parameters, or with scores that do not depend on features,
#: so that no modality is there to be kept in balance; by what they are called
#: in :mod:`pyg_ckd.nn`.
BASELINES = {
    'Popularity': 'Popularity',
    'InteractionKNN': 'InteractionKNN',
    'FeatureKNN': 'FeatureKNN',
    'GraphFilter': 'GraphFilter',
    'BPRMF': 'BPRMF',
    'LightGCN-ID': 'LightGCN',  # with `use = []` in the settings
    'BM3': 'BM3',
}
#: Every backbone, baselines first.
BACKBONES = {
    **BASELINES,
    'VBPR': 'VBPR',
    'LightGCN': 'LightGCN',
    'MMGCN': 'MMGCN',
    'GRCN': 'GRCN',
    'EgoGCN': 'EgoGCN',
    'LATTICE': 'LATTICE',
    'MICRO': 'MICRO',
    'FREEDOM': 'FREEDOM',
    'MGCN': 'MGCN',
    'LGMRec': 'LGMRec',
    'SMORE': 'SMORE',
    'STAIR': 'STAIR',
}
#: Those that are trained where none is named.
QUICK = (
    'Popularity',
    'InteractionKNN',
    'FeatureKNN',
    'BPRMF',
    'LightGCN-ID',
    'VBPR',
    'LightGCN',
    'FREEDOM',
)
#: Those of :obj:`pyg_ckd.experiments.METHODS`.
METHODS = (
    'base',
    'teachers',
    'ckd',
    'ckd-published',
    'ckd-gate',
    'ckd-rce-kd',
    'ckd-rrd',
    'ckd-dcd',
    'ckd-band',
    'ckd-nlgcl',
    'self-distilled',
    'second-generation',
    'born-again',
    'ensemble-distilled',
    'ogm-ge',
    'agm',
    'umt',
    'modality-dropout',
    'ensemble',
    'item-bias',
    'nlgcl',
)
#: Those whose settings :func:`~pyg_ckd.experiments.tune` searches.
TUNED = ('base', 'ckd', 'ogm-ge', 'agm', 'umt', 'modality-dropout')
#: Those of :obj:`pyg_ckd.experiments.method.OBJECTIVES`.
OBJECTIVES = ('BPR', 'Softmax', 'CosineSoftmax')
