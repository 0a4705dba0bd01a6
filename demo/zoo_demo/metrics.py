"""Counts what a server does, in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats)."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Requests by route and status, their seconds, and images by model; safe to be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._images: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(_BUCKETS) + 1))

    def request(self, route: str, status: int, seconds: float) -> None:
        """Takes note of an answered request; `route` is one of ours, never what a stranger typed."""
        with self._lock:
            self._requests[route, status] += 1
            self._seconds[route] += seconds
            self._buckets[route][bisect_left(_BUCKETS, seconds)] += 1

    def images(self, model: str, count: int) -> None:
        """Takes note of images that were classified."""
        with self._lock:
            self._images[model] += count

    def text(self, *, waiting: Mapping[str, int]) -> str:
        """Returns everything as text; `waiting` is how many images wait for each model."""
        with self._lock:
            lines = [
                *_family("zoo_requests_total", "counter", "Requests answered.", self._request_lines()),
                *_family("zoo_request_seconds", "histogram", "Seconds from request to answer.", self._second_lines()),
                *_family(
                    "zoo_images_total", "counter", "Images classified.", _by_model("zoo_images_total", self._images)
                ),
                *_family("zoo_waiting", "gauge", "Images that wait for a model.", _by_model("zoo_waiting", waiting)),
            ]
        return "\n".join(lines) + "\n"

    def _request_lines(self) -> list[str]:
        return [
            f'zoo_requests_total{{route="{_escaped(route)}",status="{status}"}} {count}'
            for (route, status), count in sorted(self._requests.items())
        ]

    def _second_lines(self) -> list[str]:
        lines = []
        for route, counts in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*map(str, _BUCKETS), "+Inf"), counts, strict=True):
                total += count
                lines.append(f'zoo_request_seconds_bucket{{route="{_escaped(route)}",le="{bound}"}} {total}')
            lines.append(f'zoo_request_seconds_sum{{route="{_escaped(route)}"}} {self._seconds[route]:.6f}')
            lines.append(f'zoo_request_seconds_count{{route="{_escaped(route)}"}} {total}')
        return lines


def _family(name: str, kind: str, help: str, lines: list[str]) -> list[str]:
    return [f"# HELP {name} {help}", f"# TYPE {name} {kind}", *lines]


def _by_model(name: str, values: Mapping[str, int]) -> list[str]:
    return [f'{name}{{model="{_escaped(model)}"}} {value}' for model, value in sorted(values.items())]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
