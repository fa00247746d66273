import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.zip_member import read_member


def zipped(path, **kwargs):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        for name, content in kwargs.items():
            file.writestr(name.replace('__', '/'), content)
    return path


def test_read_member_finds_a_file_in_any_folder(tmp_path):
    path = zipped(tmp_path / 'a.zip', a__b__c='deep', d='flat', e__d2='no')
    assert read_member(path, 'c') == b'deep'
    assert read_member(str(path), 'd') == b'flat'


def test_read_member_refuses(tmp_path):
    path = zipped(tmp_path / 'a.zip', a__c='one', b__c='two', big='x' * 10**6)
    with pytest.raises(ValueError, match=r'holds a/c and b/c; remove one'):
        read_member(path, 'c')
    with pytest.raises(FileNotFoundError, match=r"a\.zip' holds no file 'z'"):
        read_member(path, 'z')
    with pytest.raises(FileNotFoundError):
        read_member(tmp_path / 'no.zip', 'z')
    with pytest.raises(ValueError, match=r"'big' has 1,000,000 bytes, more th"):
        read_member(path, 'big', Limits(file=10**5))


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 200), st.integers(0, 255))
def test_read_member_knows_damage(tmp_path, place, byte):
    path = zipped(tmp_path / 'a.zip', c='content that is checked')
    content = bytearray(path.read_bytes())
    content[place % len(content)] = byte
    path.write_bytes(content)
    try:
        assert read_member(path, 'c') == b'content that is checked'
    except (ValueError, FileNotFoundError) as error:
        assert 'a.zip' in str(error)


def test_read_member_unpacks_no_more_than_is_stated(tmp_path):
    path = zipped(tmp_path / 'a.zip', big='x' * 10**7)
    content = path.read_bytes().replace(
        (10**7).to_bytes(4, 'little'), (1).to_bytes(4, 'little')
    )
    path.write_bytes(content)
    with pytest.raises(ValueError, match='not a whole zip archive'):
        read_member(path, 'big')
