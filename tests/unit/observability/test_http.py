"""The operators' pages, asked over HTTP."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from deploy.services import load_all
from shared.observability.asyncapi import asyncapi_document
from shared.observability.health import Check, Group, Health, Observation, Status
from shared.observability.http import asyncapi_page, create_app
from shared.observability.metrics import Metrics


@dataclass
class Page:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Site:
    """A served app whose readiness the test sets."""

    port: int = 0
    status: Status = Status.PASS
    metrics: Metrics = field(default_factory=lambda: Metrics("errorlog"))

    async def probe(self) -> Observation:
        return Observation(self.status)

    async def get(self, path: str, method: str = "GET", accept: str = "*/*") -> Page:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        raw = await reader.read()
        writer.close()
        await writer.wait_closed()
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in rest)
        return Page(int(first.split()[1]), headers, body)


def document() -> dict[str, Any]:
    return next(asyncapi_document(service) for service in load_all() if service.name == "errorlog")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    health = Health("errorlog", [Check("postgres:responseTime", "datastore", site.probe, frozenset({Group.READY}))])
    app = create_app("errorlog", health, site.metrics.registry, document())
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        site.port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, server_header=False, lifespan="off"))
        serving = asyncio.create_task(server.serve([listening]))
        while not server.started:  # noqa: ASYNC110  uvicorn has nothing to wait for
            await asyncio.sleep(0.01)
        yield site
        server.should_exit = True
        await serving


async def test_health_is_told_in_the_format_for_machines_and_never_kept(site: Site) -> None:
    page = await site.get("/healthz")
    assert page.status == 200
    assert page.headers["content-type"] == "application/health+json"
    assert page.headers["cache-control"] == "no-store"
    assert "server" not in page.headers
    body = json.loads(page.body)
    assert body["serviceId"] == "errorlog"
    assert body["checks"]["postgres:responseTime"][0]["componentType"] == "datastore"


async def test_a_broken_database_means_not_ready_but_alive(site: Site) -> None:
    site.status = Status.FAIL
    assert (await site.get("/readyz")).status == 503
    assert (await site.get("/livez")).status == 200


async def test_metrics_are_readable_by_prometheus(site: Site) -> None:
    site.metrics.messages_handled_total.labels("log_error", "done").inc()
    plain = await site.get("/metrics")
    open_metrics = await site.get("/metrics", accept="application/openmetrics-text")
    assert b'messages_handled_total{handler="log_error",outcome="done"} 1.0' in plain.body
    assert plain.headers["content-type"].startswith("text/plain")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.body.endswith(b"# EOF\n")


async def test_the_document_is_served_as_json_and_as_a_page(site: Site) -> None:
    served = await site.get("/docs/asyncapi.json")
    page = await site.get("/docs/asyncapi")
    assert json.loads(served.body) == document()
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"errorlog.error.complete.v1" in page.body


@pytest.mark.parametrize(
    ("path", "method", "status", "code"),
    [("/nothing", "GET", 404, "path_not_found"), ("/metrics", "POST", 405, "method_not_allowed")],
)
async def test_what_is_not_there_is_a_problem(site: Site, path: str, method: str, status: int, code: str) -> None:
    page = await site.get(path, method)
    assert page.status == status
    assert page.headers["content-type"] == "application/problem+json"
    assert json.loads(page.body)["code"] == code


@pytest.mark.parametrize("service", load_all(), ids=lambda service: service.name)
def test_the_page_needs_no_internet_and_every_link_in_it_leads_somewhere(service: Any) -> None:
    written = asyncapi_document(service)
    page = asyncapi_page(service.name, written)
    assert not re.search(r"""<(script|link|img|iframe)|\bsrc=|url\(|@import|href=["']?(https?:)?//""", page)
    targets = set(re.findall(r'id="([^"]+)"', page))
    assert {link[1:] for link in re.findall(r'href="(#[^"]+)"', page)} <= targets
    for channel in written["channels"].values():
        assert channel["address"] is None or channel["address"] in page
