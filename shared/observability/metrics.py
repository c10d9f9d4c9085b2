"""What a service counts. One registry per process; labels never hold an id, an address or a name of a person."""

import platform

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from shared.version import VERSION

DURATIONS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The figures of one service, served at `/metrics`."""

    def __init__(self, service: str) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.build_info = Gauge("build_info", "1, with what runs.", ["service", "version", "python"], registry=registry)
        self.build_info.labels(service, VERSION, platform.python_version()).set(1)
        self.event_loop_lag_seconds = Gauge(
            "event_loop_lag_seconds", "How late the event loop was when last measured.", registry=registry
        )
        self._messages(registry)
        self._boxes(registry)
        self._connections(registry)
        self._jobs(registry)

    def _messages(self, registry: CollectorRegistry) -> None:
        self.messages_handled_total = Counter(
            "messages_handled_total",
            "Messages by handler and how they ended: done, refused, repeated, retried, dead.",
            ["handler", "outcome"],
            registry=registry,
        )
        self.message_duration_seconds = Histogram(
            "message_duration_seconds",
            "From receiving a message to its commit.",
            ["handler"],
            buckets=DURATIONS,
            registry=registry,
        )
        self.messages_in_hand = Gauge("messages_in_hand", "Messages being handled now.", ["queue"], registry=registry)
        self.message_last_success_timestamp_seconds = Gauge(
            "message_last_success_timestamp_seconds",
            "When a handler last succeeded (Unix time).",
            ["handler"],
            registry=registry,
        )
        self.messages_retried_total = Counter(
            "messages_retried_total", "Messages sent up the retry ladder.", ["queue", "step"], registry=registry
        )
        self.messages_dead_total = Counter(
            "messages_dead_total", "Messages given up, by reason.", ["queue", "reason"], registry=registry
        )
        self.replies_total = Counter(
            "replies_total", "Replies: sent, refused_by_broker, unknown, too_large.", ["result"], registry=registry
        )

    def _boxes(self, registry: CollectorRegistry) -> None:
        self.inbox_duplicates_total = Counter(
            "inbox_duplicates_total", "Messages that had been handled before.", ["handler"], registry=registry
        )
        self.inbox_conflicts_total = Counter(
            "inbox_conflicts_total", "Messages whose id had come before with another body.", registry=registry
        )
        self.outbox_pending = Gauge("outbox_pending", "Rows the relay has not handed over yet.", registry=registry)
        self.outbox_oldest_pending_age_seconds = Gauge(
            "outbox_oldest_pending_age_seconds", "Age of the oldest of them.", registry=registry
        )
        self.outbox_set_aside = Gauge(
            "outbox_set_aside", "Rows given up after ten failures; a person must look.", registry=registry
        )
        self.outbox_published_total = Counter(
            "outbox_published_total",
            "Rows by result: confirmed, unroutable, failed, unknown.",
            ["result"],
            registry=registry,
        )
        self.outbox_relay_active = Gauge(
            "outbox_relay_active", "1 if this process holds the relay's lock.", registry=registry
        )

    def _connections(self, registry: CollectorRegistry) -> None:
        self.amqp_connected = Gauge(
            "amqp_connected", "1 if this connection to the broker stands.", ["connection"], registry=registry
        )
        self.amqp_blocked = Gauge("amqp_blocked", "1 while the broker takes nothing (alarm).", registry=registry)
        self.amqp_publish_unknown_total = Counter(
            "amqp_publish_unknown_total", "Publishes without an answer in time; sent again.", registry=registry
        )
        self.amqp_unroutable_total = Counter(
            "amqp_unroutable_total", "Mandatory messages that no queue takes.", registry=registry
        )
        self.queue_messages = Gauge(
            "queue_messages", "Messages waiting in a queue of this service.", ["queue"], registry=registry
        )
        self.circuit_state = Gauge(
            "circuit_state",
            "CircuitBreaker of a dependency: 0 closed, 1 half open, 2 open.",
            ["dependency"],
            registry=registry,
        )
        self.db_tx_repeats_total = Counter(
            "db_tx_repeats_total", "Transactions repeated after deadlock or conflict.", ["sqlstate"], registry=registry
        )
        self.db_pool_in_use = Gauge("db_pool_in_use", "Database connections in use.", registry=registry)
        self.drain_timeout_total = Counter(
            "drain_timeout_total", "Stops that did not wait for all work in hand.", registry=registry
        )

    def _jobs(self, registry: CollectorRegistry) -> None:
        self.job_rounds_total = Counter(
            "job_rounds_total", "Rounds of a background job: done, idle, failed.", ["job", "outcome"], registry=registry
        )
        self.job_rows_total = Counter(
            "job_rows_total", "Rows a background job has dealt with.", ["job"], registry=registry
        )
        self.job_duration_seconds = Histogram(
            "job_duration_seconds", "How long a round took.", ["job"], buckets=DURATIONS, registry=registry
        )
