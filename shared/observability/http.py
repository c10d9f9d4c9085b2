"""The operators' pages of a service: health, metrics, and what it sends and receives. No personal data, no login.

To be served without a server banner: uvicorn's `server_header=False`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from shared.contracts.values import Problem
from shared.observability.health import Group, Health

TEMPLATES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


class _HealthResponse(JSONResponse):
    media_type = "application/health+json"


class _ProblemResponse(JSONResponse):
    media_type = "application/problem+json"


def create_app(
    service_name: str, health: Health, registry: CollectorRegistry, asyncapi: Mapping[str, Any]
) -> Starlette:
    """The pages `/livez`, `/readyz`, `/healthz`, `/metrics`, `/docs/asyncapi` and `/docs/asyncapi.json`."""

    def health_page(group: Group) -> Any:
        async def page(_request: Request) -> Response:
            report = await health.report(group)
            return _HealthResponse(report.body(), report.http_status, {"Cache-Control": "no-store"} | SAFE)

        return page

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"} | SAFE)

    async def document(_request: Request) -> Response:
        return JSONResponse(asyncapi, headers=SAFE)

    async def readable(_request: Request) -> Response:
        return HTMLResponse(asyncapi_page(service_name, asyncapi), headers=SAFE)

    return Starlette(
        routes=[
            Route("/livez", health_page(Group.LIVE)),
            Route("/readyz", health_page(Group.READY)),
            Route("/healthz", health_page(Group.FULL)),
            Route("/metrics", metrics),
            Route("/docs/asyncapi", readable),
            Route("/docs/asyncapi.json", document),
        ],
        exception_handlers={HTTPException: _http_problem, Exception: _server_problem},
    )


def asyncapi_page(service_name: str, document: Mapping[str, Any]) -> str:
    """The AsyncAPI document as one page of HTML that needs neither scripts nor the internet."""
    return TEMPLATES.get_template("asyncapi.html.j2").render(service=service_name, document=document)


async def _http_problem(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code, detail = {
        404: ("path_not_found", "There is no such page."),
        405: ("method_not_allowed", "This page can only be read."),
    }.get(status, ("http_error", "The request cannot be answered."))
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return _problem(status, code, detail, headers)


async def _server_problem(_request: Request, _error: Exception) -> Response:
    return _problem(500, "internal_error", "The service could not answer. Its log says why.", {})


def _problem(status: int, code: str, detail: str, headers: dict[str, str]) -> Response:
    problem = Problem(
        type=f"urn:aftersale:problem:{code}", title=code.replace("_", " ").capitalize(), detail=detail, code=code
    )
    body = {"status": status} | problem.model_dump(mode="json", exclude={"facts", "errors"})
    return _ProblemResponse(body, status, {"Cache-Control": "no-store"} | SAFE | headers)
