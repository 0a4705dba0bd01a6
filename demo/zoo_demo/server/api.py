"""The HTTP API: ``POST /api/v1/predict`` classifies photos; ``/api/v1/models``, ``/healthz`` and ``/metrics`` describe.

Every error has the form of `zoo_demo.server.error_response`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

from zoo.errors import ConfigError, ImageError, ZooError, close_matches
from zoo_demo.models.batcher import BusyError, ConcurrencyLimit
from zoo_demo.server.error_response import ErrorDetail, ErrorResponse, error_response

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from zoo_demo.models.served_model import ServedModel, TimedOutcomes

PREDICT = "/api/v1/predict"
MODELS = "/api/v1/models"
MAX_PHOTOS = 32  # in one request
_SERVICE_PATHS = ("/healthz", "/metrics")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_RETRY_AFTER = "1"  # seconds
_IMAGE = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "required": True,
    "description": f"The bytes of one photo, or a form with up to {MAX_PHOTOS} files.",
    "content": {
        "image/*": _IMAGE,
        "application/octet-stream": _IMAGE,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"photos": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        },
    },
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "The request contains no photo, or too many."},
    404: {"model": ErrorResponse, "description": "There is no such model."},
    413: {"model": ErrorResponse, "description": "The request is too large."},
    405: {"model": ErrorResponse, "description": "The path has no such method; see Allow."},
    422: {"model": ErrorResponse, "description": "The photo cannot be read, or a parameter is invalid."},
    500: {"model": ErrorResponse, "description": "The model failed, or returned NaN or infinity."},
    503: {"model": ErrorResponse, "description": "The server is busy; see Retry-After."},
}


class PhotoPrediction(BaseModel):
    """The prediction for one photo; or, in a request with several, the reason why this one has none."""

    name: str
    label: str | None = None
    probability: Annotated[float | None, Field(ge=0, le=1)] = None
    labels: Annotated[
        list[str] | None, Field(description="In place of label and probability, of a model with several per photo.")
    ] = None
    familiarity: Annotated[
        float | None,
        Field(ge=-1.001, le=1.001, description="Similarity to the training photos, if the model knows it."),
    ] = None
    known: Annotated[
        bool | None, Field(description="False for a photo unlike those of training: most likely none of the classes.")
    ] = None
    probabilities: Annotated[dict[str, float] | None, Field(description="Most probable first.")] = None
    prediction_set: Annotated[
        list[str] | None, Field(description="Classes among which the right one is with the probability 'coverage'.")
    ] = None
    coverage: Annotated[float | None, Field(gt=0, lt=1)] = None
    error: ErrorDetail | None = None


class PredictResponse(BaseModel):
    """The response to a successful request."""

    model: str
    predictions: list[PhotoPrediction]
    milliseconds: dict[str, float] = Field(description="read: decode and resize; model: wait for a batch and compute.")


class ModelInfo(BaseModel):
    """A model that the server offers."""

    name: str
    classes: list[str]
    size: tuple[int, int] = Field(description="Height and width of the network's input, in pixels.")


class Metrics:
    """Prometheus metrics of one application."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter("zoo_requests", "Requests answered.", ["route", "status"], registry=registry)
        self._seconds = Histogram("zoo_request_seconds", "Time to answer a request.", ["route"], registry=registry)
        self._images = Counter("zoo_images", "Images classified.", ["model"], registry=registry)
        self._waiting = Gauge("zoo_waiting", "Images waiting for a model.", ["model"], registry=registry)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Counts a request. Pass a route of ours, never a path that a client chose: each one takes memory."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def count_images(self, model: str, count: int) -> None:
        """Counts images that a model classified."""
        self._images.labels(model).inc(count)

    def export(self, *, waiting: Mapping[str, int]) -> bytes:
        """Returns all metrics in Prometheus' text format; `waiting` is the length of each model's queue."""
        for model, count in waiting.items():
            self._waiting.labels(model).set(count)
        return generate_latest(self._registry)


def make_router(models: Mapping[str, ServedModel], *, max_concurrent: int = 256) -> APIRouter:
    """Returns the routes of the API.

    Args:
        models: Models by name; a request that names none goes to the first. The mapping may grow meanwhile.
        max_concurrent: Predict requests that are read, queued or computed at a time; more get 503.
    """
    router = APIRouter(route_class=_Route)
    metrics = Metrics()
    limit = ConcurrencyLimit(max_concurrent)

    @router.post(
        PREDICT,
        response_model=PredictResponse,
        response_model_exclude_none=True,
        responses=_ERRORS,
        openapi_extra={"requestBody": _BODY},
        summary="Classify photos",
    )
    async def predict(
        request: Request,
        model: Annotated[str | None, Query(description="A name from /api/v1/models. Default: the first.")] = None,
        top: Annotated[int | None, Query(ge=1, description="Return only this many of the best classes.")] = None,
        coverage: Annotated[
            float | None, Query(gt=0, lt=1, description="Return prediction sets that have the right class so often.")
        ] = None,
    ) -> Response:
        started = time.perf_counter()
        try:
            with limit.slot():
                response = await _predict(request, _select_model(models, model), top, coverage, metrics)
        except BusyError:
            retry = {"Retry-After": _RETRY_AFTER}
            response = error_response(503, "The server is busy.", "Try again in a second.", headers=retry)
        except _RequestError as error:
            response = error_response(error.status, error.message, error.hint)
        except ClientDisconnect:
            response = error_response(400, "The client disconnected.")  # nobody reads it, but it is counted
        metrics.count_request(PREDICT, response.status_code, time.perf_counter() - started)
        return response

    @router.get(MODELS, summary="List the models")
    async def list_models() -> list[ModelInfo]:
        return [
            ModelInfo(name=name, classes=list(each.predictor.classes), size=each.predictor.preprocess.size)
            for name, each in models.items()
        ]

    @router.get("/healthz", summary="Check that the server responds")
    async def check_health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/metrics", summary="Export metrics for Prometheus")
    async def export_metrics() -> Response:
        waiting = {name: each.batcher.waiting for name, each in models.items()}
        return Response(metrics.export(waiting=waiting), media_type=CONTENT_TYPE_LATEST)

    _reject_others(router)
    return router


class _Route(APIRoute):
    """A route whose invalid parameters are errors of the same form as all others."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns the function that answers a request."""
        handle = super().get_route_handler()

        async def handle_or_explain(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                reasons = (f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
                message = f"Invalid parameters: {'; '.join(reasons)}."
                return error_response(422, message, "The parameters are described in /openapi.json.")

        return handle_or_explain


def _reject_others(router: APIRouter) -> None:
    """Answers all other requests below the paths of the API: the page would, in a form of its own."""

    async def reject(request: Request) -> JSONResponse:
        return _reject_route(router, request)

    for path in ("/api/{path:path}", *_SERVICE_PATHS):
        router.add_api_route(path, reject, methods=list(_METHODS), include_in_schema=False)


def _reject_route(router: APIRouter, request: Request) -> JSONResponse:
    """Returns the error for a path that the API lacks, or for a method that a path lacks."""
    routes = [route for route in router.routes if isinstance(route, APIRoute) and route.include_in_schema]
    known = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    if known:
        allowed = ", ".join(sorted({method for route in known for method in route.methods or ()}))
        message = f"{known[0].path} does not support {request.method}."
        return error_response(405, message, f"Send {allowed}.", headers={"Allow": allowed})
    offered = ", ".join(f"{method} {route.path}" for route in routes for method in sorted(route.methods or ()))
    return error_response(404, "The API has no such path.", f"It has {offered}.")


class _RequestError(Exception):
    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.hint = status, message, hint


def _select_model(models: Mapping[str, ServedModel], name: str | None) -> ServedModel:
    if not models:
        raise _RequestError(404, "No model is loaded.", "Start 'zoo demo' with a run or an exported file.")
    if name is None:
        return next(iter(models.values()))
    if name not in models:
        near = close_matches(name, models) or tuple(models)
        raise _RequestError(404, f"There is no model '{name[:100]}'.", f"Did you mean {', '.join(near)}?")
    return models[name]


async def _predict(
    request: Request, model: ServedModel, top: int | None, coverage: float | None, metrics: Metrics
) -> JSONResponse:
    try:
        model.predictor.check_coverage(coverage)
    except ConfigError as error:
        raise _RequestError(422, error.message, error.hint) from error
    photos = await _read_photos(request)
    try:
        result = await model.predict(photos, coverage=coverage)
    except ZooError as error:
        raise _RequestError(500, error.message, error.hint) from error
    failed = [outcome for outcome in result.outcomes if isinstance(outcome, ZooError)]
    if len(photos) == 1 and failed:
        raise _RequestError(422 if isinstance(failed[0], ImageError) else 500, failed[0].message, failed[0].hint)
    metrics.count_images(model.name, len(photos) - len(failed))
    return JSONResponse(_predict_response(model.name, photos, result, top).model_dump(exclude_none=True))


async def _read_photos(request: Request) -> list[tuple[str, bytes]]:
    """Returns the names and contents of the photos in a request: the files of a form, else the body as one photo."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        body = await request.body()
        if not body:
            hint = f"Send a photo: curl --data-binary @photo.jpg URL{PREDICT}"
            raise _RequestError(400, "The request has no body.", hint)
        return [("photo", body)]
    try:
        async with request.form(max_files=MAX_PHOTOS, max_fields=MAX_PHOTOS) as form:
            files = [each for _, each in form.multi_items() if isinstance(each, UploadFile)]
            photos = [(each.filename or f"photo {n}", await each.read()) for n, each in enumerate(files, start=1)]
    except HTTPException as error:
        hint = f"Send at most {MAX_PHOTOS} files."
        raise _RequestError(400, f"The form cannot be read: {error.detail}", hint) from error
    if not photos:
        raise _RequestError(400, "The form contains no file.", "Send files: curl -F photos=@one.jpg -F photos=@two.jpg")
    return photos


def _predict_response(
    model: str, photos: list[tuple[str, bytes]], result: TimedOutcomes, top: int | None
) -> PredictResponse:
    predictions = []
    for (name, _), outcome in zip(photos, result.outcomes, strict=True):
        if isinstance(outcome, ZooError):
            error = ErrorDetail(message=outcome.message, hint=outcome.hint)
            predictions.append(PhotoPrediction(name=name, error=error))
            continue
        ranked = list(outcome.probabilities.items())[:top]
        answer: dict[str, Any] = {"label": outcome.label, "probability": outcome.probability}
        if outcome.labels is not None:
            answer = {"labels": [*outcome.labels]}
        if outcome.prediction_set is not None:
            answer |= {"prediction_set": [*outcome.prediction_set], "coverage": outcome.coverage}
        answer |= {"familiarity": outcome.familiarity, "known": outcome.known}
        predictions.append(PhotoPrediction(name=name, **answer, probabilities=dict(ranked)))
    return PredictResponse(
        model=model,
        predictions=predictions,
        milliseconds={"read": round(result.read_ms, 3), "model": round(result.model_ms, 3)},
    )
