"""On a package index, no link of the README is relative."""

import re
import runpy
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HOME = 'https://example.org/we/pyg_ckd'


def test_links_of_the_release_are_absolute() -> None:
    absolute = runpy.run_path(str(REPOSITORY / '.ci' / 'readme.py'))['absolute']
    before = (REPOSITORY / 'README.md').read_text(encoding='utf-8')
    after = absolute(before, HOME, 'v1')

    links = re.findall(r'(!?)\[[^\]]*\]\(([^)]+)\)', after)
    assert all(link.startswith('https://') for _, link in links)
    ours = [(image, link) for image, link in links if link.startswith(HOME)]
    assert len(ours) == len(re.findall(r'\]\((?!\w+:)', before)) > 10
    for image, link in ours:
        kind = 'raw' if image else 'blob'
        path = link.removeprefix(f'{HOME}/{kind}/v1/')
        assert (REPOSITORY / path).is_file()
