"""No body of a request is longer than a limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class SizeLimit:
    """Refuses requests whose body is too long, however it comes.

    Args:
        app (callable): The application inside.
        most (int): The largest number of bytes.
    """

    def __init__(self, app: App, most: int) -> None:
        self.app = app
        self.most = most

    async def __call__(
        self, scope: Message, receive: Receive, send: Send
    ) -> None:
        """Answer a request, or refuse it."""
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return
        body, more = b'', True
        while more:
            message = await receive()
            if message['type'] != 'http.request':  # the other side has gone
                return
            body += message.get('body', b'')
            more = message.get('more_body', False)
            if len(body) > self.most:
                await _refuse(send, self.most)
                return
        held: list[Message] = [{'type': 'http.request', 'body': body}]

        async def replay() -> Message:
            return held.pop() if held else await receive()

        await self.app(scope, replay, send)


async def _refuse(send: Send, most: int) -> None:
    text = f'{{"detail": "A body has {most} bytes at most"}}'.encode()
    head = [(b'content-type', b'application/json'), (b'connection', b'close')]
    await send({'type': 'http.response.start', 'status': 413, 'headers': head})
    await send({'type': 'http.response.body', 'body': text})
