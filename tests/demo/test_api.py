"""The HTTP interface, on a fake model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI
from redness import Redness, png
from starlette.testclient import TestClient

from zoo_demo.api import MOST_PHOTOS, make_router
from zoo_demo.limits import LOOPBACK, Limits
from zoo_demo.metrics import Metrics
from zoo_demo.served import Served

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def predictor() -> Redness:
    return Redness()


@pytest.fixture
def client(predictor: Redness) -> Iterator[TestClient]:
    app = FastAPI()
    served = {"redness": Served("redness", predictor)}
    app.include_router(make_router(served, Metrics(), at_once=4))
    app.add_middleware(Limits, most_bytes=1 << 20, hosts={*LOOPBACK, "testserver"})
    with TestClient(app) as client:
        yield client
    served["redness"].batcher.close()


def test_bytes_of_a_photo_are_answered(client: TestClient) -> None:
    answer = client.post("/api/v1/predict", content=png())

    assert answer.status_code == 200
    told = answer.json()
    assert told["model"] == "redness"
    assert told["predictions"] == [
        {"name": "photo", "label": "red", "probability": 1.0, "probabilities": {"red": 1.0, "other": 0.0}}
    ]
    assert set(told["milliseconds"]) == {"read", "model"}


def test_a_form_of_photos_names_those_that_cannot_be_read(client: TestClient) -> None:
    files = [("photos", ("a.png", png())), ("photos", ("b.png", b"nonsense")), ("photos", ("c.png", png("blue")))]

    first, second, third = client.post("/api/v1/predict?top=1", files=files).json()["predictions"]

    assert (first["name"], first["label"], third["label"]) == ("a.png", "red", "other")
    assert second["name"] == "b.png"
    assert "b.png: it is not an image" in second["error"]["message"]
    assert list(third["probabilities"]) == ["other"]


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        ({"content": b""}, 400, "has no body"),
        ({"content": b"<html>"}, 422, "it is a web page"),
        ({"content": png(), "params": {"model": "rednes"}}, 404, "no model 'rednes'"),
        ({"content": bytes(2 << 20)}, 413, "larger than 1 MiB"),
        ({"files": [("photos", (f"{n}.png", b"x")) for n in range(MOST_PHOTOS + 1)]}, 400, "form cannot be read"),
        ({"content": png(), "headers": {"host": "evil.example"}}, 421, "its own name"),
        ({"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
    ],
)
def test_bad_requests_say_what_is_wrong(
    client: TestClient, request_: dict[str, object], status: int, message: str
) -> None:
    answer = client.post("/api/v1/predict", **request_)  # type: ignore[arg-type]

    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]["message"]


def test_waiting_requests_share_batches_and_too_many_are_sent_away(client: TestClient, predictor: Redness) -> None:
    predictor.hold.clear()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(client.post, "/api/v1/predict", content=png()) for _ in range(8)]
        while sum(answer.done() for answer in answers) < 4:
            pass
        predictor.hold.set()
    statuses = sorted(answer.result().status_code for answer in answers)

    assert statuses == [200] * 4 + [503] * 4
    assert max(predictor.batches) > 1
    refused = next(answer.result() for answer in answers if answer.result().status_code == 503)
    assert refused.headers["retry-after"] == "1"


def test_health_models_and_metrics(client: TestClient) -> None:
    client.post("/api/v1/predict", content=png())
    client.post("/api/v1/predict", content=b"no")

    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/api/v1/models").json() == [{"name": "redness", "classes": ["red", "other"], "size": [8, 8]}]
    metrics = client.get("/metrics").text
    assert 'zoo_requests_total{route="/api/v1/predict",status="200"} 1' in metrics
    assert 'zoo_requests_total{route="/api/v1/predict",status="422"} 1' in metrics
    assert 'zoo_images_total{model="redness"} 1' in metrics
    assert 'zoo_request_seconds_bucket{route="/api/v1/predict",le="+Inf"} 2' in metrics


def test_the_schema_tells_how_to_send_photos(client: TestClient) -> None:
    post = client.get("/openapi.json").json()["paths"]["/api/v1/predict"]["post"]

    assert {"image/*", "multipart/form-data"} <= set(post["requestBody"]["content"])
    assert {"200", "413", "422", "503"} <= set(post["responses"])
