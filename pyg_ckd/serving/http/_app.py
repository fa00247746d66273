"""The service."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field, Strict, StrictInt

from pyg_ckd._version import __version__
from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.serving._names import Name, Names
from pyg_ckd.serving.http.live import Live
from pyg_ckd.serving.http.pictures import Pictures
from pyg_ckd.serving.http.size_limit import SizeLimit
from pyg_ckd.serving.served import Served

Answer = TypeVar('Answer')
#: Names as requests may have them.
Asked = Annotated[str, Strict(), Field(max_length=500)] | StrictInt


class Many(BaseModel):
    """Whom to recommend to: known users, or people with a history."""

    model_config = ConfigDict(extra='forbid')

    users: list[Asked] = Field(default=[], max_length=1000)
    histories: list[list[Asked]] = Field(default=[], max_length=1000)
    skip_unknown: bool = False
    k: int = Field(default=10, ge=1, le=1000)
    candidates: list[Asked] | None = Field(default=None, max_length=100_000)
    exclude_known: bool = True
    view: (
        Annotated[str, Strict(), Field(max_length=500)]
        | Annotated[list[str], Field(max_length=100)]
        | None
    ) = None


def create_app(
    folder: str | os.PathLike[str],
    *,
    pictures: str | os.PathLike[str] | None = None,
    probe: int | None = None,
    every: float = 5.0,
    longest: int = 2**20,
) -> FastAPI:
    """Return the application, for any ASGI server.

    Answers are JSON. ``GET /`` is a page for people, ``GET /docs`` describes
    each request. Whatever a request says is looked up among the names of users
    and items; no path, no code and no view is made of it.

    Args:
        folder: A saved model, or a folder of them, see :class:`Live`.
        pictures: A folder or zip archive with pictures, each named by its
            item.
        probe: The number of cells to search, see
            :class:`~pyg_ckd.serving.FaissIndex`; all items by default.
        every: How many seconds pass until it looks for a newer model.
        longest: The largest body of a request, in bytes.

    Raises:
        FileNotFoundError: If there is no saved model.
        ValueError: If it cannot be loaded, or an argument is out of range.

    Example:
        >>> from fastapi.testclient import TestClient
        >>> import tempfile
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import Popularity
        >>> from pyg_ckd.serving import save
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Popularity.from_data(data), data, f'{folder}/shop')
        ...     client = TestClient(create_app(f'{folder}/shop'))
        >>> len(client.get('/recommend', params={'user': 7, 'k': 3}).json())
        1
    """
    check_whole('create_app', longest=longest)
    live = Live(folder, every, probe)
    shown = None if pictures is None else Pictures(pictures)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        live.start()
        yield
        live.stop()

    app = FastAPI(
        title='pyg_ckd',
        version=__version__,
        lifespan=lifespan,
        dependencies=[Depends(_check_names)],
    )
    app.add_middleware(SizeLimit, most=longest)
    app.state.live, app.state.pictures = live, shown

    @app.exception_handler(RequestValidationError)
    def refuse(request: Request, error: RequestValidationError) -> Response:
        """Say what is wrong, without the values, which may be anything."""
        if request.method == 'POST' and not _has_json(request):
            wanted = "Send JSON, by the header 'content-type: application/json'"
            return _json({'detail': wanted}, 415)
        told = [
            {'loc': one['loc'], 'msg': one['msg'], 'type': one['type']}
            for one in error.errors()
        ]
        return _json({'detail': told}, 422)

    @app.exception_handler(HTTPException)
    def fail(request: object, error: HTTPException) -> Response:
        return _json({'detail': error.detail}, error.status_code)

    @app.head('/health', include_in_schema=False)
    @app.get('/health')
    def health() -> dict[str, Any]:
        """Say what is served, and since when."""
        served = live.served
        return {
            'status': 'ok',
            'model': served.about.get('name'),
            'data': served.about.get('data'),
            'metrics': served.about.get('metrics'),
            'users': served.users.size,
            'items': served.items.size,
            'views': list(served.view_names()),
            'since': live.since.isoformat(timespec='seconds'),
        }

    @app.get('/recommend')
    def recommend_some(
        user: Annotated[list[str], Query(min_length=1, max_length=100)],
        k: Annotated[int, Query(ge=1, le=1000)] = 10,
        view: str = '',
        exclude_known: bool = True,
    ) -> list[dict[str, Any]]:
        """Return the best items of some users."""
        served = live.served
        users = [served.users.find(text) for text in user]
        found = _or_404(
            lambda: served.recommend(
                users, k, exclude_known=exclude_known, view=view or None
            )
        )
        return _listed(served, found.users, found)

    @app.post('/recommend')
    def recommend_many(request: Many) -> list[dict[str, Any]]:
        """Return the best items of users, or of people with a history."""
        served = live.served
        options: dict[str, Any] = {
            'candidates': request.candidates,
            'exclude_known': request.exclude_known,
            'view': request.view,
        }
        users, histories = request.users, request.histories
        if request.skip_unknown:
            users = _known(served.users, users)
            histories = [_known(served.items, items) for items in histories]
            histories = [items for items in histories if items]
            if options['candidates'] is not None:
                options['candidates'] = _known(
                    served.items, options['candidates']
                )
        known = _or_404(lambda: served.recommend(users, request.k, **options))
        new = _or_404(
            lambda: served.recommend_new(histories, request.k, **options)
        )
        found = _listed(served, known.users, known)
        found += _listed(served, [None] * len(new), new)
        return _with_unknown(served, request, found)

    @app.get('/similar')
    def similar(
        item: str,
        k: Annotated[int, Query(ge=1, le=1000)] = 10,
        modality: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return the items that are most like another one."""
        served = live.served
        found = _or_404(
            lambda: served.similar_items(
                served.items.find(item), k, modality=modality
            )
        )
        return [_entry(served, *pair) for pair in found]

    @app.get('/explain')
    def explain(user: str, item: str) -> dict[str, Any]:
        """Say what a recommendation owes to each modality."""
        served = live.served
        found = _or_404(
            lambda: served.explain(
                served.users.find(user), served.items.find(item)
            )
        )
        return {
            'user': found.user,
            'item': served.items.find(item),
            'title': served.title(served.items.find(item)),
            'score': found.score,
            'rank': found.rank,
            'effect': found.effect,
            'num_ranked': found.num_ranked,
            'known': found.known,
            'sentence': found.sentence,
        }

    @app.get('/history')
    def history(user: str) -> list[dict[str, Any]]:
        """Return what a user has."""
        served = live.served
        items = _or_404(lambda: served.history(served.users.find(user)))
        return [_entry(served, item, None) for item in items[:1000]]

    @app.get('/search')
    def search(
        text: Annotated[str, Query(max_length=500)] = '',
        node: Annotated[str, Query(pattern='^(user|item)$')] = 'user',
    ) -> list[dict[str, Any]]:
        """Return users or items whose name or title begins so, or has it."""
        served = live.served
        if node == 'user':
            return [{'name': x} for x in served.users.search(text)]
        return [_entry(served, x, None) for x in served.search_items(text)]

    @app.get('/picture')
    def picture(item: str) -> Response:
        """Return the picture of an item."""
        found = None if shown is None else shown.read(item)
        if found is None:
            raise HTTPException(404, f'There is no picture of {item!r}')
        body, kind = found
        head = {'cache-control': 'max-age=3600'}
        return Response(body, media_type=kind, headers=head)

    @app.get('/', response_class=HTMLResponse, include_in_schema=False)
    def page() -> str:
        """Return the page for people."""
        place = files('pyg_ckd.serving.http') / 'page.html'
        return place.read_text('utf-8')

    return app


def _check_names(request: Request) -> None:
    """Refuse parameters that a request does not have."""
    route = request.scope['route']
    asked = route.dependant.query_params  # codespell:ignore dependant
    known = {parameter.alias for parameter in asked}
    given = Counter(name for name, _ in request.query_params.multi_items())
    for name, number in given.items():
        if name not in known:
            raise HTTPException(
                422, f'There is no parameter {name!r}, but {sorted(known)}'
            )
        if number > 1 and name != 'user':
            raise HTTPException(422, f'The parameter {name!r} is there twice')


def _has_json(request: Request) -> bool:
    return 'json' in request.headers.get('content-type', '')


def _json(values: dict[str, Any], status: int) -> Response:
    """Return an answer whose text may hold anything that was asked for."""
    text = json.dumps(values, default=str)
    return Response(text, status, media_type='application/json')


def _or_404(call: Callable[[], Answer]) -> Answer:
    """Return what is asked for, or say what is not there."""
    try:
        return call()
    except (ValueError, TypeError) as error:
        raise HTTPException(404, str(error)) from error


def _known(names: Names, asked: Iterable[Name]) -> list[Name]:
    return [name for name in asked if name in names]


def _with_unknown(
    served: Served, request: Many, found: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return an answer for each request, with the names that nobody knows."""
    if not request.skip_unknown:
        return found
    left = iter(found)
    answers: list[dict[str, Any]] = []
    for user in request.users:
        unknown = [] if user in served.users else [user]
        entry = {'user': user, 'items': []} if unknown else next(left)
        answers.append({**entry, 'unknown': unknown})
    for items in request.histories:
        unknown = [name for name in items if name not in served.items]
        some = len(unknown) < len(items)
        entry = next(left) if some else {'user': None, 'items': []}
        answers.append({**entry, 'unknown': unknown})
    return answers


def _listed(
    served: Served,
    users: Sequence[Name | None],
    lists: Iterable[list[tuple[Name, float]]],
) -> list[dict[str, Any]]:
    return [
        {'user': user, 'items': [_entry(served, *pair) for pair in found]}
        for user, found in zip(users, lists, strict=True)
    ]


def _entry(served: Served, item: Name, score: float | None) -> dict[str, Any]:
    entry: dict[str, Any] = {'item': item}
    if score is not None:
        entry['score'] = score
    if served.titles is not None:
        entry['title'] = served.title(item)
    return entry
