"""``pyg-ckd serve``: recommendations by HTTP."""

from __future__ import annotations

import logging
import socket
from argparse import Namespace
from pathlib import Path
from typing import Any

from pyg_ckd.experiments.cli.arguments import add_parser, positive_number
from pyg_ckd.experiments.cli.output import messages

EPILOG = """\
examples:
  pyg-ckd serve models/shop
  pyg-ckd serve models --port 80 --host 0.0.0.0 --pictures pictures

FOLDER is a saved model, or a folder of them, of which the one that was saved
last is served. Another one is taken up as soon as it is there. `/` is a page
to look at, and `/docs` describes each request. It needs the extra `serve`.
"""


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = add_parser(
        commands,
        'serve',
        help='answer requests for recommendations by HTTP',
        description='Answer requests for recommendations by HTTP.',
        epilog=EPILOG,
    )
    add = parser.add_argument
    add('folder', metavar='FOLDER', type=Path, help='where models are saved')
    add(
        '--host',
        default='127.0.0.1',
        help='the address to listen at; 0.0.0.0 for all (default: 127.0.0.1, '
        'for this machine alone)',
    )
    add(
        '--port',
        default=8000,
        type=positive_number,
        metavar='N',
        help='(default: 8000)',
    )
    add(
        '--pictures',
        type=Path,
        metavar='PATH',
        help='a folder or zip archive with pictures, each named by its item',
    )
    add(
        '--probe',
        type=positive_number,
        metavar='N',
        help='search N cells of an approximate index, for large '
        'catalogues; needs the extra `faiss` (default: '
        'look at all items)',
    )
    parser.set_defaults(call=call)


def call(args: Namespace) -> int:
    """Serve until it is stopped."""
    try:
        import uvicorn

        from pyg_ckd.serving.http import create_app
    except ImportError as error:
        raise ImportError(
            f"'pyg-ckd serve' needs {error.name}; `pip install "
            f"'pyg_ckd[serve]'`"
        ) from error
    import torch

    # Requests run side by side, each in a thread of its own:
    torch.set_num_threads(1)
    logging.basicConfig(format='%(asctime)s %(message)s')
    logging.getLogger('pyg_ckd.serving').setLevel(logging.INFO)
    app = create_app(args.folder, pictures=args.pictures, probe=args.probe)
    served, pictures = app.state.live.served, app.state.pictures
    lines = [f'Serves {served} at http://{args.host}:{args.port}']
    if pictures is not None:
        names = served.items.of(range(served.items.size))
        number = sum(name in pictures for name in names)
        lines.append(f'{number} of {len(names)} items have a picture')
    with _listening(args.host, args.port) as place:
        for line in lines:
            messages().print(
                line, soft_wrap=True, highlight=False, markup=False
            )
        config = uvicorn.Config(app, log_level='warning')
        uvicorn.Server(config).run(sockets=[place])
    return 0


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket at an address, before anything is promised."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    # Only where the protocol is named does asyncio send without delay:
    place = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((host, port))
        return place
    except OSError as error:
        place.close()
        raise ValueError(
            f"'--host' {host} and '--port' {port} cannot be listened at "
            f'({error.strerror or error}); choose another'
        ) from error
