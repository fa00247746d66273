"""Pictures of items."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

from PIL import Image

from pyg_ckd.datasets.features.item_files import ItemFiles

PICTURES = frozenset(
    {'.jpg', '.jpeg', '.png', '.webp', '.gif', '.bmp', '.tif', '.tiff'}
)


def open_picture(
    files: ItemFiles, name: str, longest_side: int | None = None
) -> Image.Image:
    """Return a picture in the colours red, green and blue.

    Args:
        files: The files of pictures.
        name: The name of the picture, without its ending.
        longest_side: Larger pictures are shrunk to so many pixels a side, JPEG
            while it is decoded, which takes less memory and time.

    Raises:
        ValueError: If it is damaged, or has more pixels than
            ``PIL.Image.MAX_IMAGE_PIXELS``, which can be raised.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            file = Image.open(io.BytesIO(files.read(name)))
        if longest_side is None or max(file.size) <= longest_side:
            return file.convert('RGB')
        file.draft('RGB', (longest_side, longest_side))
        image = file.convert('RGB')
        image.thumbnail((longest_side, longest_side))
        return image
    except Exception as error:  # Pillow raises many kinds on damaged files.
        raise ValueError(
            f"'{files.where(name)}' is not a whole picture ({error}); replace "
            f'it, or pass skip_invalid=True to skip such pictures'
        ) from error


def skip_damaged(files: ItemFiles, names: Sequence[str]) -> list[str]:
    """Return names, with ``''`` in place of pictures that cannot be opened.

    Args:
        files: The files of pictures.
        names: The names of the pictures, ``''`` where there is none.
    """
    whole, problems = [], []
    for name in names:
        try:
            if name:
                open_picture(files, name)
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
