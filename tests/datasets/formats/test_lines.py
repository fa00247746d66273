import gzip
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.formats.lines import read_lines
from pyg_ckd.datasets.raw.limits import Limits


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=9)), st.sampled_from([b'\n', b'\r\n']))
def test_lines(tmp_path_factory, lines, end):
    path = tmp_path_factory.mktemp('lines') / 'a.gz'
    content = end.join(lines) + end
    path.write_bytes(gzip.compress(content, 1))
    expected = [
        (number, line.strip())
        for number, line in enumerate(content.split(b'\n'), start=1)
        if line.strip()
    ]
    assert list(read_lines(path)) == expected


def test_lines_that_are_too_long(tmp_path):
    path = tmp_path / 'a.gz'
    path.write_bytes(gzip.compress(b'a\n' + b'b' * 9))
    assert list(read_lines(path, Limits(line=9))) == [(1, b'a'), (2, b'b' * 9)]
    message = rf"^'{path}', line 2: it is longer than 8 bytes; .*Limits\(line=8"
    with pytest.raises(ValueError, match=message):
        list(read_lines(path, Limits(line=8)))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'is empty'),
        (gzip.compress(b'', mtime=0), 'is empty'),
        (b'{"asin": "B1"}', 'is damaged after line 0'),
        (gzip.compress(b'a\nb\n' * 10, mtime=0)[:-9], 'is damaged after line'),
    ],
)
def test_files_that_are_damaged(tmp_path, content, message):
    path = tmp_path / 'a.gz'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^'{path}' {message}.*download it"):
        list(read_lines(path))


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(read_lines(tmp_path / 'a.gz'))
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(ValueError, match="pipe' is no regular file"):
        list(read_lines(tmp_path / 'pipe'))
