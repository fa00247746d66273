import os
import stat
import tracemalloc
import warnings
import zipfile

import pytest

from pyg_ckd.datasets.features.item_files import ItemFiles, item_of
from pyg_ckd.datasets.raw.limits import Limits

FILES = {
    'cup.jpg': b'red',
    'deep/er/pot.JPG': b'blue',
    'deep/mug.v2.png': b'green',
    'deep/notes.txt': b'none',
    '.hidden': b'none',
}


def write(root, files=FILES, archive=False):
    """Write files into a folder, or into a zip archive."""
    if archive:
        with zipfile.ZipFile(root / 'files.zip', 'w') as file:
            file.writestr('deep/', '')
            for name, content in files.items():
                file.writestr(name, content)
        return root / 'files.zip'
    for name, content in files.items():
        path = root / 'files' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root / 'files'


@pytest.mark.parametrize('archive', [False, True])
def test_item_files(tmp_path, archive):
    path = write(tmp_path, archive=archive)
    files = ItemFiles(path, {'.jpg', '.png'})

    assert sorted(files.names) == ['cup', 'mug.v2', 'pot']
    assert 'notes' not in files
    assert [files.read(item) for item in ('cup', 'pot', 'mug.v2')] == [
        b'red',
        b'blue',
        b'green',
    ]
    assert files.where('pot') == str(path / 'deep' / 'er' / 'pot.JPG')


@pytest.mark.parametrize('archive', [False, True])
@pytest.mark.parametrize('other', ['deep/cup.jpg', 'cup.JPG', 'cup.png'])
def test_item_files_refuses_two_for_an_item(tmp_path, archive, other):
    path = write(tmp_path, {'cup.jpg': b'1', other: b'2'}, archive)

    with pytest.raises(ValueError, match=r"files.* has two files for 'cup'"):
        ItemFiles(path, {'.jpg', '.png'})
    if other.endswith('png'):
        assert ItemFiles(path, {'.jpg'}).read('cup') == b'1'


def test_item_files_refuses_what_is_no_folder_or_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"archive '.*nowhere'"):
        ItemFiles(tmp_path / 'nowhere', {'.jpg'})

    path = write(tmp_path, archive=True)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"files.zip' is neither a folder"):
        ItemFiles(path, {'.jpg'})


@pytest.mark.parametrize(
    'method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]
)
def test_item_files_names_the_damaged_file(tmp_path, method):
    path = tmp_path / 'files.zip'
    with zipfile.ZipFile(path, 'w', method) as file:
        file.writestr('cup.jpg', bytes(range(100)))
        file.writestr('deep/pot.jpg', bytes(range(100)))
        start = file.getinfo('deep/pot.jpg').header_offset
    content = bytearray(path.read_bytes())
    first = start + 30 + len('deep/pot.jpg')  # After the header of the file.
    content[first : first + 12] = b'\xff' * 12
    path.write_bytes(content)

    files = ItemFiles(path, {'.jpg'})
    assert files.read('cup') == bytes(range(100))
    with pytest.raises(ValueError, match=r'files.zip.deep.pot.jpg. cannot be'):
        files.read('pot')


def test_item_files_refuses_a_password(tmp_path):
    path = write(tmp_path, archive=True)
    content = bytearray(path.read_bytes())
    # The first bit of the flags, here and in the directory at the end, says
    # that the content is encrypted.
    for mark, flags in ((b'PK\3\4', 6), (b'PK\1\2', 8)):
        at = -1
        while (at := content.find(mark, at + 1)) >= 0:
            content[at + flags] |= 1
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r'cup.jpg.*without a password'):
        ItemFiles(path, {'.jpg'}).read('cup')


@pytest.mark.parametrize(
    ('name', 'item'),
    [
        ('cup.jpg', 'cup'),
        ('a/b/cup.JPG', 'cup'),
        ('007.v1.jpg', '007.v1'),
        ('cup', None),
        ('cup.png', None),
        ('jpg', None),
        ('.jpg', None),
        ('', None),
    ],
)
def test_item_of(name, item):
    assert item_of(name, {'.jpg'}) == item


def test_files_of_no_item(tmp_path):
    """Such as those of ids that are written otherwise."""
    files = ItemFiles(write(tmp_path), {'.jpg', '.png'})
    first, *others = sorted(files.names)
    with pytest.warns(UserWarning, match=f'{len(others)} of .* to no item'):
        files.compare_ids([first], [first, 'an item without a file'])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        files.compare_ids(files.names, files.names)
        files.compare_ids([first])  # Others may be of other items.


def test_files_of_items_in_another_spelling(tmp_path):
    files = ItemFiles(write(tmp_path, {'CUP.jpg': b'', 'a.jpg': b''}), {'.jpg'})
    for known in ([], ['cup', 'pot']):
        with pytest.warns(UserWarning) as caught:
            files.compare_ids(['cup', 'pot'], known)
        assert [str(warning.message) for warning in caught] == [
            f"'{files.path}': 2 of 2 files belong to no item, such as "
            "'CUP.jpg' and 'a.jpg', and 2 of 2 items have none, such as 'cup' "
            "and 'pot'; a file is named after the id of its item; 1 of them "
            "would be found in another letter case, such as 'CUP'"
        ]
    expected = "1 of them would be found in another letter case, such as 'CUP'"
    with pytest.warns(UserWarning, match=f'lacks 2 of .*; {expected}'):
        files.warn_of_missing(['cup', 'pot'])


def test_items_that_share_a_file_where_case_is_ignored(tmp_path):
    """Such a folder holds one of the two files, which is that of one item."""
    files = ItemFiles(
        write(tmp_path, {'cup.jpg': b'', 'POT.jpg': b''}), {'.jpg'}
    )
    items = ['CUP', 'cup', 'pot', 'POT', 'a']
    for known in ([], items):
        with pytest.warns(UserWarning) as caught:
            files.compare_ids(items, known)
        assert [str(warning.message) for warning in caught] == [
            f"'{files.path}': 2 items have no file, but another item has one "
            "whose id differs by the case of letters alone, such as 'CUP' and "
            "'cup'; if they were written to a folder that ignores case, one "
            'took the place of the other, so pass a zip archive that was made '
            'elsewhere'
        ]
    (tmp_path / 'CUP.jpg').write_bytes(b'')
    (tmp_path / 'pot.jpg').write_bytes(b'')
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # Each has its own here.
        ItemFiles(tmp_path, {'.jpg'}).compare_ids(items, items)


COMPOSED, DECOMPOSED = 'caf\u00e9', 'cafe\u0301'


@pytest.mark.parametrize('archive', [False, True])
@pytest.mark.parametrize(
    ('item', 'name'), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)]
)
def test_item_files_compares_composed_names(tmp_path, item, name, archive):
    """A Mac may write an accent as a character of its own."""
    path = write(tmp_path, {f'{name}/{name}.jpg': b'red'}, archive)
    files = ItemFiles(path, {'.jpg'})
    for spelling in (item, name):
        assert spelling in files
        assert files.read(spelling) == b'red'
        assert files.where(spelling) == str(path / name / f'{name}.jpg')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        files.compare_ids([item], [item])
        files.warn_of_missing([item])


@pytest.mark.parametrize('archive', [False, True])
def test_item_files_refuses_two_that_look_alike(tmp_path, archive):
    names = [f'{COMPOSED}.jpg', f'{DECOMPOSED}.jpg']
    path = write(tmp_path, dict.fromkeys(names, b''), archive)
    if not archive and len(list(path.iterdir())) == 1:
        pytest.skip('this file system takes them for one')
    with pytest.raises(ValueError, match='has two files for') as info:
        ItemFiles(path, {'.jpg'})
    for name in names:  # Told apart by what they consist of.
        assert ascii(name) in str(info.value)


def test_item_files_reads_archives_of_a_mac(tmp_path):
    """Their names are UTF-8 and do not say so; notes lie beside files."""
    path = write(
        tmp_path,
        {
            f'{DECOMPOSED}.jpg': b'red',
            f'__MACOSX/._{DECOMPOSED}.jpg': b'note',
        },
        archive=True,
    )
    content = bytearray(path.read_bytes())
    for mark, flags in ((b'PK\3\4', 7), (b'PK\1\2', 9)):
        at = -1
        while (at := content.find(mark, at + 1)) >= 0:
            content[at + flags] &= ~0x08  # Bit 11 says UTF-8.
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert f'{DECOMPOSED}.jpg' not in archive.namelist()

    files = ItemFiles(path, {'.jpg'})
    assert list(files.names) == [COMPOSED]
    assert files.read(COMPOSED) == b'red'
    assert files.where(COMPOSED) == str(path / f'{DECOMPOSED}.jpg')


def test_item_files_reads_old_archives(tmp_path):
    """Where a name is no UTF-8, it is in the code page of DOS."""
    path = write(tmp_path, {'caf?.jpg': b'red'}, archive=True)
    path.write_bytes(path.read_bytes().replace(b'caf?.jpg', b'caf\x82.jpg'))
    assert ItemFiles(path, {'.jpg'}).read(COMPOSED) == b'red'


def test_named_files_that_are_not_there(tmp_path):
    files = ItemFiles(write(tmp_path), {'.jpg', '.png'})
    with pytest.warns(UserWarning, match="lacks 1 of .* named, such as 'jug'"):
        files.warn_of_missing(['cup', 'jug', '', 'jug'])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        files.warn_of_missing(['cup', ''])


def test_what_is_no_file(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'a')
    os.mkfifo(tmp_path / 'b.jpg')
    (tmp_path / 'c.jpg').mkdir()
    assert [*ItemFiles(tmp_path, {'.jpg'}).names] == ['a']


@pytest.mark.parametrize('zipped', [False, True])
def test_files_that_are_too_large(tmp_path, zipped):
    """Of archives it is the size once unpacked that counts."""
    path = tmp_path / 'pictures'
    path.mkdir()
    (path / 'a.jpg').write_bytes(bytes(2000))
    (path / 'b.jpg').write_bytes(bytes(1000))
    if zipped:
        with zipfile.ZipFile(
            tmp_path / 'pictures.zip', 'w', zipfile.ZIP_DEFLATED
        ) as archive:
            for name in ('a.jpg', 'b.jpg'):
                archive.write(path / name, name)
        path = tmp_path / 'pictures.zip'
    files = ItemFiles(path, {'.jpg'}, Limits(file=1000))
    assert files.read('b') == bytes(1000)
    expected = r'has 2,000 bytes, more than 1,000; .*limits=Limits\(file=1000'
    with pytest.raises(ValueError, match=expected):
        files.read('a')


def zip_of(root, content: bytes, name='cup.jpg', times=1, kind=None):
    """Write an archive of members that unpack to the same content."""
    path = root / 'files.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        for number in range(times):
            info = zipfile.ZipInfo(f'{number or ""}{name}')
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (kind or stat.S_IFREG) << 16
            file.writestr(info, content)
    return path


def test_an_archive_that_unpacks_to_far_more_than_its_size(tmp_path):
    path = zip_of(tmp_path, bytes(2**20), times=9)
    with pytest.raises(ValueError, match=r'files.zip.* unpacks to 9,437,184;'):
        ItemFiles(path, {'.jpg'}, Limits(file=2**20))
    limits = Limits(file=2**20, unpacked=1000)
    assert len(ItemFiles(path, {'.jpg'}, limits).names) == 9
    # What is not asked for does not count:
    assert not ItemFiles(path, {'.png'}).names


def test_an_archive_that_lies_about_the_size_of_a_file(tmp_path):
    """It would fill the memory if all that it holds were unpacked first."""
    path = tmp_path / 'files.zip'
    with (
        zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive,
        archive.open('cup.jpg', 'w') as file,
    ):
        for _ in range(128):
            file.write(bytes(2**20 + 77))
    size = (128 * (2**20 + 77)).to_bytes(4, 'little')
    path.write_bytes(path.read_bytes().replace(size, b'\1\0\0\0'))
    files = ItemFiles(path, {'.jpg'})
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r'cup.jpg. cannot be unpacked'):
            files.read('cup')
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize('kind', [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_in_archives(tmp_path, kind):
    path = zip_of(tmp_path, b'/etc/passwd', kind=kind)
    with pytest.raises(ValueError, match=r'cup.jpg. is a link or no file'):
        ItemFiles(path, {'.jpg'}).read('cup')


@pytest.mark.parametrize(
    'name', ['../../cup.jpg', '/tmp/cup.jpg', 'a//cup.jpg']
)
def test_names_that_lead_out_of_an_archive(tmp_path, name):
    path = zip_of(tmp_path, b'red', name)
    before = sorted(tmp_path.rglob('*'))
    assert ItemFiles(path, {'.jpg'}).read('cup') == b'red'
    assert sorted(tmp_path.rglob('*')) == before
    assert not os.path.exists('/tmp/cup.jpg')


def test_folders_in_archives_of_windows(tmp_path):
    path = tmp_path / 'files.zip'
    with zipfile.ZipFile(path, 'w') as file:
        info = zipfile.ZipInfo('deep/cup.jpg')
        info.create_system = 0
        file.writestr(info, b'red')
    path.write_bytes(path.read_bytes().replace(b'deep/cup', b'deep\\cup'))
    assert ItemFiles(path, {'.jpg'}).read('cup') == b'red'


@pytest.mark.parametrize('inside', [False, True])
def test_pipes_are_not_waited_for(tmp_path, inside):
    if not inside:
        os.mkfifo(tmp_path / 'files.zip')
        with pytest.raises(ValueError, match=r"files.zip' is no regular file"):
            ItemFiles(tmp_path / 'files.zip', {'.jpg'})
        return
    (tmp_path / 'cup.jpg').write_bytes(b'red')
    files = ItemFiles(tmp_path, {'.jpg'})
    (tmp_path / 'cup.jpg').unlink()
    os.mkfifo(tmp_path / 'cup.jpg')
    with pytest.raises(ValueError, match=r"cup.jpg' is no regular file"):
        files.read('cup')
