import io
import random
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from pyg_ckd.datasets.features.item_files import ItemFiles
from pyg_ckd.datasets.features.pictures import (
    ENDINGS,
    PICTURES,
    formats,
    open_picture,
    skip_damaged,
)
from pyg_ckd.datasets.raw.limits import Limits

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(colour=RED, kind='PNG', mode='RGB', size=(4, 3)) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, kind)
    return file.getvalue()


def noise(kind: str) -> bytes:
    """Return a picture that cannot be compressed."""
    file = io.BytesIO()
    pixels = random.Random(0).randbytes(32 * 32 * 3)
    Image.frombytes('RGB', (32, 32), pixels).save(file, kind)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Return a tiny PNG whose header promises many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack('>I', zlib.crc32(kind + content))
        return struct.pack('>I', len(content)) + kind + content + checksum

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b'\0' * 100)
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        [chunk(b'IHDR', header), chunk(b'IDAT', pixels), chunk(b'IEND', b'')]
    )


def write(root, **contents: bytes) -> ItemFiles:
    for name, content in contents.items():
        (root / f'{name}.png').write_bytes(content)
    return ItemFiles(root, PICTURES)


@pytest.mark.parametrize(
    'kind', ['PNG', 'JPEG', 'WEBP', 'GIF', 'BMP', 'TIFF', 'PPM']
)
def test_open_picture(tmp_path, kind):
    image = open_picture(write(tmp_path, cup=picture(kind=kind)), 'cup')

    assert (image.mode, image.size) == ('RGB', (4, 3))
    red, green, blue = image.getpixel((1, 1))
    assert red > 250
    assert green < 5
    assert blue < 5


@pytest.mark.parametrize(
    ('mode', 'colour', 'expected'),
    [
        ('L', 7, (7, 7, 7)),
        ('RGBA', (1, 2, 3, 255), (1, 2, 3)),
        ('P', 0, (0, 0, 0)),
        ('1', 1, (255, 255, 255)),
    ],
)
def test_open_picture_converts_colours(tmp_path, mode, colour, expected):
    files = write(tmp_path, cup=picture(colour, mode=mode))
    assert open_picture(files, 'cup').getpixel((0, 0)) == expected


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'no picture',
        noise('PNG')[:-100],
        noise('JPEG')[:-100],
        bomb(40, 30),
    ],
    ids=['empty', 'text', 'png', 'jpeg', 'few pixels'],
)
def test_open_picture_refuses_damaged_files(tmp_path, content):
    files = write(tmp_path, cup=content)
    with pytest.raises(ValueError, match=r"cup.png' is not a whole picture"):
        open_picture(files, 'cup')


def test_open_picture_refuses_a_decompression_bomb(tmp_path):
    files = write(tmp_path, cup=bomb(20_000, 20_000))
    with pytest.raises(ValueError, match=r"cup.png' .* decompression bomb"):
        open_picture(files, 'cup')


def test_skip_damaged(tmp_path):
    files = write(
        tmp_path,
        cup=picture(),
        jar=b'no picture',
        pot=bomb(20_000, 20_000),
    )
    with pytest.warns(UserWarning, match=r'2 pictures skipped, .*jar.png'):
        names = skip_damaged(files, ['cup', '', 'jar', 'pot', 'cup'])
    assert names == ['cup', '', '', '', 'cup']

    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert skip_damaged(files, ['cup', '']) == ['cup', '']


@pytest.mark.parametrize('kind', ['jpeg', 'png'])
def test_large_pictures_are_shrunk(tmp_path, kind):
    content = io.BytesIO()
    image = Image.new('RGB', (3000, 1500), 'red')
    image.paste('blue', (0, 0, 1500, 1500))
    image.save(content, kind)
    files = write(tmp_path, cup=content.getvalue())
    small = open_picture(files, 'cup', longest_side=100)
    assert small.size == (100, 50)
    for place, colour in ((25, (0, 0, 255)), (75, (255, 0, 0))):
        found = small.getpixel((place, 25))
        assert max(abs(a - b) for a, b in zip(found, colour, strict=True)) < 4
    assert open_picture(files, 'cup').size == (3000, 1500)
    assert open_picture(files, 'cup', 3000).size == (3000, 1500)


def png(size) -> bytes:
    content = io.BytesIO()
    Image.new('1', size).save(content, 'png')
    return content.getvalue()


def test_pictures_with_too_many_pixels(tmp_path, monkeypatch):
    """What Pillow believes by itself does not matter."""
    write(tmp_path, cup=png((60, 50)))
    for most in (10, 2999, 10**9, None):
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', most)
        files = ItemFiles(tmp_path, PICTURES, Limits(pixels=2999))
        expected = r"cup.png' may be .*60 x 50 .*limits=Limits\(pixels=2999"
        with pytest.raises(ValueError, match=expected):
            open_picture(files, 'cup')
        files = ItemFiles(tmp_path, PICTURES, Limits(pixels=3000))
        assert open_picture(files, 'cup').size == (60, 50)
        assert most == Image.MAX_IMAGE_PIXELS


def test_no_program_is_started_for_a_picture(tmp_path):
    """Ghostscript would run the commands of a file of PostScript."""
    content = io.BytesIO()
    Image.new('RGB', (4, 3)).save(content, 'EPS')
    with pytest.raises(ValueError, match=r"cup.png' is .* none of JPEG"):
        open_picture(write(tmp_path, cup=content.getvalue()), 'cup')


def test_damage_is_found_in_pictures_that_are_shrunk(tmp_path):
    content = io.BytesIO()
    Image.effect_noise((400, 300), 50).save(content, 'JPEG')
    files = write(
        tmp_path, cup=content.getvalue(), pot=content.getvalue()[:-5000]
    )
    with pytest.warns(UserWarning, match=r'1 pictures skipped, .*pot.png'):
        assert skip_damaged(files, ['cup', 'pot'], 50) == ['cup', '']


@pytest.mark.parametrize('ending', sorted(PICTURES))
def test_each_ending_is_that_of_a_format(tmp_path, ending):
    kind = Image.registered_extensions().get(ending)
    if kind not in formats() or kind not in Image.SAVE:
        pytest.skip(f'this Pillow writes no {ending}')
    assert ENDINGS[kind] in PICTURES
    (tmp_path / f'cup{ending.upper()}').write_bytes(picture(kind=kind))
    image = open_picture(ItemFiles(tmp_path, PICTURES), 'cup')
    assert image.size == (4, 3)


@pytest.mark.parametrize('longest_side', [None, 2])
def test_pictures_of_16_bits_keep_their_shades(tmp_path, longest_side):
    shades = []
    for value in (0, 3000, 30000, 60000, 2**16 - 1):
        grey = Image.fromarray(np.full((4, 4), value, np.uint16))
        grey.save(tmp_path / 'cup.png')
        found = open_picture(ItemFiles(tmp_path, PICTURES), 'cup', longest_side)
        shades.append(found.getpixel((0, 0)))
    assert shades == [(x, x, x) for x in (0, 12, 117, 233, 255)]


def test_pictures_that_are_no_shades_are_refused(tmp_path):
    numbers = Image.fromarray(np.full((4, 4), 0.5, np.float32))
    numbers.save(tmp_path / 'cup.tif')
    with pytest.raises(ValueError, match=r'cup.*no shades of grey of 16 bits'):
        open_picture(ItemFiles(tmp_path, PICTURES), 'cup')
