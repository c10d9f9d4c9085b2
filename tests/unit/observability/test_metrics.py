"""What may be a label."""

from prometheus_client import CollectorRegistry

from shared.observability.metrics import Metrics

LABELS = {
    "handler",
    "outcome",
    "queue",
    "step",
    "reason",
    "result",
    "connection",
    "sqlstate",
    "job",
    "dependency",
    "service",
    "version",
    "python",
    "implementation",
    "major",
    "minor",
    "patchlevel",
    "generation",
    "le",
}


def labels(registry: CollectorRegistry) -> set[str]:
    return {
        label for collector in list(registry._collector_to_names) for label in getattr(collector, "_labelnames", ())
    } | {label for family in registry.collect() for sample in family.samples for label in sample.labels}


def test_labels_are_of_few_values() -> None:
    assert labels(Metrics("purchases").registry) <= LABELS


def test_each_process_part_has_figures_of_its_own() -> None:
    one, other = Metrics("purchases"), Metrics("purchases")
    one.inbox_conflicts_total.inc()
    assert one.registry.get_sample_value("inbox_conflicts_total") == 1
    assert other.registry.get_sample_value("inbox_conflicts_total") == 0


def test_the_release_is_told() -> None:
    families = {family.name: family for family in Metrics("purchases").registry.collect()}
    (sample,) = families["build_info"].samples
    assert sample.value == 1
    assert sample.labels["service"] == "purchases"
    assert sample.labels["version"]
