"""Tests of the HTTP API, with a fake model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI
from redness import Redness, make_png
from starlette.testclient import TestClient

from zoo.metrics.calibration import Calibration, PredictionSets
from zoo_demo.models.served_model import ServedModel
from zoo_demo.server.access import LOOPBACK_HOSTS, OriginGuard
from zoo_demo.server.api import MAX_PHOTOS, make_router
from zoo_demo.server.request_limits import RequestLimits

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def predictor() -> Redness:
    return Redness()


@pytest.fixture
def client(predictor: Redness) -> Iterator[TestClient]:
    app = FastAPI()
    models = {"redness": ServedModel("redness", predictor)}
    app.include_router(make_router(models, max_concurrent=4))
    app.add_middleware(RequestLimits, max_bytes=1 << 20)
    app.add_middleware(OriginGuard, hosts={*LOOPBACK_HOSTS, "testserver"})
    with TestClient(app) as client:
        yield client
    models["redness"].batcher.close()


def test_the_bytes_of_a_photo_are_classified(client: TestClient) -> None:
    response = client.post("/api/v1/predict", content=make_png())

    assert response.status_code == 200
    body = response.json()
    assert body["model"] == "redness"
    assert body["predictions"] == [
        {"name": "photo", "label": "red", "probability": 1.0, "probabilities": {"red": 1.0, "other": 0.0}}
    ]
    assert set(body["milliseconds"]) == {"read", "model"}


def test_a_form_of_photos_names_those_that_cannot_be_read(client: TestClient) -> None:
    files = [
        ("photos", ("a.png", make_png())),
        ("photos", ("b.png", b"nonsense")),
        ("photos", ("c.png", make_png("blue"))),
    ]

    first, second, third = client.post("/api/v1/predict?top=1", files=files).json()["predictions"]

    assert (first["name"], first["label"], third["label"]) == ("a.png", "red", "other")
    assert second["name"] == "b.png"
    assert "b.png: it is not an image" in second["error"]["message"]
    assert list(third["probabilities"]) == ["other"]


def test_nan_is_the_failure_of_the_model_and_no_class(client: TestClient) -> None:
    response = client.post("/api/v1/predict", content=make_png("black"))

    assert response.status_code == 500
    assert response.json()["error"]["message"] == "photo: redness returns NaN or infinity."

    files = [("photos", ("a.png", make_png())), ("photos", ("b.png", make_png("black")))]
    first, second = client.post("/api/v1/predict", files=files).json()["predictions"]
    assert (first["label"], list(second)) == ("red", ["name", "error"])
    assert second["error"]["message"] == "b.png: redness returns NaN or infinity."


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        ({"content": b""}, 400, "has no body"),
        ({"content": b"<html>"}, 422, "it is a web page"),
        ({"content": make_png(), "params": {"model": "rednes"}}, 404, "no model 'rednes'"),
        ({"content": bytes(2 << 20)}, 413, "larger than 1 MiB"),
        ({"files": [("photos", (f"{n}.png", b"x")) for n in range(MAX_PHOTOS + 1)]}, 400, "form cannot be read"),
        ({"content": make_png(), "headers": {"host": "evil.example"}}, 421, "host name"),
        ({"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
    ],
)
def test_bad_requests_get_the_reason(
    client: TestClient, request_: dict[str, object], status: int, message: str
) -> None:
    response = client.post("/api/v1/predict", **request_)  # type: ignore[arg-type]

    assert response.status_code == status, response.text
    assert message in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/api/v1/predict", 405, {"message": "/api/v1/predict does not support GET.", "hint": "Send POST."}),
        ("POST", "/api/v1/models", 405, {"message": "/api/v1/models does not support POST.", "hint": "Send GET."}),
        ("DELETE", "/healthz", 405, {"message": "/healthz does not support DELETE.", "hint": "Send GET."}),
        (
            "POST",
            "/api/v2/predict",
            404,
            {
                "message": "The API has no such path.",
                "hint": "It has POST /api/v1/predict, GET /api/v1/models, GET /healthz, GET /metrics.",
            },
        ),
        (
            "POST",
            "/api/v1/predict?top=0",
            422,
            {
                "message": "Invalid parameters: top: Input should be greater than or equal to 1.",
                "hint": "The parameters are described in /openapi.json.",
            },
        ),
    ],
)
def test_wrong_methods_paths_and_parameters_are_errors_of_the_same_form(
    client: TestClient, method: str, path: str, status: int, error: dict[str, str]
) -> None:
    response = client.request(method, path)

    assert (response.status_code, response.json()) == (status, {"error": error})
    assert ("allow" in response.headers) == (status == 405)


def test_waiting_requests_share_batches_and_too_many_are_rejected(client: TestClient, predictor: Redness) -> None:
    predictor.hold.clear()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(client.post, "/api/v1/predict", content=make_png()) for _ in range(8)]
        while sum(future.done() for future in futures) < 4:
            pass
        predictor.hold.set()
    responses = sorted((future.result() for future in futures), key=lambda response: response.status_code)

    assert [response.status_code for response in responses] == [200] * 4 + [503] * 4
    assert max(predictor.batches) > 1
    assert responses[-1].headers["retry-after"] == "1"


def test_health_models_and_metrics(client: TestClient) -> None:
    client.post("/api/v1/predict", content=make_png())
    client.post("/api/v1/predict", content=b"no")

    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/api/v1/models").json() == [{"name": "redness", "classes": ["red", "other"], "size": [8, 8]}]
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    metrics = response.text
    assert 'zoo_requests_total{route="/api/v1/predict",status="200"} 1' in metrics
    assert 'zoo_requests_total{route="/api/v1/predict",status="422"} 1' in metrics
    assert 'zoo_images_total{model="redness"} 1' in metrics
    assert 'zoo_waiting{model="redness"} 0' in metrics
    assert 'zoo_request_seconds_bucket{le="+Inf",route="/api/v1/predict"} 2' in metrics


def test_the_schema_describes_how_to_send_photos(client: TestClient) -> None:
    post = client.get("/openapi.json").json()["paths"]["/api/v1/predict"]["post"]

    assert {"image/*", "multipart/form-data"} <= set(post["requestBody"]["content"])
    assert {"200", "413", "422", "503"} <= set(post["responses"])


def test_prediction_sets_have_the_coverage_that_is_asked_for(client: TestClient, predictor: Redness) -> None:
    missing = client.post("/api/v1/predict?coverage=0.9", content=make_png())
    assert missing.status_code == 422
    assert "has no prediction sets" in missing.json()["error"]["message"]
    assert client.post("/api/v1/predict?coverage=1", content=make_png()).status_code == 422

    sets = PredictionSets(score="lac", photos=20, scores=(0.0,) * 19 + (1.0,))
    predictor.calibration = Calibration(method="none", sets=sets)
    small, large = (
        client.post(f"/api/v1/predict?coverage={coverage}", content=make_png()).json()["predictions"][0]
        for coverage in (0.5, 0.95)
    )
    assert (small["prediction_set"], small["coverage"]) == (["red"], 0.5)
    assert large["prediction_set"] == ["red", "other"]
