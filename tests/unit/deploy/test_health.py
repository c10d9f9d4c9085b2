"""What a container's health check says of the service in it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deploy.compose.health import is_ready


class Answering(HTTPServer):
    answer: tuple[int, bytes] = (200, b"")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Answering)
        status, body = self.server.answer
        self.send_response(status if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Nothing is logged."""


@pytest.fixture
def server() -> Iterator[Answering]:
    with Answering(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "ready"),
    [
        (200, b'{"status": "pass"}', True),
        (200, b'{"status": "warn"}', True),
        (503, b'{"status": "fail"}', False),
        (200, b"nonsense", False),
        (200, b"[]", False),
        (500, b"", False),
    ],
)
def test_ready_is_what_the_service_says(server: Answering, status: int, body: bytes, ready: bool) -> None:
    server.answer = (status, body)
    assert is_ready(server.server_port) is ready


def test_a_service_that_does_not_answer_is_not_ready(server: Answering) -> None:
    port = server.server_port
    server.shutdown()
    server.server_close()
    assert not is_ready(port)
