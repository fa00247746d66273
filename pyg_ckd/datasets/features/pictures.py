"""Pictures of items."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from threading import Lock

import numpy as np
from PIL import Image, UnidentifiedImageError

from pyg_ckd.datasets.features.item_files import ItemFiles

#: What files may hold, whatever their ending, as Pillow calls it, and what such
#: a file ends in. Pillow knows more, and starts other programs to read some.
ENDINGS = {
    **{'JPEG': '.jpg', 'MPO': '.jpg', 'PNG': '.png', 'WEBP': '.webp'},
    **{'GIF': '.gif', 'BMP': '.bmp', 'TIFF': '.tif', 'PPM': '.ppm'},
    **{'AVIF': '.avif'},
}
#: The endings of pictures, in whichever way they are written.
PICTURES = frozenset({*ENDINGS.values(), '.jpeg', '.tiff'})
_PILLOW = Lock()
_WHITE = 2**16 - 1  # of pictures in grey of 16 bits


def open_picture(
    files: ItemFiles, name: str, longest_side: int | None = None
) -> Image.Image:
    """Return a picture in the colours red, green and blue.

    Nothing is decoded before its number of pixels is known.

    Args:
        files: The files of pictures, and their limits.
        name: The name of the picture, without its ending.
        longest_side: Larger pictures are shrunk to so many pixels a side, JPEG
            while it is decoded, which takes less memory and time.

    Raises:
        ValueError: If it is damaged, or larger than the limits ``file`` and
            ``pixels``.
    """
    content = files.read(name)
    try:
        with _most_pixels(files.limits.pixels):
            file = Image.open(io.BytesIO(content), formats=formats())
    except UnidentifiedImageError as error:
        known = ', '.join(formats())
        raise _damaged(files, name, f'it is none of {known}') from error
    except Image.DecompressionBombError as error:
        raise _too_large(files, name, str(error)) from error
    except Exception as error:
        raise _damaged(files, name, error) from error
    width, height = file.size
    if width * height > files.limits.pixels:
        raise _too_large(files, name, f'it has {width} x {height} pixels')
    try:
        return _decode(file, longest_side)
    except Exception as error:  # Pillow raises many kinds on damaged files.
        raise _damaged(files, name, error) from error


def skip_damaged(
    files: ItemFiles, names: Sequence[str], longest_side: int | None = None
) -> list[str]:
    """Return names, with ``''`` in place of pictures that cannot be opened.

    Args:
        files: The files of pictures.
        names: The names of the pictures, ``''`` where there is none.
        longest_side: As in :func:`open_picture`.
    """
    whole, problems = [], []
    for name in names:
        try:
            if name:
                open_picture(files, name, longest_side)
            whole.append(name)
        except ValueError as error:
            problems.append(error)
            whole.append('')
    if problems:
        warnings.warn(
            f"'{files.path}': {len(problems)} pictures skipped, the first of "
            f'them because of: {problems[0]}',
            stacklevel=2,
        )
    return whole


@cache
def formats() -> list[str]:
    """Return the formats that this Pillow reads, of :obj:`ENDINGS`."""
    Image.init()
    return [name for name in ENDINGS if name in Image.OPEN]


def _decode(file: Image.Image, longest_side: int | None) -> Image.Image:
    if longest_side is None or max(file.size) <= longest_side:
        return _to_rgb(file)
    file.draft('RGB', (longest_side, longest_side))
    image = file if file.mode == 'RGB' else _to_rgb(file)
    image.thumbnail((longest_side, longest_side))
    return image.copy()


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return a picture in 8 bits a colour; Pillow would cut 16 off at 255."""
    if image.mode not in ('I', 'F') and not image.mode.startswith('I;'):
        return image.convert('RGB')
    values = np.asarray(image).astype(np.float64)
    if image.mode == 'F' or values.min() < 0 or values.max() > _WHITE:
        raise ValueError('its numbers are no shades of grey of 16 bits')
    grey = (values * (255 / _WHITE)).round().astype(np.uint8)
    return Image.fromarray(grey).convert('RGB')


@contextmanager
def _most_pixels(pixels: int) -> Iterator[None]:
    """Have Pillow open pictures of so many pixels."""
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        most = Image.MAX_IMAGE_PIXELS
        if most is not None:
            Image.MAX_IMAGE_PIXELS = max(most, pixels)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = most


def _damaged(files: ItemFiles, name: str, problem: object) -> ValueError:
    return ValueError(
        f"'{files.where(name)}' is not a whole picture ({problem}); replace "
        f'it, or pass skip_invalid=True to skip such pictures'
    )


def _too_large(files: ItemFiles, name: str, problem: str) -> ValueError:
    return ValueError(
        f"'{files.where(name)}' may be a decompression bomb: {problem}, more "
        f'than {files.limits.pixels:,}; {files.limits.remedy("pixels")}, or '
        f'pass skip_invalid=True to skip such pictures'
    )
