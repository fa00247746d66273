"""A user's own data."""

from __future__ import annotations

import hashlib
import io
import os
import os.path as osp
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.encode import template_fields
from pyg_ckd.datasets.feature_files import check_modality
from pyg_ckd.datasets.graph_dataset import file_state
from pyg_ckd.datasets.image_encoder import ImageEncoder
from pyg_ckd.datasets.interactions import Interactions
from pyg_ckd.datasets.item_files import ItemFiles
from pyg_ckd.datasets.raw_dataset import (
    Modality,
    RawDataset,
    as_text_encoder,
)
from pyg_ckd.datasets.tables import read_table

if TYPE_CHECKING:
    from PIL.Image import Image

_VERSION = 1  # Of the processed files, to be raised when their content changes.
_PICTURES = {'.jpg', '.jpeg', '.png', '.webp', '.gif', '.bmp', '.tif', '.tiff'}
_OWN = ('image', 'text')  # Modalities that are encoded from contents.


class Catalogue(RawDataset):
    r"""A shop's own interactions and items, as a user-item graph.

    Tables are CSV (``.csv``), TSV (``.tsv``) or Parquet (``.parquet``) files
    with a header. Users and items of the graph are those in the ``k_core`` of
    the interactions, sorted by their ids, see :attr:`users` and :attr:`items`.
    The graph is that of :class:`AmazonMultimodal`, with the modality ``text``
    if there is a ``template``, ``image`` if there are ``images``, and those of
    ``features``. An item without one has the mean of the others, and ``False``
    in ``data['item'].has_<modality>``.

    Args:
        root (str or PathLike): The directory to save results in.
        interactions (str or PathLike): A table, a row an interaction.
        items (str or PathLike, optional): A table, a row an item. Needed for
            texts, ``image_column`` and feature matrices.
            (default: :obj:`None`)
        images (str or PathLike, optional): A folder or zip archive that holds a
            picture for each item, named by its id. (default: :obj:`None`)
        features (dict[str, str or PathLike], optional): For each further
            modality a folder or zip archive of vectors ``<id>.npy``, or a
            single ``.npy`` matrix whose rows belong to those of ``items``.
            (default: :obj:`None`)
        user_column (str, optional): The column of users.
            (default: ``'user'``)
        item_column (str, optional): The column of items, in both tables.
            (default: ``'item'``)
        rating_column (str, optional): The column of ratings, numbers.
            (default: :obj:`None`)
        time_column (str, optional): The column of times, numbers or dates.
            (default: :obj:`None`)
        image_column (str, optional): The column of ``items`` that holds the
            name of the picture, without its ending, where that is not the id
            of the item. (default: :obj:`None`)
        template (str, optional): The text of an item, with columns of ``items``
            in braces, such as ``'{title}. {description}'``.
            (default: :obj:`None`)
        text_encoder (str or callable, optional): As in
            :class:`AmazonMultimodal`. (default: ``'all-MiniLM-L6-v2'``)
        image_encoder (str or callable, optional): A vision model of
            `transformers`, a folder that holds one, or a function from a list
            of :class:`PIL.Image.Image` (RGB) to a matrix. A function is known
            by its ``repr``, which has to name all its settings.
            (default: ``'openai/clip-vit-base-patch32'``)
        k_core (int, optional): The least number of interactions of each user
            and item. (default: :obj:`5`)
        split (str or PathLike, optional): One of ``'random'``, ``'time'``,
            ``'leave_one_out'``, ``'mmrec'`` and ``'lattice'``, or a table of
            the columns ``user``, ``item`` and ``split``, see
            :func:`split_interactions`. (default: ``'mmrec'``)
        seed (int, optional): The seed of the split. (default: :obj:`0`)
        skip_invalid (bool, optional): Whether to skip rows without a user or
            item, repeated pairs of both (the first counts), and damaged
            pictures, and warn how many there were, instead of an error.
            (default: :obj:`False`)
        transform (callable, optional): As in :class:`GraphDataset`.
        pre_transform (callable, optional): As in :class:`GraphDataset`.
        force_reload (bool, optional): As in :class:`GraphDataset`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is malformed, files do not fit each other, or an
            argument is out of range.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = Path(root, 'sales.csv').write_text(
        ...         'user,item\nann,cup\nann,pot\nann,mug\nbob,cup\n'
        ...     )
        ...     _ = Path(root, 'items.csv').write_text(
        ...         'item,title\ncup,A red cup\npot,A pot\nmug,\n'
        ...     )
        ...     dataset = Catalogue(
        ...         root, f'{root}/sales.csv', f'{root}/items.csv',
        ...         template='{title}', k_core=1,
        ...         text_encoder=lambda texts: torch.tensor(
        ...             [[float(len(text))] for text in texts]
        ...         ),
        ...     )
        ...     dataset.items
        ['cup', 'mug', 'pot']
        >>> data = dataset[0]
        >>> data['item'].x_text.view(-1)
        tensor([9.0000, 7.0000, 5.0000])
        >>> data['item'].has_text
        tensor([ True, False,  True])
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        interactions: str | os.PathLike[str],
        items: str | os.PathLike[str] | None = None,
        images: str | os.PathLike[str] | None = None,
        features: Mapping[str, str | os.PathLike[str]] | None = None,
        *,
        user_column: str = 'user',
        item_column: str = 'item',
        rating_column: str | None = None,
        time_column: str | None = None,
        image_column: str | None = None,
        template: str | None = None,
        text_encoder: str | Callable[[list[str]], Tensor] = 'all-MiniLM-L6-v2',
        image_encoder: (
            str | Callable[[list[Image]], Tensor]
        ) = 'openai/clip-vit-base-patch32',
        k_core: int = 5,
        split: str | os.PathLike[str] = 'mmrec',
        seed: int = 0,
        skip_invalid: bool = False,
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        force_reload: bool = False,
    ) -> None:
        self.interactions_path = os.fspath(interactions)
        self.items_path = None if items is None else os.fspath(items)
        self.images_path = None if images is None else os.fspath(images)
        self.features = {
            modality: os.fspath(path)
            for modality, path in sorted((features or {}).items())
        }
        self.user_column = user_column
        self.item_column = item_column
        self.rating_column = rating_column
        self.time_column = time_column
        self.image_column = image_column
        self.template = template
        self.text_encoder = as_text_encoder(text_encoder)
        self.image_encoder = (
            image_encoder
            if callable(image_encoder)
            else ImageEncoder(image_encoder)
        )
        self.k_core = k_core
        self.split = os.fspath(split)
        self.seed = seed
        self.skip_invalid = skip_invalid
        self._check_arguments()
        super().__init__(root, transform, pre_transform, force_reload)

    @property
    def settings(self) -> Any:
        return (
            _VERSION,
            self.interactions_path,
            self.items_path,
            self.images_path,
            self.features,
            self.user_column,
            self.item_column,
            self.rating_column,
            self.time_column,
            self.image_column,
            self.template,
            self.text_encoder if self.template else None,
            self.image_encoder if self.images_path else None,
            self.k_core,
            self.split,
            file_state(self.split) if osp.exists(self.split) else None,
            self.seed,
            self.skip_invalid,
        )

    @property
    def processed_parent(self) -> str:
        return osp.join(self.root, 'processed')

    @property
    def raw_paths(self) -> list[str]:
        paths = (self.interactions_path, self.items_path, self.images_path)
        known = [path for path in paths if path is not None]
        return [*known, *self.features.values()]

    def download(self) -> None:
        missing = [path for path in self.raw_paths if not osp.exists(path)]
        raise FileNotFoundError(f"There is no '{missing[0]}'")

    def read_interactions(self) -> Interactions:
        path = self.interactions_path
        optional = (self.rating_column, self.time_column)
        columns = [self.user_column, self.item_column]
        columns += [column for column in optional if column is not None]
        table = read_table(path, columns)
        pairs = table[columns[:2]]
        is_empty = (pairs == '').any(axis=1)
        self._refuse_rows(is_empty, 'has no user or no item')
        is_twin = pairs.duplicated() & ~is_empty
        self._refuse_rows(is_twin, 'repeats a user and an item of one before')
        table = table[~is_empty & ~is_twin]
        interactions = Interactions.from_ids(
            table[self.user_column].tolist(),
            table[self.item_column].tolist(),
            rating=self._column(table, self.rating_column, _to_rating),
            time=self._column(table, self.time_column, _to_seconds),
        ).core(self.k_core)
        if not interactions.users:
            raise ValueError(
                f"'{path}': no user and item have {self.k_core} interactions "
                f"each with others that do; choose a smaller 'k_core'"
            )
        return interactions

    def read_modalities(self, items: list[str]) -> Iterator[Modality]:
        table = self._read_items()
        if self.images_path is not None:
            yield 'image', *self._encode_images(self.images_path, table, items)
        if self.template is not None:
            assert table is not None
            records = table.reindex(items, fill_value='').to_dict('records')
            encoder, template = self.text_encoder, self.template
            yield 'text', *self.encode_texts(encoder, template, records)
        for modality, path in self.features.items():
            if path.lower().endswith('.npy') and osp.isfile(path):
                assert table is not None
                yield modality, *_rows_of(path, table, items)
            else:
                yield modality, *_vectors_of(path, items)

    def __repr__(self) -> str:
        return f'Catalogue({self.interactions_path!r})'

    def _check_arguments(self) -> None:
        if self.k_core < 1:
            raise ValueError(
                f"'k_core' needs to be at least 1 (got {self.k_core})"
            )
        for modality in self.features:
            reason = check_modality(modality)
            if modality in _OWN:
                reason = 'is that of texts or pictures'
            if reason:
                raise ValueError(
                    f"'features' names the modality {modality!r}, which "
                    f'{reason}; name it otherwise'
                )
        matrices = [
            modality
            for modality, path in self.features.items()
            if path.lower().endswith('.npy')
        ]
        needing = {
            'template': self.template,
            'image_column': self.image_column,
            'features': matrices,
        }
        for argument, value in needing.items():
            if value and self.items_path is None:
                raise ValueError(
                    f"'{argument}' needs the table of 'items' (got "
                    f'{argument}={value!r})'
                )

    def _refuse_rows(self, is_bad: pd.Series[bool], problem: str) -> None:
        """Raise an error for bad rows, or warn that they are skipped."""
        if not is_bad.any():
            return
        path, row = self.interactions_path, int(is_bad.to_numpy().argmax())
        first = f"'{path}', row {row + 1} below the header, {problem}"
        if not self.skip_invalid:
            raise ValueError(
                f"{first}; correct it, or pass 'skip_invalid=True' to leave "
                f'such rows out'
            )
        warnings.warn(
            f'{first}. {int(is_bad.sum())} such rows are left out',
            stacklevel=2,
        )

    def _column(
        self,
        table: pd.DataFrame,
        column: str | None,
        convert: Callable[[pd.Series[Any]], pd.Series[Any]],
    ) -> Tensor | None:
        """Return a column of numbers, or an error that names the first bad."""
        if column is None:
            return None
        values = convert(table[column])
        is_bad = values.isna()
        if is_bad.any():
            row = is_bad[is_bad].index[0]
            raise ValueError(
                f"'{self.interactions_path}', row {row + 1} below the header: "
                f'{column} is {table[column][row]!r}, expected what the first '
                f'rows have: a finite number, or a date for times'
            )
        return torch.from_numpy(values.to_numpy().copy())

    def _read_items(self) -> pd.DataFrame | None:
        if self.items_path is None:
            return None
        columns = [self.item_column]
        if self.image_column is not None:
            columns.append(self.image_column)
        if self.template is not None:
            columns += template_fields(self.template)
        table = read_table(self.items_path, columns)
        is_twin = table[self.item_column].duplicated()
        if is_twin.any():
            row = int(is_twin.to_numpy().argmax())
            item = table[self.item_column][row]
            raise ValueError(
                f"'{self.items_path}', row {row + 1} below the header: item "
                f"'{item}' has a row before; remove one of the two"
            )
        return table.set_index(self.item_column, drop=False)

    def _encode_images(
        self, path: str, table: pd.DataFrame | None, items: list[str]
    ) -> tuple[Tensor, Tensor]:
        files = ItemFiles(path, _PICTURES)
        names = items
        if self.image_column is not None:
            assert table is not None
            column = table[self.image_column]
            names = column.reindex(items, fill_value='').tolist()
        names = [name if name in files else '' for name in names]
        if self.skip_invalid:
            names = _without_damaged(files, names)
        keys = [
            hashlib.sha256(files.read(name)).digest() if name else None
            for name in names
        ]
        images = (_open_image(files, name) for name in names if name)
        return self.encode(self.image_encoder, images, keys, 'image')


def _to_rating(column: pd.Series[Any]) -> pd.Series[Any]:
    values = pd.to_numeric(column, errors='coerce').astype('float32')
    return values.where(np.isfinite(values))


def _to_seconds(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return whole seconds, of numbers as they are and of dates since 1970."""
    numbers = pd.to_numeric(column, errors='coerce')
    if numbers.isna().iloc[:1].all():
        dates = pd.to_datetime(column, errors='coerce', utc=True)
        numbers = dates.astype('int64').where(dates.notna()) // 10**9
    if numbers.isna().any() or not np.isfinite(numbers).all():
        return numbers.where(np.isfinite(numbers))
    return numbers.astype('int64')


def _without_damaged(files: ItemFiles, names: list[str]) -> list[str]:
    """Return names, with ``''`` in place of pictures that cannot be read."""
    whole, damaged = [], []
    for name in names:
        try:
            if name:
                _open_image(files, name)
            whole.append(name)
        except ValueError as error:
            damaged.append(str(error))
            whole.append('')
    if damaged:
        warnings.warn(
            f'{damaged[0]}. {len(damaged)} such pictures are left out',
            stacklevel=2,
        )
    return whole


def _open_image(files: ItemFiles, name: str) -> Image:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(
            "Pictures need 'pillow'; `pip install 'pyg_ckd[features]'`"
        ) from None
    try:
        return Image.open(io.BytesIO(files.read(name))).convert('RGB')
    except Exception as error:  # Pillow raises many kinds on damaged files.
        raise ValueError(
            f"'{files.where(name)}' is not a whole picture ({error})"
        ) from error


def _rows_of(
    path: str, table: pd.DataFrame, items: list[str]
) -> tuple[Tensor, Tensor]:
    matrix = _load(path)
    if matrix.ndim != 2 or len(matrix) != len(table):
        raise ValueError(
            f"'{path}' has the shape {matrix.shape}, expected ({len(table)}, "
            f"num_features): one row for each of 'items'"
        )
    row = pd.Series(np.arange(len(table)), index=table.index)
    rows = row.reindex(items, fill_value=-1).to_numpy()
    has = rows >= 0
    x = np.zeros((len(items), matrix.shape[1]), dtype=np.float32)
    x[has] = matrix[rows[has]]
    _refuse_infinite(path, x)
    return torch.from_numpy(x), torch.from_numpy(has)


def _vectors_of(path: str, items: list[str]) -> tuple[Tensor, Tensor]:
    files = ItemFiles(path, {'.npy'})
    has = torch.tensor([item in files for item in items])
    vectors = {
        item: _load_vector(files, item) for item in items if item in files
    }
    widths = {len(vector): item for item, vector in vectors.items()}
    if len(widths) > 1:
        (one, a), (other, b), *_ = widths.items()
        raise ValueError(
            f"'{files.where(a)}' has {one} numbers, but '{files.where(b)}' has "
            f'{other}; all vectors of a modality need the same length'
        )
    x = np.zeros((len(items), *widths), dtype=np.float32)
    for row, item in enumerate(items):
        if item in vectors:
            x[row] = vectors[item]
            _refuse_infinite(files.where(item), x[row])
    return torch.from_numpy(x), has


def _load_vector(files: ItemFiles, item: str) -> np.ndarray[Any, Any]:
    vector = _load(files.where(item), io.BytesIO(files.read(item)))
    if vector.ndim != 1:
        raise ValueError(
            f"'{files.where(item)}' has the shape {vector.shape}, expected "
            f'(num_features,)'
        )
    return vector


def _load(path: str, file: io.BytesIO | None = None) -> np.ndarray[Any, Any]:
    try:
        array = np.load(file or path, allow_pickle=False)
        return array.astype(np.float32)
    except Exception as error:  # NumPy raises many kinds on a damaged file.
        raise ValueError(
            f"'{path}' is not a whole '.npy' file of numbers ({error}); write "
            f'it anew by `numpy.save`'
        ) from error


def _refuse_infinite(path: str, x: np.ndarray[Any, Any]) -> None:
    if not np.isfinite(x).all():
        raise ValueError(
            f"'{path}' holds NaN or infinity; leave such items out instead"
        )
