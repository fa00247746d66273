"""Saved models on the Hugging Face Hub; needs the extra ``hub``."""

from __future__ import annotations

import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn
from torch_geometric.data import HeteroData

from pyg_ckd.serving._folder import MANIFEST
from pyg_ckd.serving._load import load
from pyg_ckd.serving._save import save
from pyg_ckd.serving.served import Served

#: The files of a saved model.
FILES = ('*.json', '*.safetensors')


def from_pretrained(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | None = None,
) -> Served:
    """Return a saved model of the Hub, ready to serve.

    It is downloaded once, and read as :func:`~pyg_ckd.serving.load` reads any.

    Args:
        name: The name of a repository, such as ``"me/shop"``; or a folder.
        revision: A branch, a tag or a commit of the repository.
        token: What the Hub knows its reader by, if the repository is private.

    Raises:
        ImportError: If ``huggingface_hub`` is missing.
        ValueError: If the model is broken.
        OSError: If there is no such repository, or it cannot be reached.
    """
    if (Path(name) / MANIFEST).is_file():
        return load(name)
    folder = _hub().snapshot_download(
        os.fspath(name),
        revision=revision,
        token=token,
        allow_patterns=list(FILES),
    )
    return load(folder)


def push_to_hub(
    model: nn.Module,
    data: HeteroData,
    name: str,
    *,
    private: bool = True,
    token: str | None = None,
) -> str:
    """Save a model on the Hub.

    Whoever reads the repository reads who has what, too, as
    ``interactions.safetensors``, so that it is private by default.

    Args:
        model: See :func:`~pyg_ckd.serving.save`.
        data: See there.
        name: The name of a repository, which is made if there is none.
        private: Whether a new one is private.
        token: What the Hub knows its owner by.

    Returns:
        The address of the commit.

    Raises:
        ImportError: If ``huggingface_hub`` is missing.
        OSError: If the Hub refuses it, or cannot be reached.
    """
    api = _hub().HfApi(token=token)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, 'model')
        save(model, data, folder)
        made = api.create_repo(name, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            allow_patterns=list(FILES),
            commit_message='A model of pyg_ckd',
        )
    return str(commit.commit_url)


def _hub() -> Any:
    try:
        return import_module('huggingface_hub')
    except ImportError as error:
        raise ImportError(
            "The Hugging Face Hub needs 'huggingface_hub'; `pip install "
            "'pyg_ckd[hub]'`"
        ) from error
