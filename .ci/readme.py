"""Let the links of `README.md` lead to a repository, as package indices need.

    python .ci/readme.py https://github.com/OWNER/pyg_ckd v0.2.0

changes the file, which is for a checkout that is thrown away.
"""

import re
import sys
from pathlib import Path

README = Path('README.md')
LINK = re.compile(r'(!?)\[([^\]]*)\]\((?!\w+:|#)([^)]+)\)')


def absolute(text: str, repository: str, revision: str) -> str:
    """Return a text whose relative links lead to a revision on GitHub."""

    def link(found: re.Match[str]) -> str:
        image, words, path = found.groups()
        kind = 'raw' if image else 'blob'
        return f'{image}[{words}]({repository}/{kind}/{revision}/{path})'

    return LINK.sub(link, text)


if __name__ == '__main__':
    text = README.read_text(encoding='utf-8')
    README.write_text(absolute(text, *sys.argv[1:]), encoding='utf-8')
