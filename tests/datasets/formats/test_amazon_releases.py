import gzip
import json
import re

import pytest

from pyg_ckd.datasets.formats import amazon_2014, amazon_2018, amazon_2023
from pyg_ckd.datasets.formats.amazon_releases import (
    AMAZON_2014,
    AMAZON_2018,
    AMAZON_2023,
    RELEASES,
)

# A review and a product of each release, in their true forms:
REVIEWS = {
    AMAZON_2014: {
        'reviewerID': 'A1', 'asin': 'B1', 'reviewerName': 'Ann',
        'helpful': [2, 3], 'reviewText': 'With "parent_asin".',
        'overall': 5.0, 'summary': 'Good', 'unixReviewTime': 1252800000,
        'reviewTime': '09 13, 2009',
    },
    AMAZON_2018: {
        'overall': 5.0, 'vote': '1,002', 'verified': True,
        'reviewTime': '09 13, 2009', 'reviewerID': 'A1', 'asin': 'B1',
        'style': {'Size:': ' L', 'Color:': ' Black'}, 'reviewerName': 'Ann',
        'reviewText': 'With "helpful": and "user_id":',
        'summary': 'Good', 'unixReviewTime': 1252800000,
        'image': ['https://images-na.ssl-images-amazon.com/images/I/1.jpg'],
    },
    AMAZON_2023: {
        'rating': 5.0, 'title': 'Good', 'text': 'With "helpful":',
        'images': [], 'asin': 'B1', 'parent_asin': 'B1', 'user_id': 'AE1',
        'timestamp': 1588687728923, 'helpful_vote': 0,
        'verified_purchase': True,
    },
}  # fmt: skip
PRODUCTS = {
    AMAZON_2014: {
        'asin': 'B1', 'title': 'A cup', 'price': 3.17,
        'imUrl': 'http://ecx.images-amazon.com/images/I/1.jpg',
        'related': {'also_viewed': ['B2']}, 'salesRank': {'Toys': 211836},
        'brand': 'Acme', 'categories': [['Home', 'Cups']],
    },
    AMAZON_2018: {
        'category': ['Home', 'Cups'], 'tech1': '', 'description': ['A cup'],
        'fit': '', 'title': 'A cup', 'also_buy': [], 'tech2': '',
        'brand': 'Acme', 'feature': [], 'rank': '9 in Home', 'also_view': [],
        'main_cat': 'Home', 'similar_item': '', 'date': '', 'price': '$3.17',
        'asin': 'B1', 'imageURL': [], 'imageURLHighRes': [],
    },
    AMAZON_2023: {
        'main_category': 'Home', 'title': 'A cup', 'average_rating': 4.8,
        'rating_number': 10, 'features': [], 'description': [], 'price': None,
        'images': [], 'videos': [], 'store': 'Acme', 'categories': [],
        'details': {'UPC': '1'}, 'parent_asin': 'B1', 'bought_together': None,
    },
}  # fmt: skip
READERS = {
    AMAZON_2014: amazon_2014,
    AMAZON_2018: amazon_2018,
    AMAZON_2023: amazon_2023,
}


def write(path, text):
    with gzip.open(path, 'wt') as file:
        file.write(text + '\n')
    return path


@pytest.mark.parametrize('release', RELEASES, ids=lambda x: x.year)
@pytest.mark.parametrize('other', RELEASES, ids=lambda x: x.year)
@pytest.mark.parametrize('skip_invalid', [False, True])
def test_files_of_another_release(tmp_path, release, other, skip_invalid):
    reader = READERS[release]
    reviews = write(tmp_path / 'a.gz', json.dumps(REVIEWS[other]))
    products = [write(tmp_path / 'b.gz', json.dumps(PRODUCTS[other]))]
    if other is AMAZON_2014:  # Literals of Python, as in the original.
        products += [write(tmp_path / 'c.gz', repr(PRODUCTS[other]))]

    def read(path):
        return list(
            reader.read_metadata(path, ['B1'], skip_invalid=skip_invalid)
        )

    if release is other:
        assert reader.read_reviews(reviews, skip_invalid).items == ['B1']
        assert all(len(read(path)) == 1 for path in products)
        return
    end = (
        f'is of the release of {other.year}, which {other.reader} reads, not '
        f'{release.reader}'
    )
    with pytest.raises(ValueError, match=f"^'{reviews}' {end}$"):
        reader.read_reviews(reviews, skip_invalid)
    for path in products:
        with pytest.raises(ValueError, match=f"^'{path}' {end}$"):
            read(path)


def test_categories():
    assert [len(release.categories) for release in RELEASES] == [24, 29, 34]
    for release in RELEASES:
        for category in release.categories:
            release.check_category(category)
            assert re.fullmatch(r'\w+', category)


@pytest.mark.parametrize(
    ('release', 'category', 'message'),
    [
        (
            AMAZON_2014,
            'Prime_Pantry',
            '2014, but of that of 2018, which Amazon20',
        ),
        (AMAZON_2014, 'Baby_Products', '2023, which AmazonReviews2023 reads'),
        (
            AMAZON_2018,
            'Baby',
            '2018, but of that of 2014, which AmazonMultimodal',
        ),
        (AMAZON_2023, 'Luxury_Beauty', '2018, which Amazon2018 reads'),
        (AMAZON_2023, 'baby', "did you mean 'Baby_Products'"),
        (AMAZON_2023, 'Elektronics', "did you mean 'Electronics'"),
        (AMAZON_2023, '', "^'' is not a category; choose from All_Beauty, Am"),
        (AMAZON_2018, '../x', "'../x' is not a category; choose from AMAZON_"),
    ],
)
def test_categories_of_another_release(release, category, message):
    with pytest.raises(ValueError, match=message):
        release.check_category(category)


def test_urls():
    path = AMAZON_2023.metadata.format('All_Beauty')
    folder, file = AMAZON_2023.file(path)
    assert folder == 'raw/meta_categories'
    assert file.name == 'meta_All_Beauty.jsonl.gz'
    assert file.urls[0] == (
        'https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw/'
        'meta_categories/meta_All_Beauty.jsonl.gz'
    )
    folder, file = AMAZON_2018.file(AMAZON_2018.reviews.format('Books'))
    assert (folder, file.name) == ('categoryFilesSmall', 'Books_5.json.gz')


def test_folders_of_another_release(tmp_path):
    AMAZON_2014.check_folder(str(tmp_path / 'none'), 'Books')
    AMAZON_2014.check_folder(str(tmp_path), 'Books')
    (tmp_path / 'Books.jsonl.gz').write_bytes(b'')
    message = (
        "holds 'Books.jsonl.gz' of the release of 2023, which "
        'AmazonReviews2023 reads, not AmazonMultimodal'
    )
    with pytest.raises(ValueError, match=message):
        AMAZON_2014.check_folder(str(tmp_path), 'Books')
    (tmp_path / 'reviews_Books_5.json.gz').write_bytes(b'')
    AMAZON_2014.check_folder(str(tmp_path), 'Books')
