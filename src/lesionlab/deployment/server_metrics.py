"""What the server measures about itself, for Prometheus. No label holds anything of a request."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.phase = Histogram(
            "lesionlab_seconds",
            "Seconds an image spends in each phase",
            ["phase"],
            registry=self.registry,
            buckets=BUCKETS,
        )
        self.images = Counter(
            "lesionlab_images", "Images answered, by model", ["model"], registry=self.registry
        )
        self.rejects = Counter(
            "lesionlab_rejects", "Requests or images refused", ["reason"], registry=self.registry
        )
        self.swaps = Counter(
            "lesionlab_swaps", "Bundles replaced on disk", ["result"], registry=self.registry
        )
        self.inside = Gauge(
            "lesionlab_images_inside", "Images that wait or run", registry=self.registry
        )

    def rejected(self, reason: str) -> None:
        """Count a refusal."""
        self.rejects.labels(reason).inc()

    def text(self) -> bytes:
        """The exposition format."""
        return bytes(generate_latest(self.registry))
