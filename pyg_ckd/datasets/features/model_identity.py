"""What tells a model that encodes from others."""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path


class ModelIdentity:
    """The name of a model, or a digest of what its local folder holds.

    It is that of the moment it is first asked for.

    Args:
        model (str or PathLike): A name on a hub, or a folder.

    Example:
        >>> ModelIdentity('all-MiniLM-L6-v2').name
        'all-MiniLM-L6-v2'
    """

    def __init__(self, model: str | os.PathLike[str]) -> None:
        self.model = os.fspath(model)

    @cached_property
    def name(self) -> str:
        """The name, or the digest."""
        return model_identity(self.model)

    def check(self) -> None:
        """Refuse a folder that has changed since its digest was taken.

        Features of the new content would be kept as those of the old one.

        Raises:
            ValueError: If it has.
        """
        if self.name != model_identity(self.model):
            raise ValueError(
                f"'{self.model}' has changed since the encoder was made; make "
                f'the encoder anew'
            )


def model_identity(model: str) -> str:
    """Return the name of a model, or a digest of what its local folder holds.

    Args:
        model: A name on a hub, or a folder.
    """
    folder = Path(model)
    if not folder.is_dir():
        return model
    digest = hashlib.sha256()
    for path in sorted(folder.rglob('*')):
        if path.is_file():
            name = path.relative_to(folder).as_posix().encode()
            digest.update(len(name).to_bytes(8, 'little') + name)
            digest.update(path.stat().st_size.to_bytes(8, 'little'))
            with path.open('rb') as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return f'sha256:{digest.hexdigest()[:16]}'
