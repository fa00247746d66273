"""The releases of Amazon's reviews, and how to tell them apart."""

from __future__ import annotations

import os
import os.path as osp
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain

from pyg_ckd.datasets.raw.recipe import RawFile, Recipe


@dataclass(frozen=True)
class Release:
    """A release of Amazon's reviews.

    Args:
        year: When it was collected.
        reader: The class that reads it.
        categories: Its categories.
        servers: Where its files are, in the order in which they are tried.
        reviews: The path of a category's reviews below a server, with
            ``{}`` for the category.
        metadata: That of its products.
        marks: What only its lines have.
    """

    year: int
    reader: str
    categories: tuple[str, ...]
    servers: tuple[str, ...]
    reviews: str
    metadata: str
    marks: re.Pattern[bytes]

    def file(self, path: str) -> tuple[str, RawFile]:
        """Return the folder of a file, and where to download it from.

        Args:
            path: The path below each server.

        Example:
            >>> folder, file = AMAZON_2018.file('metaFiles2/meta_X.json.gz')
            >>> folder, file.name, file.urls[1]
            ('metaFiles2', 'meta_X.json.gz',
             'https://jmcauley.ucsd.edu/data/amazon_v2/metaFiles2/meta_X.json.gz')
        """
        urls = tuple(f'{server}{path}' for server in self.servers)
        return osp.dirname(path), RawFile(osp.basename(path), urls)

    def check_category(self, category: str) -> None:
        """Refuse what is no category of this release.

        Raises:
            ValueError: If it is none. The message names the class that reads a
                category of another release.

        Example:
            >>> AMAZON_2018.check_category('Baby_Products')
            Traceback (most recent call last):
                ...
            ValueError: 'Baby_Products' is no category of the release of 2018,
            but of that of 2023, which AmazonReviews2023 reads
        """
        self.check_other(category)
        if category in self.categories:
            return
        part = category.lower()
        closest = [
            name for name in self.categories if part and part in name.lower()
        ] or get_close_matches(category, self.categories, n=1)
        hint = f" (did you mean '{closest[0]}'?)" if closest else ''
        raise ValueError(
            f"'{category}' is not a category{hint}; choose from "
            f'{", ".join(self.categories)}'
        )

    def check_other(self, category: str) -> None:
        """Refuse a category that only another release has.

        Raises:
            ValueError: If it is one. The message names the class that reads it.
        """
        if category in self.categories:
            return
        for other in RELEASES:
            if category in other.categories:
                raise ValueError(
                    f"'{category}' is no category of the release of "
                    f'{self.year}, but of that of {other.year}, which '
                    f'{other.reader} reads'
                )

    def check_lines(
        self,
        path: str | os.PathLike[str],
        lines: Iterable[tuple[int, bytes]],
    ) -> Iterator[tuple[int, bytes]]:
        """Yield lines, unless the first of them is of another release.

        Args:
            path: The file, for messages.
            lines: The number and content of each line.

        Raises:
            ValueError: If it is. The message names the class that reads it.
        """
        lines = iter(lines)
        for number, text in lines:
            for other in RELEASES:
                if other.marks.search(text) and not self.marks.search(text):
                    raise ValueError(
                        f"'{path}' is of the release of {other.year}, which "
                        f'{other.reader} reads, not {self.reader}'
                    )
            yield from chain([(number, text)], lines)

    def check_folder(self, folder: str, category: str) -> None:
        """Refuse a folder that holds files of other releases only.

        Raises:
            ValueError: If it does. The message names the class that reads them.
        """
        if not osp.isdir(folder):
            return
        names = set(os.listdir(folder))
        if self._names(category) & names:
            return
        for other in RELEASES:
            if found := other._names(category) & names:
                raise ValueError(
                    f"'{folder}' holds '{min(found)}' of the release of "
                    f'{other.year}, which {other.reader} reads, not '
                    f'{self.reader}'
                )

    def _names(self, category: str) -> set[str]:
        """Return the names of a category's files."""
        paths = self.reviews, self.metadata
        return {osp.basename(path.format(category)) for path in paths}


AMAZON_2014 = Release(
    year=2014,
    reader='AmazonMultimodal',
    categories=tuple(Recipe.categories()),
    servers=('https://snap.stanford.edu/data/amazon/productGraph/',),
    reviews='categoryFiles/reviews_{}_5.json.gz',
    metadata='categoryFiles/meta_{}.json.gz',
    marks=re.compile(rb"""['"](helpful|imUrl|salesRank|related)['"]:"""),
)
AMAZON_2018 = Release(
    year=2018,
    reader='Amazon2018',
    categories=(
        'AMAZON_FASHION',
        'All_Beauty',
        'Appliances',
        'Arts_Crafts_and_Sewing',
        'Automotive',
        'Books',
        'CDs_and_Vinyl',
        'Cell_Phones_and_Accessories',
        'Clothing_Shoes_and_Jewelry',
        'Digital_Music',
        'Electronics',
        'Gift_Cards',
        'Grocery_and_Gourmet_Food',
        'Home_and_Kitchen',
        'Industrial_and_Scientific',
        'Kindle_Store',
        'Luxury_Beauty',
        'Magazine_Subscriptions',
        'Movies_and_TV',
        'Musical_Instruments',
        'Office_Products',
        'Patio_Lawn_and_Garden',
        'Pet_Supplies',
        'Prime_Pantry',
        'Software',
        'Sports_and_Outdoors',
        'Tools_and_Home_Improvement',
        'Toys_and_Games',
        'Video_Games',
    ),
    servers=(
        'https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/',
        'https://jmcauley.ucsd.edu/data/amazon_v2/',
        'https://datarepo.eng.ucsd.edu/mcauley_group/data/amazon_v2/',
    ),
    reviews='categoryFilesSmall/{}_5.json.gz',
    metadata='metaFiles2/meta_{}.json.gz',
    marks=re.compile(
        rb'"(verified|imageURL|imageURLHighRes|main_cat|also_view)":'
    ),
)
AMAZON_2023 = Release(
    year=2023,
    reader='AmazonReviews2023',
    categories=(
        'All_Beauty',
        'Amazon_Fashion',
        'Appliances',
        'Arts_Crafts_and_Sewing',
        'Automotive',
        'Baby_Products',
        'Beauty_and_Personal_Care',
        'Books',
        'CDs_and_Vinyl',
        'Cell_Phones_and_Accessories',
        'Clothing_Shoes_and_Jewelry',
        'Digital_Music',
        'Electronics',
        'Gift_Cards',
        'Grocery_and_Gourmet_Food',
        'Handmade_Products',
        'Health_and_Household',
        'Health_and_Personal_Care',
        'Home_and_Kitchen',
        'Industrial_and_Scientific',
        'Kindle_Store',
        'Magazine_Subscriptions',
        'Movies_and_TV',
        'Musical_Instruments',
        'Office_Products',
        'Patio_Lawn_and_Garden',
        'Pet_Supplies',
        'Software',
        'Sports_and_Outdoors',
        'Subscription_Boxes',
        'Tools_and_Home_Improvement',
        'Toys_and_Games',
        'Video_Games',
        'Unknown',  # Products of no category.
    ),
    servers=(
        'https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/',
        'https://datarepo.eng.ucsd.edu/mcauley_group/data/amazon_2023/',
    ),
    reviews='raw/review_categories/{}.jsonl.gz',
    metadata='raw/meta_categories/meta_{}.jsonl.gz',
    marks=re.compile(rb'"(parent_asin|user_id)":'),
)
RELEASES = (AMAZON_2014, AMAZON_2018, AMAZON_2023)
