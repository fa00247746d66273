import json
import re
from html import unescape

import pytest


@pytest.fixture
def corner(results):
    """The folder of results, without its page."""
    (results / 'corner' / 'report.html').unlink()
    return results / 'corner'


def text_of(path):
    return unescape(re.sub('<[^>]+>', ' ', path.read_text()))


def test_page(call, corner, tmp_path):
    status, out, err = call('report', corner)
    page = corner / 'report.html'
    assert (status, out, err) == (0, f'Report: {page}\n', '')
    assert 'corner' in text_of(page)

    other = tmp_path / 'other.html'
    args = ('--out', other, '--title', 'A corner', '--note', 'tiny', '--json')
    status, out, err = call('report', corner, *args)
    assert (status, err) == (0, '')
    assert json.loads(out) == {'report': str(other), 'problems': []}
    assert 'A corner' in text_of(other) and 'tiny' in text_of(other)


def test_head_and_tail_need_the_data(call, corner, shops, tmp_path):
    pages = [tmp_path / 'without.html', tmp_path / 'with.html']
    assert call('report', corner, '--out', pages[0])[0] == 0
    data = ('--dataset', 'corner', '--root', shops)
    assert call('report', corner, '--out', pages[1], *data)[0] == 0
    without, with_data = (page.read_text() for page in pages)
    assert len(with_data) > len(without)


def test_broken_lines_are_named(call, corner):
    log = corner / 'results.jsonl'
    log.write_text(log.read_text() + '{"half": \n')
    number = len(log.read_text().splitlines())
    status, out, err = call('report', corner, '--json')
    assert status == 0
    (problem,) = json.loads(out)['problems']
    assert f"'{log}', line {number}" in problem
    assert problem in err
    assert f'line {number}' in text_of(corner / 'report.html')


def test_other_data_is_refused(call, corner):
    status, out, err = call('report', corner, '--dataset', 'fake')
    assert (status, out, err.count('\n')) == (2, '', 1)
    assert "'--dataset' needs to be what results were trained on" in err


def test_a_folder_of_folders_names_them(call, corner):
    status, out, err = call('report', corner.parent)
    assert (status, out, err.count('\n')) == (2, '', 1)
    assert f'such as {corner}\n' in err


@pytest.mark.parametrize('name', ['nowhere', 'empty'])
def test_no_results(call, tmp_path, name):
    (tmp_path / 'empty').mkdir()
    status, out, err = call('report', tmp_path / name)
    assert (status, out, err.count('\n')) == (2, '', 1)
    assert f"'{tmp_path / name}' has no 'results.jsonl'" in err
