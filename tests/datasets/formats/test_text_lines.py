import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.formats.text_lines import first_line, text_lines
from pyg_ckd.datasets.raw.limits import Limits

LINES = st.lists(st.text(st.characters(exclude_characters='\r\n'), max_size=5))


@settings(max_examples=40, deadline=None)
@given(LINES, st.sampled_from(['\n', '\r\n']), st.sampled_from(['', '\ufeff']))
def test_lines(tmp_path_factory, lines, end, mark):
    path = tmp_path_factory.mktemp('lines') / 'a.txt'
    text = mark + ''.join(f'{line}{end}' for line in ['first', *lines])
    path.write_bytes(text.encode('utf-8', 'surrogatepass'))
    found = list(text_lines(path))
    assert [number for number, _ in found] == [*range(1, len(lines) + 2)]
    expected = [line.encode('utf-8', 'replace').decode() for line in lines]
    if not any(map(has_surrogate, lines)):
        assert [line for _, line in found] == ['first', *expected]
    assert first_line(path) == 'first'


def has_surrogate(line):
    return any('\ud800' <= character <= '\udfff' for character in line)


def test_lines_that_are_too_long(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_bytes(b'a\n' + b'b' * 9)
    assert list(text_lines(path, Limits(line=9))) == [(1, 'a'), (2, 'b' * 9)]
    message = rf"^'{path}', line 2 has more than 8 bytes; .*Limits\(line=8\)"
    with pytest.raises(ValueError, match=message):
        list(text_lines(path, Limits(line=8)))


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(text_lines(tmp_path / 'a.txt'))
    (tmp_path / 'empty').touch()
    assert list(text_lines(tmp_path / 'empty')) == []
    assert first_line(tmp_path / 'empty') == ''
    os.mkfifo(tmp_path / 'pipe')
    for read in (first_line, lambda path: list(text_lines(path))):
        with pytest.raises(ValueError, match="pipe' is no regular file"):
            read(tmp_path / 'pipe')
