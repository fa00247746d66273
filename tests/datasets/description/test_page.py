import base64
import io
import json
import os
import re
import zipfile
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from torch_geometric.data import HeteroData

from pyg_ckd import from_interactions
from pyg_ckd.datasets import FakeMultimodal, Limits, MMRecFolder
from pyg_ckd.datasets._description._page import describe_page
from pyg_ckd.datasets._description.plain import description
from pyg_ckd.graph import RATES

EVIL = (
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '</style></svg><iframe src="https://example.com">',
    '{{ 7 * 7 }}{% raw %}',
    '$x_{',
    '../../secret',
    '\x00\ud800 & é 日本',
)
VOID = {'meta', 'img'}
SECTIONS = [
    'numbers',
    'features',
    'neighbors-0',
    'neighbors-1',
    'missing',
    'degrees',
]


class Page(HTMLParser):
    """Checks that tags match and nothing is loaded, and gathers texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.cards: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(page)
        self.close()
        assert self.open == []
        names = {tag for tag, _ in self.tags}
        assert not names & {'script', 'iframe', 'link', 'object', 'base'}
        for tag, attrs in self.tags:
            assert not [name for name in attrs if name.startswith('on')]
            for name in {'href', 'src'} & attrs.keys():
                assert re.match(r'#|data:image/jpeg;base64,', attrs[name]), tag
        ids = [attrs['id'] for _, attrs in self.tags if 'id' in attrs]
        assert len(ids) == len(set(ids))

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.rows[-1].append('')
        if dict(attrs).get('class') == 'card':
            self.cards.append('')

    def handle_startendtag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())
        if {'td', 'th'} & set(self.open):
            self.rows[-1][-1] += data
        if self.open[-1:] == ['b']:
            self.cards[-1] += data

    @property
    def sections(self) -> list[str]:
        return [attrs['id'] for tag, attrs in self.tags if tag == 'section']

    @property
    def pictures(self) -> list[Image.Image]:
        found = [attrs['src'] for tag, attrs in self.tags if tag == 'img']
        raw = [base64.b64decode(src.split(',')[1]) for src in found]
        return [Image.open(io.BytesIO(content)) for content in raw]

    def row(self, name: str) -> list[str]:
        return next(row[1:] for row in self.rows if row[0] == name)


@pytest.fixture
def written(tmp_path):
    """Write a page; return it."""

    def written(data: HeteroData, *args: object, **kwargs: object) -> Page:
        path = describe_page(data, tmp_path / 'page.html', *args, **kwargs)
        assert os.listdir(tmp_path).count('page.html') == 1
        return Page(path.read_text('utf-8'))

    return written


def shop(num_items: int = 12) -> HeteroData:
    """Return a graph with names, titles and times."""
    random = np.random.default_rng(0)
    user = np.repeat(np.arange(20), 5)
    item = np.concatenate(
        [random.permutation(num_items)[:5] for _ in user[:20]]
    )
    data = from_interactions(
        [f'u{u:02}' for u in user],
        [f'i{i:02}' for i in item],
        time=1e9 + 1e6 * np.arange(100),
        split='leave_one_out',
    )
    num = data['item'].num_nodes
    data['item'].title = [f'Item number {i}' for i in range(num)]
    for name in ('text', 'image'):
        x = random.normal(size=(num, 4))
        data['item'][f'x_{name}'] = torch.from_numpy(x).float()
    return data


def picture(color: str = 'red', size: tuple[int, int] = (300, 400)) -> bytes:
    file = io.BytesIO()
    Image.new('RGB', size, color).save(file, 'PNG')
    return file.getvalue()


def test_page(written):
    data = FakeMultimodal()[0]
    page = written(data, 'A shop')
    assert page.sections == SECTIONS
    assert page.texts.count('A shop') == 2  # title and heading
    assert page.row('users') == ['1,000', '']
    assert page.row('training') == ['10,000', '83.3%']
    assert len(page.cards) == 2 * 8 * 6
    found = description(data)['neighbors']['text']
    shown = f'{found["lift"]["value"]:.2f}'
    assert any(
        text.startswith(f'nearest neighbours share their users {shown}')
        for text in page.texts
    )
    json.dumps(description(data), allow_nan=False)


def test_page_of_names_and_times(written):
    page = written(shop())
    assert page.sections == [*SECTIONS, 'months']
    assert set(page.cards) <= {f'Item number {i}' for i in range(12)}
    assert 'i01' in page.texts
    assert any('Interactions a month' in text for text in page.texts)


def test_the_same_data_gives_the_same_bytes(tmp_path):
    pages = [tmp_path / name for name in ('a.html', 'b.html')]
    for path in pages:
        describe_page(shop(), path)
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_the_graph_is_left_as_it_is(written):
    data = shop()
    before, x = str(data), data['item'].x_text.clone()
    written(data)
    assert str(data) == before and torch.equal(data['item'].x_text, x)


@pytest.mark.parametrize('field', ['title', 'name'])
@pytest.mark.filterwarnings('error')
def test_hostile_names_are_text(written, field):
    data = shop(8)
    data['item'][field] = list(EVIL)
    if field == 'name':
        del data['item'].title
    page = written(data, EVIL[0])
    assert '<script>alert(1)</script>' in page.texts
    assert '{{ 7 * 7 }}{% raw %}' in page.cards
    assert '"><img src=x onerror=alert(1)>' in page.cards
    assert not page.pictures


def test_hostile_names_of_modalities(written):
    data = shop(8)
    for number, name in enumerate(EVIL[:-1]):
        if '.' not in name and '(' not in name:
            data['item'][f'x_{name}'] = torch.randn(8, 3)
            data['item'][f'has_{name}'] = torch.arange(8) != number
    data['item']['x_<b>&"$y_{'] = torch.randn(8, 3)
    page = written(data)
    assert 'Nearest neighbours by <b>&"$y_{' in page.texts


def test_pictures_of_a_folder(written, tmp_path):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    data = shop()
    for name in data['item'].name[:-1]:
        (folder / f'{name}.png').write_bytes(picture())
    page = written(data, pictures=folder)
    frames = [attrs for _, attrs in page.tags if attrs.get('class') == 'frame']
    assert len(page.pictures) + len(frames) == len(page.cards)
    assert frames and {each.size for each in page.pictures} == {(144, 192)}
    assert {each.format for each in page.pictures} == {'JPEG'}


def test_pictures_of_an_archive(written, tmp_path):
    data = shop()
    with zipfile.ZipFile(tmp_path / 'pictures.zip', 'w') as archive:
        for name in data['item'].name:
            archive.writestr(f'shop/{name}.png', picture(size=(30, 20)))
    page = written(data, pictures=tmp_path / 'pictures.zip')
    assert {each.size for each in page.pictures} == {(30, 20)}
    assert len(page.pictures) == len(page.cards)


def test_pictures_are_named_by_numbers_of_the_files(written, tmp_path):
    data = shop()
    del data['item'].name, data['item'].title
    data['item'].original_id = torch.arange(100, 112)
    with zipfile.ZipFile(tmp_path / 'pictures.zip', 'w') as archive:
        for name in range(100, 112):
            archive.writestr(f'{name}.png', picture(size=(30, 20)))
    page = written(data, pictures=tmp_path / 'pictures.zip')
    assert set(page.cards) <= {f'item {name}' for name in range(100, 112)}
    assert len(page.pictures) == len(page.cards)


@pytest.mark.parametrize('kind', ['folder', 'archive'])
def test_nothing_outside_the_pictures_is_read(written, tmp_path, kind):
    data = shop(8)
    names = [f'../outside{i}' for i in range(3)]
    names += [str(tmp_path / f'outside{i}') for i in range(3)]
    data['item'].name = [*names, 'in', './in']
    for i in range(3):
        (tmp_path / f'outside{i}.png').write_bytes(picture())
    folder = tmp_path / 'pictures'
    folder.mkdir()
    if kind == 'folder':
        (folder / 'in.png').write_bytes(picture(size=(10, 10)))
    else:
        folder = tmp_path / 'pictures.zip'
        with zipfile.ZipFile(folder, 'w') as archive:
            archive.writestr('in.png', picture(size=(10, 10)))
            archive.writestr('../other.png', picture())
    page = written(data, pictures=folder)
    assert {each.size for each in page.pictures} == {(10, 10)}


def test_damaged_pictures_are_told(written, tmp_path):
    data = shop()
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for name in data['item'].name:
        (folder / f'{name}.png').write_bytes(picture())
    (folder / 'i01.png').write_bytes(picture()[:200])
    (folder / 'i02.png').write_bytes(b'<svg onload="alert(1)"/>')
    with pytest.warns(UserWarning, match='2 of the pictures of this page') as w:
        page = written(data, pictures=folder)
    assert len(w) == 1
    assert any('2 of the pictures of this page' in text for text in page.texts)
    with pytest.warns(UserWarning, match="raise 'pixels' of limits"):
        page = written(data, pictures=folder, limits=Limits(pixels=100))
    assert not page.pictures


def test_pictures_of_other_items_are_refused(written, tmp_path):
    (tmp_path / 'other.png').write_bytes(picture())
    match = "no picture of any item: it holds 1 pictures, such as 'other.png'"
    with pytest.raises(ValueError, match=match):
        written(shop(), pictures=tmp_path)
    with pytest.raises(FileNotFoundError, match='no folder or zip archive'):
        written(shop(), pictures=tmp_path / 'none')
    assert not (tmp_path / 'page.html').exists()


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / 'page.html'
    path.write_text('before')
    data = shop()
    data['item'].x_text[3, 2] = torch.nan
    with pytest.raises(ValueError, match='x_text has nan in row 3, column 2'):
        describe_page(data, path)
    assert path.read_text() == 'before'
    assert os.listdir(tmp_path) == ['page.html']


def test_missing_modalities(written):
    data = shop()
    data['item'].has_text = torch.arange(12) >= 3
    data['item'].has_image = torch.arange(12) >= 2
    page = written(data)
    assert ['text, image', '2', '16.7%'] in page.rows
    assert ['text', '1', '8.3%'] in page.rows
    assert ['nothing', '9', '75.0%'] in page.rows
    assert {'Item number 0', 'Item number 1'}.isdisjoint(page.cards)
    assert any(
        '25.0%' in (attrs.get('aria-label') or '') for _, attrs in page.tags
    )


def test_a_modality_that_all_lack(written):
    data = shop()
    data['item'].has_text = torch.zeros(12, dtype=torch.bool)
    page = written(data)
    assert page.sections.count('neighbors-0') == 1
    assert 'neighbors-1' not in page.sections
    assert any('no two items to compare' in text for text in page.texts)


def test_equal_features_are_told(written):
    data = shop()
    data['item'].x_text[[1, 4, 7]] = data['item'].x_text[2].clone()
    data['item'].x_image[5] = 0
    page = written(data)
    text = ' '.join(page.texts)
    assert '4 items have the very same features of text' in text
    assert '4 items have features that another has to the bit, in 1' in text
    assert '1 item has only zeros as features of image' in text
    numbers = description(data)['neighbors']
    assert (numbers['text']['equal'], numbers['image']['zeros']) == (4, 1)


def test_a_graph_without_features(written):
    data = shop()
    del data['item'].x_text, data['item'].x_image
    page = written(data)
    assert page.sections == ['numbers', 'features', 'degrees', 'months']
    assert any('Items have no features' in text for text in page.texts)


@pytest.mark.parametrize('edges', ['none', 'no type'])
def test_a_graph_without_training(written, edges):
    data = shop()
    if edges == 'none':
        data[RATES].edge_index = torch.empty(2, 0, dtype=torch.long)
        del data[RATES].time
    else:
        del data[RATES]
    page = written(data)
    assert 'degrees' not in page.sections
    assert len(page.cards) == 2 * 8 * 6
    text = ' '.join(page.texts)
    assert 'there are no interactions of training' in text
    assert '8 items, drawn by a fixed seed' in text
    assert description(data)['neighbors']['text']['lift'] is None


def test_a_graph_of_nearly_nothing(written):
    data = HeteroData()
    data['user'].num_nodes = data['item'].num_nodes = 1
    data[RATES].edge_index = torch.tensor([[0], [0]])
    data['item'].x_text = torch.ones(1, 2)
    page = written(data)
    assert page.sections == ['numbers', 'features', 'missing', 'degrees']
    data['item'].x_text = torch.ones(0, 2)
    data['user'].num_nodes = data['item'].num_nodes = 0
    data[RATES].edge_index = torch.empty(2, 0, dtype=torch.long)
    assert written(data).sections == ['numbers', 'features']


def test_what_is_held_out_and_in_training_is_a_leak(written):
    data = shop()
    rates = data[RATES]
    rates.test_edge_label_index = rates.edge_index[:, :5].clone()
    page = written(data)
    assert any('in two splits' in text for text in page.texts)


def test_arrays_and_other_numbers(written):
    data = shop()
    plain = written(data).texts
    data['item'].x_text = data['item'].x_text.numpy()
    data[RATES].edge_index = data[RATES].edge_index.numpy().astype(np.int32)
    data[RATES].time = data[RATES].time.numpy()
    assert written(data).texts == plain


def test_page_of_lastfm(tmp_path, shared, written):
    root = shared / 'data'
    if not (root / 'lastfm-2k').is_dir():
        pytest.skip("needs the folder 'lastfm-2k' in 'shared/data'")
    data = MMRecFolder(root, 'lastfm-2k', processed_root=tmp_path / 'out')[0]
    page = written(data, 'Last.fm')
    assert page.sections[-1] == 'degrees'
    row = page.row('text')
    assert row[:2] == ['384', '0.708']
    assert float(row[-2].split()[0]) == pytest.approx(3.1, abs=0.05)
    assert float(row[-1].split()[0]) == pytest.approx(1.0, abs=0.05)


def test_titles_that_are_none_and_control_characters(tmp_path):
    data = FakeMultimodal(num_users=50, num_items=20)[0]
    data['item'].title = [None, float('nan'), 'a\0\x1bcup', *['pot'] * 17]
    page = describe_page(data, tmp_path / 'shop.html').read_text('utf-8')
    assert not set(page) & set('\0\x1b')
    assert '>None<' not in page and '>nan<' not in page


def test_only_files_are_written(tmp_path):
    data = FakeMultimodal(num_users=50, num_items=20)[0]
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(FileExistsError, match='is no file; choose another'):
        describe_page(data, tmp_path / 'pipe')
    assert [*tmp_path.iterdir()] == [tmp_path / 'pipe']
    with pytest.raises(TypeError, match='take a graph out of its data set'):
        describe_page(FakeMultimodal(), tmp_path / 'shop.html')
