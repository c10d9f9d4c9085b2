"""What may be a label."""

from contextlib import suppress

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


def labels(metrics: Metrics) -> set[str]:
    """Every label name. A figure tells its labels once it has a sample, which takes as many values as it has labels."""
    for figure in vars(metrics).values():
        for count in range(1, len(LABELS)):
            with suppress(AttributeError, ValueError):
                figure.labels(*["any"] * count)
    return {label for family in metrics.registry.collect() for sample in family.samples for label in sample.labels}


def test_labels_are_of_few_values() -> None:
    found = labels(Metrics("purchases"))
    assert found <= LABELS
    assert {"handler", "outcome", "queue", "step", "sqlstate"} <= found


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
