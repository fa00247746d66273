"""Servers that begin to answer in time."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Event, Timer
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class PromptAdapter(HTTPAdapter):
    """Gives up on a server whose headers are not whole within the timeout.

    The timeout of `requests` is that between two bytes, so that a server which
    sends one after the other holds a client for ever. What follows the headers
    may take as long as it likes.

    Example:
        >>> import requests
        >>> with requests.Session() as session:
        ...     session.mount('https://', PromptAdapter())
        ...     type(session.get_adapter('https://example.org')).__name__
        'PromptAdapter'
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the connections to servers."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connections by way of a proxy."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _Prompt(HTTPConnection):
    """A connection that is closed where its answer does not begin in time."""

    def getresponse(self) -> Any:
        """Return the answer once its headers are whole."""
        if not isinstance(self.timeout, int | float):
            return super().getresponse()
        late = Event()
        timer = Timer(self.timeout, self._give_up, [late])
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()
        except Exception as error:  # As many kinds as there are places.
            if late.is_set():
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()
        if late.is_set():  # Headers that break off count as whole.
            response.close()
            raise TimeoutError
        return response

    def _give_up(self, late: Event) -> None:
        late.set()
        connection = self.sock
        if connection is not None:
            with suppress(OSError):  # It is closed already.
                # That of TLS would change what the reader is using:
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _PromptTLS(_Prompt, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Prompt


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _PromptTLS


_POOLS = {'http': _Pool, 'https': _PoolTLS}
