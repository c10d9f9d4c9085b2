"""RabbitMQ's management HTTP API, as far as provisioning needs it."""

import base64
import json
import urllib.error
import urllib.request
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

_SECONDS: Final = 30
_NOT_FOUND: Final = 404
_UNAUTHORIZED: Final = 401


class BrokerRefused(Exception):
    """The broker's HTTP API said no, in its own words."""


class BrokerAdmin:
    """One administrator at one broker."""

    def __init__(self, url: str) -> None:
        """`url` is `http(s)://user:password@host:port`, with a path before `/api` if there is one."""
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self._base = f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path.rstrip('/')}/api"
        pair = f"{unquote(parts.username or 'guest')}:{unquote(parts.password or 'guest')}"
        self._authorization = "Basic " + base64.b64encode(pair.encode()).decode()

    def answers(self) -> bool:
        """Whether the API is up; a refusal of our password is an answer and raised."""
        try:
            self.get("whoami")
        except (urllib.error.URLError, OSError):
            return False
        return True

    def get(self, *path: str) -> Any:
        """Read something; None if it does not exist."""
        return self._call("GET", path)

    def put(self, *path: str, body: object = None) -> None:
        self._call("PUT", path, {} if body is None else body)

    def post(self, *path: str, body: object) -> Any:
        return self._call("POST", path, body)

    def delete(self, *path: str) -> None:
        """Remove something; nothing happens if it does not exist."""
        self._call("DELETE", path)

    def _call(self, method: str, path: tuple[str, ...], body: object = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - an operator's own setting
            "/".join((self._base, *(quote(part, safe="") for part in path))),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": self._authorization, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
                text = answer.read()
        except urllib.error.HTTPError as error:
            if error.code == _NOT_FOUND and method in ("GET", "DELETE"):
                return None
            raise BrokerRefused(f"{method} {'/'.join(path)}: {error.code} {_reason(error)}") from error
        return json.loads(text) if text else None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        told = json.loads(error.read())
    except ValueError:
        return error.reason
    return str(told.get("reason") or told) if isinstance(told, dict) else str(told)
