import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import torch

import pyg_ckd
from pyg_ckd.experiments.environment import (
    environment,
    peak_memory,
    reset_peak_memory,
    revision,
)


def test_plain_values():
    found = environment(torch.device('cpu'))
    assert json.loads(json.dumps(found)) == found
    assert list(found) == [
        'pyg_ckd',
        'torch',
        'torch_geometric',
        'pytorch_lightning',
        'numpy',
        'python',
        'platform',
        'device',
        'threads',
        'revision',
        'date',
        'peak_memory_mb',
    ]
    assert found['pyg_ckd'] == pyg_ckd.__version__
    assert found['torch'].split('+')[0] == torch.__version__.split('+')[0]
    assert found['numpy'] == np.__version__
    assert found['torch_geometric']
    assert found['pytorch_lightning']
    assert found['python'].split('.')[0] == str(sys.version_info.major)
    assert found['device'] == 'cpu'
    assert found['threads'] == torch.get_num_threads()
    assert 0 < found['peak_memory_mb'] < 2**20
    age = datetime.now(timezone.utc) - datetime.fromisoformat(found['date'])
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_no_name_of_a_person_or_machine():
    text = json.dumps(environment(torch.device('cpu')))
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text


@pytest.fixture
def repository(tmp_path):
    """A repository with a library, and what calls git in it."""
    library = tmp_path / 'library'
    library.mkdir()
    (library / '__init__.py').write_text('')

    def git(*arguments):
        identity = ['-c', 'user.name=a', '-c', 'user.email=a@example.org']
        try:
            subprocess.run(
                ['git', *identity, *arguments],
                cwd=tmp_path,
                check=True,
                capture_output=True,
            )
        except FileNotFoundError:
            pytest.skip('needs git')

    git('init')
    revision.cache_clear()
    yield library, git
    revision.cache_clear()


def test_revision(repository):
    library, git = repository
    assert revision(library) == ''  # there is none, nor is it tracked
    git('add', '.')
    git('commit', '-m', 'first')
    git('tag', 'v1', '-m', 'a tag')
    revision.cache_clear()
    clean = revision(library)
    assert len(clean) >= 7
    assert int(clean, 16) >= 0
    (library / '__init__.py').write_text('changed = True')
    assert revision(library) == clean  # it is looked up once
    revision.cache_clear()
    assert revision(library) == f'{clean}-dirty'


def test_revision_of_what_lies_in_the_repository_of_another(repository):
    library, git = repository
    (library.parent / 'notes.txt').write_text('')
    git('add', 'notes.txt')
    git('commit', '-m', 'first')
    assert revision(library) == ''


def test_revision_without_git(tmp_path, monkeypatch):
    revision.cache_clear()
    assert revision(tmp_path) == ''
    monkeypatch.setenv('PATH', '')
    assert revision(tmp_path / 'nowhere') == ''
    revision.cache_clear()
    assert revision() == ''
    monkeypatch.undo()
    revision.cache_clear()


def test_peak_memory():
    reset_peak_memory()
    before = peak_memory()
    block = np.ones(2**25)  # 256 MB
    with_block = peak_memory()
    del block
    assert with_block - before > 2**27
    assert peak_memory() > before + 2**27  # it is the most there was
    if sys.platform == 'linux':
        reset_peak_memory()
        assert peak_memory() < with_block - 2**27
