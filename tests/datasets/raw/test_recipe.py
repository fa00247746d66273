import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.raw.recipe import RawFile, Recipe

# The categories of the Amazon product data of 2014:
CATEGORIES = [
    'Amazon_Instant_Video',
    'Apps_for_Android',
    'Automotive',
    'Baby',
    'Beauty',
    'Books',
    'CDs_and_Vinyl',
    'Cell_Phones_and_Accessories',
    'Clothing_Shoes_and_Jewelry',
    'Digital_Music',
    'Electronics',
    'Grocery_and_Gourmet_Food',
    'Health_and_Personal_Care',
    'Home_and_Kitchen',
    'Kindle_Store',
    'Movies_and_TV',
    'Musical_Instruments',
    'Office_Products',
    'Patio_Lawn_and_Garden',
    'Pet_Supplies',
    'Sports_and_Outdoors',
    'Tools_and_Home_Improvement',
    'Toys_and_Games',
    'Video_Games',
]
# The users, items and reviews of published 5-cores:
STATISTICS = {
    'Baby': (19_445, 7_050, 160_792),
    'Beauty': (22_363, 12_101, 198_502),
    'Books': (603_668, 367_982, 8_898_041),
    'CDs_and_Vinyl': (75_258, 64_443, 1_097_592),
    'Cell_Phones_and_Accessories': (27_879, 10_429, 194_439),
    'Clothing_Shoes_and_Jewelry': (39_387, 23_033, 278_677),
    'Electronics': (192_403, 63_001, 1_689_188),
    'Movies_and_TV': (123_960, 50_052, 1_697_533),
    'Office_Products': (4_905, 2_420, 53_258),
    'Pet_Supplies': (19_856, 8_510, 157_836),
    'Sports_and_Outdoors': (35_598, 18_357, 296_337),
    'Tools_and_Home_Improvement': (16_638, 10_217, 134_476),
    'Toys_and_Games': (19_412, 11_924, 167_597),
    'Video_Games': (24_303, 10_672, 231_780),
}
SHA256 = 'aB' * 32
FILES = """
[files.reviews]
name = "reviews_Films_5.json.gz"
urls = ["https://example.org/a.gz", "http://mirror.example.org/a.gz"]

[files.metadata]
name = "meta_Films.json.gz"
urls = ["https://example.org/b.gz"]

[files.image]
name = "image_Films.npy"
urls = ["https://example.org/c.npy"]
sha256 = "{SHA256}"
""".replace('{SHA256}', SHA256)
STATISTICS_TABLE = """
[statistics]
users = 3
items = 2
interactions = 5
"""
RECIPE = STATISTICS_TABLE + FILES


def load(folder, text):
    path = folder / 'Films.toml'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Recipe.load(path)


def error_of(folder, text):
    with pytest.raises(ValueError, match='Films') as info:
        load(folder, text)
    message = str(info.value)
    assert message.startswith(f"'{folder / 'Films.toml'}': ")
    return message


def test_recipe_categories():
    assert Recipe.categories() == CATEGORIES


@pytest.mark.parametrize('name', CATEGORIES)
def test_recipe_of_category(name):
    recipe = Recipe.load(name)
    assert recipe.name == name
    categories = 'snap.stanford.edu/data/amazon/productGraph/categoryFiles'
    images = (
        'snap.stanford.edu/data/amazon/productGraph/'
        'image_features/categoryFiles'
    )
    addresses = {
        'reviews': f'{categories}/reviews_{name}_5.json.gz',
        'metadata': f'{categories}/meta_{name}.json.gz',
        'image': f'{images}/image_features_{name}.b',
    }
    assert recipe.files == {
        key: RawFile(
            address.rpartition('/')[2],
            (f'https://{address}', f'http://{address}'),
        )
        for key, address in addresses.items()
    }
    if name in STATISTICS:
        assert recipe.statistics == dict(
            zip(
                ['users', 'items', 'interactions'],
                STATISTICS[name],
                strict=True,
            )
        )
    else:
        assert recipe.statistics is None


@pytest.mark.parametrize(
    ('name', 'closest'),
    [
        ('baby', 'Baby'),
        ('Sports', 'Sports_and_Outdoors'),
        ('clothing', 'Clothing_Shoes_and_Jewelry'),
        ('tools', 'Tools_and_Home_Improvement'),
        ('Kitchen', 'Home_and_Kitchen'),
        ('Videogames', 'Video_Games'),
        ('CDs & Vinyl', 'CDs_and_Vinyl'),
    ],
)
def test_recipe_unknown_category(name, closest):
    with pytest.raises(ValueError, match='is not a category') as info:
        Recipe.load(name)
    message = str(info.value)
    assert message.startswith(
        f"'{name}' is not a category (did you mean '{closest}'?); choose from "
    )
    assert ', '.join(CATEGORIES) in message
    assert "'.toml'" in message


def test_recipe_unlike_any_category():
    with pytest.raises(ValueError, match="'qqq' is not a category; choose"):
        Recipe.load('qqq')


@pytest.mark.parametrize(
    'name',
    [
        '../recipes/Baby',
        './Baby',
        'Baby/',
        '/Baby',
        'Baby\0',
        '..',
        '',
        '__init__',
    ],
)
def test_recipe_name_is_no_path(name):
    with pytest.raises(ValueError, match='is not a category'):
        Recipe.load(name)


def test_recipe_from_path(tmp_path, monkeypatch):
    recipe = load(tmp_path, RECIPE)
    assert recipe == Recipe(
        'Films',
        {
            'reviews': RawFile(
                'reviews_Films_5.json.gz',
                ('https://example.org/a.gz', 'http://mirror.example.org/a.gz'),
            ),
            'metadata': RawFile(
                'meta_Films.json.gz', ('https://example.org/b.gz',)
            ),
            'image': RawFile(
                'image_Films.npy',
                ('https://example.org/c.npy',),
                SHA256.lower(),
            ),
        },
        {'users': 3, 'items': 2, 'interactions': 5},
    )
    assert list(recipe.files) == ['reviews', 'metadata', 'image']
    assert load(tmp_path, FILES) == recipe._replace(statistics=None)

    load(tmp_path, RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    for path in ['Films.toml', './Films.toml', '~/Films.toml']:
        assert Recipe.load(path) == recipe


def test_recipe_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='Films'):
        Recipe.load(tmp_path / 'Films.toml')
    # A category by its file name is a path, too:
    with pytest.raises(FileNotFoundError, match='Baby'):
        Recipe.load(tmp_path / 'Baby.toml')


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('[files', 'at end of document'),
        ('users 3', 'at line 1, column 7'),
        (RECIPE + '[files.image]', "'files', 'image'"),
        (b'name = "\xff"', "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_recipe_not_toml(tmp_path, text, expected):
    assert expected in error_of(tmp_path, text)


def test_recipe_missing_key(tmp_path):
    assert "'files' is missing; add it" in error_of(tmp_path, '')
    for key in ['reviews', 'metadata', 'image']:
        head, tail = RECIPE.split(f'[files.{key}]')
        _, *others = tail.split('[files')
        message = error_of(tmp_path, '[files'.join([head, *others]))
        assert f"'files.{key}' is missing; add it" in message
    for line, key in [
        ('name = "image_Films.npy"', 'files.image.name'),
        ('urls = ["https://example.org/c.npy"]', 'files.image.urls'),
        ('users = 3', 'statistics.users'),
        ('items = 2', 'statistics.items'),
        ('interactions = 5', 'statistics.interactions'),
    ]:
        message = error_of(tmp_path, RECIPE.replace(line, ''))
        assert f"'{key}' is missing; add it" in message


def test_recipe_unknown_key(tmp_path):
    for text, key in [
        (f'licence = "MIT"\n{RECIPE}', 'licence'),
        (f'{RECIPE}[mirrors]\n', 'mirrors'),
        (f'{RECIPE}[files.audio]\n', 'files.audio'),
        (f'{RECIPE}md5 = "0"\n', 'files.image.md5'),
        (RECIPE.replace('items', 'ratings = 1\nitems'), 'statistics.ratings'),
    ]:
        assert f"'{key}' is unknown; remove it" in error_of(tmp_path, text)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('files = 1', "'files' is 1, expected a table [files]"),
        (
            'statistics = []\n' + FILES,
            "'statistics' is [], expected a table [statistics]",
        ),
        (
            '[files]\nreviews = 1\nmetadata = 2\nimage = 3',
            "'files.reviews' is 1, expected a table [files.reviews]",
        ),
    ],
)
def test_recipe_no_table(tmp_path, text, expected):
    assert expected in error_of(tmp_path, text)


@pytest.mark.parametrize(
    'number', ['0', '-1', '3.0', '"3"', 'true', '[3]', 'nan', '1979-05-27']
)
def test_recipe_statistics_no_number(tmp_path, number):
    text = RECIPE.replace('users = 3', f'users = {number}')
    message = error_of(tmp_path, text)
    assert "'statistics.users' is " in message
    assert 'expected a positive integer' in message


@pytest.mark.parametrize(
    'name',
    [
        '../a.gz',
        'a/b.gz',
        '/a.gz',
        r'a\\b.gz',
        'C:a.gz',
        '..',
        '.gz',
        '.a.gz',
        'a..gz',
        'a.',
        'SHA256SUMS',
        'a b.gz',
        r'a.gz\n',
        r'a.gz\u0000',
        '',
    ],
)
def test_recipe_name_of_file(tmp_path, name):
    text = RECIPE.replace('"image_Films.npy"', f'"{name}"')
    message = error_of(tmp_path, text)
    assert "'files.image.name' is '" in message
    assert "expected a plain file name, such as 'a.json.gz'" in message
    assert "'files.image.name' is 1," in error_of(
        tmp_path, RECIPE.replace('"image_Films.npy"', '1')
    )


@pytest.mark.parametrize(
    ('urls', 'got'),
    [
        ('[]', '[]'),
        ('"https://example.org/a.gz"', "'https://example.org/a.gz'"),
        ('["https://example.org/a.gz", 1]', '1'),
        ('["example.org/a.gz"]', "'example.org/a.gz'"),
        ('["ftp://example.org/a.gz"]', "'ftp://example.org/a.gz'"),
        ('["file:///a.gz"]', "'file:///a.gz'"),
        ('["https://"]', "'https://'"),
        ('["https://example.org/a b.gz"]', "'https://example.org/a b.gz'"),
        ('[["https://example.org/a.gz"]]', "['https://example.org/a.gz']"),
    ],
)
def test_recipe_urls(tmp_path, urls, got):
    text = RECIPE.replace('["https://example.org/b.gz"]', urls)
    message = error_of(tmp_path, text)
    assert f"'files.metadata.urls' is {got}, expected a" in message
    assert 'URL' in message


@pytest.mark.parametrize(
    'sha256', ['""', f'"{SHA256[:-1]}"', f'"{SHA256}0"', f'"{"g" * 64}"', '1']
)
def test_recipe_sha256(tmp_path, sha256):
    message = error_of(tmp_path, RECIPE.replace(f'"{SHA256}"', sha256))
    assert "'files.image.sha256' is " in message
    assert 'expected 64 hexadecimal digits' in message


def test_recipe_sha256_is_missing(tmp_path):
    text = RECIPE.replace(f'sha256 = "{SHA256}"', '')
    message = error_of(tmp_path, text)
    assert "'files.image.sha256' is missing; add it" in message
    for name in ['image.b', 'image.npy.gz']:
        recipe = load(tmp_path, text.replace('image_Films.npy', name))
        assert recipe.files['image'].sha256 is None


def test_recipe_two_files_of_a_name(tmp_path):
    text = RECIPE.replace('meta_Films.json.gz', 'reviews_Films_5.json.gz')
    message = error_of(tmp_path, text)
    assert "'reviews_Films_5.json.gz' names two files; rename one" in message


LINES = RECIPE.split('\n')
VALUES = st.recursive(
    st.sampled_from(
        ['1', '-1', '1.5', 'true', '"a.gz"', '"../a"', '"http://a.b/c.gz"']
    ),
    lambda values: (
        st.lists(values, max_size=3).map(', '.join).map('[{}]'.format)
        | values.map('{{name = {0}, urls = {0}}}'.format)
    ),
    max_leaves=4,
)


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from([line for line in LINES if '=' in line]),
    st.sampled_from(['name', 'urls', 'sha256', 'users']),
    VALUES,
)
def test_recipe_any_value(tmp_path_factory, line, key, value):
    """Whatever a line says, the file is read or refused, by its name."""
    path = tmp_path_factory.getbasetemp() / 'Films.toml'
    path.write_text(RECIPE.replace(line, f'{key} = {value}'))
    try:
        recipe = Recipe.load(path)
    except ValueError as error:
        assert str(error).startswith(f"'{path}': ")
    else:
        assert all(number > 0 for number in recipe.statistics.values())
        for file in recipe.files.values():
            assert '/' not in file.name
            assert file.urls
            assert all(url.startswith('http') for url in file.urls)


def test_recipes_that_are_hostile(tmp_path):
    path = tmp_path / 'a.toml'
    for content, expected in (
        ('a = ' + '[' * 100_000, 'recursion|nest'),
        ('a = 0x' + 'f' * 20_000, "'files' is missing"),
        ('files = 0x' + 'f' * 20_000, "'files' is too long to print"),
        ('files = ' + '9' * 20_000, '4300 digits'),
        ('a = "' + 'x' * 2**20 + '"', 'more than 1,048,576 bytes'),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=f'a.toml.*({expected})'):
            Recipe.load(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match=r"a.toml' is no regular file"):
        Recipe.load(path)
