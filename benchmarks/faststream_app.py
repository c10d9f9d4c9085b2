"""One idle process with health, metrics and its AsyncAPI document over HTTP, by FastStream or by Starlette.

Run as `python -m benchmarks.faststream_app asgi|starlette PORT`, the broker in LEDGER_AMQP_URL.
"""

import os
import sys
from collections.abc import Callable
from typing import Any, Final

import uvicorn
import uvloop
from faststream.asgi import AsgiFastStream, AsyncAPIRoute, make_ping_asgi
from faststream.message import StreamMessage
from faststream.rabbit import RabbitBroker, RabbitQueue
from faststream.specification import AsyncAPI
from prometheus_client import CollectorRegistry, make_asgi_app

from benchmarks.hop import LEDGER
from deploy.services import load_all
from shared.messaging.handlers import Route
from shared.messaging.names import queue_name
from shared.messaging.service import Service
from shared.observability.asyncapi import Document, asyncapi_document
from shared.observability.health import Health
from shared.observability.http import create_app
from shared.observability.metrics import Metrics

DOCUMENTED: Final = "purchases"
_FEATURES: Final = ("reply", "security", "tags", "summary", "traits", "contentType")


def documents() -> dict[str, dict[str, Any]]:
    """What FastStream's document and ours say of the same service: counts, and which of the features they have."""
    service = next(service for service in load_all() if service.name == DOCUMENTED)
    theirs = AsyncAPI(_declared(service), title=service.name).to_specification().to_jsonable()
    return {"FastStream": _facts(theirs), "ours": _facts(asyncapi_document(service))}


def _declared(service: Service[Any], url: str | None = None) -> RabbitBroker:
    """The service's handlers as FastStream would have them: one subscriber per queue, filters by routing key."""
    broker = RabbitBroker(url, logger=None)
    for kind in service.handlers.kinds():
        subscriber = broker.subscriber(RabbitQueue(queue_name(service.name, kind), declare=False), no_reply=True)
        for route in service.handlers.routes:
            if route.kind is kind:
                subscriber(_handler(route), filter=_filter(route.pattern))
    return broker


def _handler(route: Route) -> Callable[..., Any]:
    async def handle(message: Any) -> None:
        del message

    handle.__name__ = route.name
    handle.__annotations__ = {"message": route.message, "return": None}
    return handle


def _filter(pattern: str) -> Callable[[StreamMessage[Any]], Any]:
    async def matches(message: StreamMessage[Any]) -> bool:
        return bool(message.raw_message.routing_key == pattern)

    return matches


def _facts(document: Document) -> dict[str, Any]:
    parts = [*document["operations"].values(), *document["components"]["messages"].values()]
    bindings = [channel["bindings"]["amqp"] for channel in document["channels"].values()]
    return {
        "channels": len(document["channels"]),
        "operations": len(document["operations"]),
        "messages": len(document["components"]["messages"]),
        "schemas": len(document["components"]["schemas"]),
        "routing keys": sum(binding["is"] == "routingKey" for binding in bindings),
        "has": [name for name in _FEATURES if any(name in part for part in parts)],
    }


def _by_faststream(broker: RabbitBroker) -> Any:
    return AsgiFastStream(
        broker,
        asgi_routes=[
            ("/livez", make_ping_asgi(broker, timeout=1)),
            ("/metrics", make_asgi_app(CollectorRegistry())),
        ],
        asyncapi_path=AsyncAPIRoute("/docs/asyncapi", asyncapi_json_path="/docs/asyncapi.json"),
        specification=AsyncAPI(broker, title="ledger"),
        logger=None,
    )


def _by_starlette() -> Any:
    return create_app(LEDGER.name, Health(LEDGER.name), Metrics(LEDGER.name).registry, asyncapi_document(LEDGER))


async def main(kind: str, port: int) -> None:
    """Serve until SIGTERM."""
    broker = _declared(LEDGER, os.environ["LEDGER_AMQP_URL"])
    if kind == "asgi":
        app = _by_faststream(broker)
    else:
        app = _by_starlette()
        await broker.start()
    await uvicorn.Server(uvicorn.Config(app, port=port, log_config=None)).serve()
    await broker.stop()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
