import pytest

from pyg_ckd.analysis import Result, plot_views, plot_weights


@pytest.fixture
def results() -> list[Result]:
    """Two backbones, two seeds, figures that are all different."""
    runs = []
    for b, backbone in enumerate(['VBPR', 'FREEDOM']):
        for seed in (0, 1):
            value = 0.1 * (b + 1) + 0.02 * seed
            for m in ('image', 'text'):
                test = {f'only({m})': {'recall@20': value}}
                runs.append(
                    Result('shop', backbone, f'teacher({m})', seed, test=test)
                )
            for k, method in enumerate(['base', 'ckd']):
                views = ['full', 'only(image)', 'only(text)']
                test = {
                    v: {'recall@20': value + 0.003 * (k + 1) + 0.001 * i}
                    for i, v in enumerate(views)
                }
                history = [
                    {'epoch': 5, 'weight_image': 1.2, 'weight_text': 0.8},
                    {'epoch': 10, 'weight_image': 1.1, 'weight_text': 0.9},
                ]
                runs.append(
                    Result(
                        'shop',
                        backbone,
                        method,
                        seed,
                        test=test,
                        history=history if method == 'ckd' else [],
                    )
                )
    return runs


def test_views(results):
    figure = plot_views(results)
    assert [panel.get_title() for panel in figure.axes] == ['VBPR', 'FREEDOM']
    panel = figure.axes[0]
    labels = [label.get_text() for label in panel.get_xticklabels()]
    assert labels == ['full', 'only(image)', 'only(text)']
    # Three bars a modality, two for the full view, each a mean of two seeds:
    heights = sorted(round(bar.get_height(), 4) for bar in panel.patches)
    assert heights == sorted(
        [0.11, 0.11, 0.113, 0.114, 0.115, 0.116, 0.117, 0.118]
    )
    dots = [y for line in panel.lines for y in line.get_ydata()]
    assert len(dots) == 16


def test_weights(results):
    figure = plot_weights(results)
    panel = figure.axes[1]
    assert panel.get_title() == 'FREEDOM'
    lines = [list(line.get_ydata()) for line in panel.lines]
    assert lines.count([1.2, 1.1]) == 2  # the image, with both seeds
    assert lines.count([0.8, 0.9]) == 2
    assert list(panel.lines[0].get_xdata()) == [5, 10]


def test_one_backbone_without_teachers(results):
    runs = [run for run in results if run.backbone == 'VBPR']
    figure = plot_views([run for run in runs if run.method != 'ckd'])
    assert len(figure.axes) == 1
