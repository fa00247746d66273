import os
import socket

import pytest

from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.regular_file import open_regular
from pyg_ckd.datasets.raw.row_numbers import check_highest


@pytest.mark.parametrize('value', [0, -1, 1.5, '1', None])
@pytest.mark.parametrize(
    'name', ['line', 'file', 'pixels', 'ids', 'columns', 'unpacked']
)
def test_limits_are_positive(name, value):
    with pytest.raises(ValueError, match=f"'{name}' needs to be a positive"):
        Limits(**{name: value})


def test_what_a_file_unpacks_to():
    limits = Limits(file=50, unpacked=2)
    limits.check_unpacked('a.zip', packed=100, unpacked=250)
    with pytest.raises(ValueError, match=r"'a.zip' has 100 .*unpacked=2\)"):
        limits.check_unpacked('a.zip', packed=100, unpacked=251)


def test_ids_beyond_the_number_of_interactions():
    check_highest('a.inter', 'userID', 1300, 3)
    with pytest.raises(ValueError, match=r'userID is 1301, .*Limits\(ids=100'):
        check_highest('a.inter', 'userID', 1301, 3)
    check_highest('a.inter', 'userID', 10**8, 3, Limits(ids=10**8))


def test_regular_files_only(tmp_path):
    (tmp_path / 'file').write_bytes(b'1')
    os.symlink(tmp_path / 'file', tmp_path / 'link')
    for name in ('file', 'link'):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b'1'
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'folder').mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(tmp_path)  # Names of sockets are short.
        server.bind('socket')
        for name in ('pipe', 'folder', 'socket'):
            with pytest.raises(ValueError, match=f"{name}' is no regular file"):
                open_regular(tmp_path / name)
    with pytest.raises(ValueError, match="null' is no regular file"):
        open_regular('/dev/null')
    with pytest.raises(FileNotFoundError, match='nowhere'):
        open_regular(tmp_path / 'nowhere')
