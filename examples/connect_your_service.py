#!/usr/bin/env python3
"""Connect a service of your own: record a purchase, refund it, and hear what became of it.

Needs `pip install pika cloudevents` and nothing of this repository: any language with an AMQP 0-9-1 client does it in
the same way. First give your service a name on a running system, which prints the address to connect to:

    ./dev up --detach
    ./dev peer add my-shop --clients demo-shop --hears 'purchases.*.*.*' \\
        --sends purchases.purchase.record.v1 --sends purchases.refund.request.v1
    AMQP_URL=amqp://my-shop:PASSWORD@127.0.0.1:PORT/VHOST python examples/connect_your_service.py

The guide to it is docs/connect.md; every message with its fields is in docs/asyncapi.
"""
# ruff: noqa: T201 - it talks to people

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pika
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.amqp import AMQPMessage, from_amqp_event

ANSWER_SECONDS = 5
TRIES = 6
EVENT_SECONDS = 60
ORDERED_AT = "2026-05-04T10:30:00+02:00"  # when it happened, not when it is sent: a repeat has the same body


class Refused(Exception):
    """The answer was no. Branch on `code`, which is stable; show people `detail`."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(f"{problem['code']}: {problem['detail']}")
        self.code: str = problem["code"]


class Aftersale:
    """One connection with a reply queue. Not for use by several threads."""

    def __init__(self, url: str, client: str) -> None:
        self.user = urlsplit(url).username or "guest"
        self.client = client
        self.answers: dict[str, tuple[str, bytes]] = {}
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        # With confirms a publish returns only after the broker has the message.
        self.channel.confirm_delivery()
        # The reply queue is yours alone: named replies.<your user>.<anything>, bound with its own name. It goes with
        # the connection, and answers that come later with it: then send the same message again (see `ask`).
        self.replies = f"replies.{self.user}.{uuid.uuid4()}"
        self.channel.queue_declare(self.replies, exclusive=True, auto_delete=True)
        self.channel.queue_bind(self.replies, "aftersale.replies", self.replies)
        self.channel.basic_consume(self.replies, self._on_answer, auto_ack=True)

    def ask(self, key: str, body: dict[str, Any], message_id: str) -> dict[str, Any]:
        """Send a command or query and return the answer. Raises Refused, or TimeoutError if nobody answers.

        The message id is what makes it safe to ask again: a command is handled once per id, and a repeat gets the
        first answer again. So keep the id together with your wish BEFORE you send it, and while you have no answer
        send the same id with the same body: after a timeout, a lost connection, a restart of your own.
        """
        for _ in range(TRIES):
            self._publish(key, body, message_id)
            content_type, answer = self._wait(message_id)
            if content_type == "application/problem+json":
                raise Refused(json.loads(answer))
            if content_type:
                result: dict[str, Any] = json.loads(answer)
                return result
        raise TimeoutError(f"no answer to {key}; message {message_id} may still be handled")

    def events(self) -> Iterator[BaseCloudEvent]:
        """Events from the queue that was made for you, as long as some come."""
        for method, properties, body in self.channel.consume(f"ext.{self.user}", inactivity_timeout=EVENT_SECONDS):
            if method is None:
                return
            # Our headers are those of the CloudEvents AMQP binding (cloudEvents_id and so on), which the SDK reads.
            yield from_amqp_event(
                AMQPMessage({"content-type": properties.content_type}, dict(properties.headers), body)
            )
            # Acknowledge after you have handled it: what is not acknowledged comes again.
            self.channel.basic_ack(method.delivery_tag)

    def close(self) -> None:
        self.channel.cancel()
        self.connection.close()

    def _publish(self, key: str, body: dict[str, Any], message_id: str) -> None:
        self.channel.basic_publish(
            "aftersale.commands",
            key,
            json.dumps(body).encode(),
            pika.BasicProperties(
                message_id=message_id,  # a UUID of your own
                user_id=self.user,  # the broker refuses another's
                reply_to=self.replies,
                content_type="application/json",
                delivery_mode=pika.DeliveryMode.Persistent.value,
                headers={
                    "client-id": self.client,  # for which seller
                    "actor": f"service:{self.user}",  # in whose name: user:<name> for a person
                },
            ),
            mandatory=True,  # raises UnroutableError where no queue takes it
        )

    def _wait(self, message_id: str) -> tuple[str, bytes]:
        end = time.monotonic() + ANSWER_SECONDS
        while message_id not in self.answers and time.monotonic() < end:
            self.connection.process_data_events(time_limit=0.2)
        return self.answers.pop(message_id, ("", b""))

    def _on_answer(self, _channel: Any, _method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        # An answer bears the correlation_id of the question, or its message_id where it had none.
        self.answers[properties.correlation_id] = (properties.content_type, body)


def purchase(order: str) -> dict[str, Any]:
    """An order of 2 × 19.99 EUR, paid. Money is whole minor units: 1999 EUR is 19.99 euros."""
    return {
        "client_order_id": order,
        "ordered_at": ORDERED_AT,
        "currency": "EUR",
        "billing_contact": {
            "first_name": "Jane",
            "last_name": "Doe",
            "country": "DE",
            "language": "en",
            "email": "jane@example.com",
        },
        "items": [
            {
                "product_id": "SKU-1",
                "product_name": "Thing",
                "quantity": 2,
                "unit_price": {"amount": 1999, "currency": "EUR"},
                "tax_rate": "19",
            }
        ],
        "payment_type": "visa",
        "card_last4": "1111",  # never more of a card: a full number is refused wherever it stands
        "payment": {"amount": {"amount": 3998, "currency": "EUR"}, "paid_at": ORDERED_AT},
    }


def main() -> int:
    aftersale = Aftersale(os.environ["AMQP_URL"], os.environ.get("CLIENT_ID", "demo-shop"))
    order = os.environ.get("ORDER", f"EXAMPLE-{uuid.uuid4().hex[:8]}")

    # An id that follows from the order is the same after a crash, too.
    record_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"my-shop/record/{order}"))
    refund_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"my-shop/refund/{order}"))
    body = purchase(order)

    recorded = aftersale.ask("purchases.purchase.record.v1", body, record_id)
    print(f"recorded   {order} as {recorded['reference_number']}, {recorded['status']}")
    again = aftersale.ask("purchases.purchase.record.v1", body, record_id)
    print(f"repeated   the same answer: {again == recorded}")

    refund = {"client_order_id": order, "kind": "total", "reason": "goodwill"}
    refunded = aftersale.ask("purchases.refund.request.v1", refund, refund_id)
    print(f"refund     {refunded['amount']['amount']} {refunded['amount']['currency']}, {refunded['state']}")
    try:
        aftersale.ask("purchases.refund.request.v1", refund, str(uuid.uuid4()))
    except Refused as refused:  # a new id is a new wish, and there is nothing left to give back
        print(f"refused    a second refund: {refused.code}")

    seen = set()  # in your service: a table, written in the transaction in which you handle the event
    for event in aftersale.events():
        if event.get_id() in seen or event.get_subject() != recorded["reference_number"]:
            continue
        seen.add(event.get_id())
        print(f"event      {event.get_type()} from {event.get_source()} at {event.get_time()}")
        if event.get_type() == "purchases.refund.completed.v1":
            aftersale.close()
            return 0
    print("no event that the refund is completed")
    return 1


if __name__ == "__main__":
    sys.exit(main())
