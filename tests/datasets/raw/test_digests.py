import os

import pytest

from pyg_ckd.datasets.raw import digests
from pyg_ckd.datasets.raw.digests import Digests


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / 'pictures'
    (folder / 'more').mkdir(parents=True)
    for name in ('a.jpg', 'b.jpg', 'more/c.jpg'):
        (folder / name).write_bytes(b'123')
        os.utime(folder / name, ns=(0, 5))
    return folder


def digest_of(path):
    return Digests().of(str(path))


def rewrite(path, content):
    """Change a file, and give it its times back."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_of_a_folder(pictures):
    before = digest_of(pictures)
    assert digest_of(pictures) == before
    os.utime(pictures / 'a.jpg', ns=(0, 9))
    assert digest_of(pictures) == before
    rewrite(pictures / 'more' / 'c.jpg', b'124')
    assert digest_of(pictures) != before
    rewrite(pictures / 'more' / 'c.jpg', b'123')
    assert digest_of(pictures) == before
    (pictures / 'b.jpg').rename(pictures / 'd.jpg')
    assert digest_of(pictures) != before


def test_bytes_that_move_between_files(pictures):
    before = digest_of(pictures)
    (pictures / 'a.jpg').write_bytes(b'1231')
    (pictures / 'b.jpg').write_bytes(b'23')
    assert digest_of(pictures) != before


def test_elsewhere(pictures, tmp_path):
    """Names count within a folder, not where it is."""
    before = digest_of(pictures), digest_of(pictures / 'a.jpg')
    pictures.rename(tmp_path / 'other')
    other = tmp_path / 'other'
    assert (digest_of(other), digest_of(other / 'a.jpg')) == before


def test_nothing_is_read_twice(pictures, tmp_path, monkeypatch):
    read = []
    content = digests._digest_of_content
    monkeypatch.setattr(
        digests, '_digest_of_content', lambda p: read.append(p) or content(p)
    )
    first = Digests(str(tmp_path))
    before = first.of(str(pictures))
    assert not (tmp_path / 'digests.json').exists()
    first.save()
    assert Digests(str(tmp_path)).of(str(pictures)) == before
    assert len(read) == 1
    rewrite(pictures / 'a.jpg', b'321')
    assert Digests(str(tmp_path)).of(str(pictures)) != before
    assert len(read) == 2


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'[1]',
        b'{"HERE": 3}',
        b'{"HERE": []}',
        b'{"HERE": ["a", 1]}',
        b'\xff',
    ],
)
def test_what_is_kept_is_damaged(pictures, tmp_path, content):
    before = Digests(str(tmp_path)).of(str(pictures))
    content = content.replace(b'HERE', str(pictures).encode())
    (tmp_path / 'digests.json').write_bytes(content)
    assert Digests(str(tmp_path)).of(str(pictures)) == before


def test_where_nothing_can_be_kept(pictures, tmp_path):
    (tmp_path / 'file').write_text('')
    digests = Digests(str(tmp_path / 'file'))
    assert digests.of(str(pictures)) == digest_of(pictures)
    digests.save()
    assert (tmp_path / 'file').read_text() == ''


def test_pipes_are_not_read(pictures):
    before = digest_of(pictures)
    os.mkfifo(pictures / 'pipe.jpg')
    assert digest_of(pictures) == before
    with pytest.raises(ValueError, match='neither a regular file nor'):
        digest_of(pictures / 'pipe.jpg')


def test_links_count_as_what_they_lead_to(pictures, tmp_path):
    (tmp_path / 'far.jpg').write_bytes(b'far')
    before = digest_of(pictures)
    (pictures / 'far.jpg').symlink_to(tmp_path / 'far.jpg')
    assert digest_of(pictures) != before


def test_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'missing\.txt'):
        digest_of(tmp_path / 'missing.txt')
