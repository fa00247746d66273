import pytest

from pyg_ckd.datasets.raw.text_form import likely_form

COMMAS = 'save it with commas, or as .tsv with tabs'
TABS = 'save it with tabs, or as .csv with commas'
GERMAN = 'Kunde;Preis\nJürgen;3,50 €\n'


def form(root, content, separator=','):
    path = root / 'a.csv'
    path.write_bytes(content)
    return likely_form(str(path), separator)


@pytest.mark.parametrize(
    ('header', 'separator', 'expected'),
    [
        ('user;item', ',', f"looks separated by ';': {COMMAS}"),
        ('user;item;price, EUR', ',', f"looks separated by ';': {COMMAS}"),
        ('"user, or so";"item"', ',', f"looks separated by ';': {COMMAS}"),
        ('user|item', ',', f"looks separated by '|': {COMMAS}"),
        ('user\titem', ',', f'looks separated by tabs: {COMMAS}'),
        ('user,item', '\t', f'looks separated by commas: {TABS}'),
        ('user;item', '\t', f"looks separated by ';': {TABS}"),
        ('user,item', ',', ''),
        ('user,item;sku', ',', ''),
        ('user,"item;sku;id"', ',', ''),
        ('user', ',', ''),
        ('user item', ',', ''),
        ('', ',', ''),
    ],
)
def test_likely_form_tells_separators(tmp_path, header, separator, expected):
    content = f'{header}\nann,x;y|z\n'.encode() if header else b''
    assert form(tmp_path, content, separator) == expected


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-16-be'])
def test_likely_form_tells_utf_16(tmp_path, encoding):
    expected = 'looks written in UTF-16: save it as UTF-8'
    content = 'user,item\nПривет,мир\n'.encode(encoding)
    assert form(tmp_path, content) == expected
    expected = f"looks separated by ';' and {expected[6:]} {COMMAS[8:]}"
    assert form(tmp_path, GERMAN.encode(encoding)) == expected


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('user,item\nann,ok\nann,Grün\n', "'Grün' in line 3"),
        ('user,item\nann,"5 €"\n', "'€' in line 2"),
        ('Größe,item\n', "'Größe' in line 1"),
        ('item,title\nx,“Été” à la crème\n', "'“Été”' in line 2"),
    ],
)
def test_likely_form_tells_windows_1252(tmp_path, text, shown):
    expected = f'looks written in Windows-1252 ({shown}): save it as UTF-8'
    assert form(tmp_path, text.encode('cp1252')) == expected
    assert form(tmp_path, text.encode()) == ''
    assert form(tmp_path, text.encode('utf-8-sig')) == ''


def test_likely_form_tells_both(tmp_path):
    assert form(tmp_path, GERMAN.encode('cp1252')) == (
        "looks separated by ';' and written in Windows-1252 ('Jürgen' in line "
        '2): save it as UTF-8 with commas, or as .tsv with tabs'
    )


@pytest.mark.parametrize(
    'content',
    [
        'user,item\nПривет,мир\n'.encode('cp1251'),
        'user,item\nこんにちは,世界\n'.encode('shift-jis'),
        'user,item\n你好,世界\n'.encode('gbk'),
        b'user,item\nann,\x81\n',
        b'user,item\nann,a\x86bcde\n',
        b'\0' * 100,
    ],
    ids=['cp1251', 'shift-jis', 'gbk', 'undefined', 'odd sign', 'zeros'],
)
def test_likely_form_does_not_tell_others(tmp_path, content):
    assert form(tmp_path, content) == ''


def test_no_more_than_the_start_of_a_file_is_looked_at(tmp_path):
    """A character that is cut there is no sign of another encoding."""
    line = b'user,item\n' + b'\n' * 7 + '€'.encode() * 2**20
    assert form(tmp_path, line, ',') == ''
    line = b'user,item\n' + b'xy\xe9' * 1000 + b'\n' * 2**20
    shown = form(tmp_path, line, ',')
    assert 'Windows-1252' in shown
    assert len(shown) < 150
