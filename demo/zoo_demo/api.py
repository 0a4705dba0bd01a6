"""The HTTP interface: ``POST /api/v1/predict`` takes the bytes of photos and gives JSON; ``/healthz``, ``/metrics``."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from zoo.errors import ImageError, ZooError, close_matches
from zoo_demo.batcher import BusyError
from zoo_demo.metrics import CONTENT_TYPE, Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zoo_demo.served import Answer, Served

PREDICT = "/api/v1/predict"
MODELS = "/api/v1/models"
MOST_PHOTOS = 32  # a request
_RETRY_AFTER = "1"
_IMAGE = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "required": True,
    "description": f"The bytes of one photo; or a form of up to {MOST_PHOTOS} files.",
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


class Problem(BaseModel):
    """What went wrong, and what to do about it."""

    message: str
    hint: str = ""


class Failure(BaseModel):
    """The answer to a request that cannot be served."""

    error: Problem


class Told(BaseModel):
    """What the model says to one photo; or, in a request of several, why that one cannot be read."""

    name: str
    label: str | None = None
    probability: Annotated[float | None, Field(ge=0, le=1)] = None
    probabilities: Annotated[dict[str, float] | None, Field(description="Most probable first.")] = None
    error: Problem | None = None


class Predictions(BaseModel):
    """The answer to a request that was served."""

    model: str
    predictions: list[Told]
    milliseconds: dict[str, float] = Field(description="read: decode and resize; model: wait for a batch and compute.")


class ModelInfo(BaseModel):
    """A model on offer."""

    name: str
    classes: list[str]
    size: tuple[int, int] = Field(description="Height and width of the network's input, in pixels.")


class Gate:
    """Lets so many requests in at a time, and no more: what waits costs memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.inside = 0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Holds a place for the length of a block; raises `BusyError` where there is none."""
        if self.inside >= self._most:
            raise BusyError
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


def make_router(served: Mapping[str, Served], metrics: Metrics, *, at_once: int = 256) -> APIRouter:
    """Returns the routes.

    Args:
        served: Models by name; the first answers where a request names none.
        metrics: Counted into, and shown at ``/metrics``.
        at_once: Requests that are read, queued or computed at a time; beyond it 503.
    """
    router = APIRouter()
    gate = Gate(at_once)
    failures: dict[int | str, dict[str, Any]] = {
        400: {"model": Failure, "description": "No photo, or too many."},
        404: {"model": Failure, "description": "There is no such model."},
        413: {"model": Failure, "description": "The request is too large."},
        422: {"model": Failure, "description": "The photo cannot be read."},
        503: {"model": Failure, "description": "Too many requests wait; see Retry-After."},
    }

    @router.post(
        PREDICT,
        response_model=Predictions,
        response_model_exclude_none=True,
        responses=failures,
        openapi_extra={"requestBody": _BODY},
        summary="Tell what is to be seen in photos",
    )
    async def predict(
        request: Request,
        model: Annotated[str | None, Query(description="Of /api/v1/models; the first by default.")] = None,
        top: Annotated[int | None, Query(ge=1, description="Give the most probable classes alone.")] = None,
    ) -> Response:
        started = time.perf_counter()
        try:
            with gate.entered():
                response = await _answered(request, _named(served, model), top, metrics)
        except BusyError:
            response = _failure(503, "Too many requests wait.", "Try again in a second.")
            response.headers["Retry-After"] = _RETRY_AFTER
        except _RefusedError as refusal:
            response = _failure(refusal.status, refusal.message, refusal.hint)
        except ClientDisconnect:
            response = _failure(400, "The request broke off.", "")  # which nobody reads, but which is counted
        metrics.request(PREDICT, response.status_code, time.perf_counter() - started)
        return response

    @router.get(MODELS, summary="List the models on offer")
    async def models() -> list[ModelInfo]:
        return [
            ModelInfo(name=name, classes=list(each.predictor.classes), size=each.predictor.preprocess.size)
            for name, each in served.items()
        ]

    @router.get("/healthz", summary="Tell that the server answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/metrics", summary="Count requests and images, for Prometheus")
    async def counted() -> PlainTextResponse:
        waiting = {name: each.batcher.waiting for name, each in served.items()}
        return PlainTextResponse(metrics.text(waiting=waiting), media_type=CONTENT_TYPE)

    return router


class _RefusedError(Exception):
    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.hint = status, message, hint


def _named(served: Mapping[str, Served], name: str | None) -> Served:
    if not served:
        raise _RefusedError(404, "No model is on offer.", "Start 'zoo demo' with a run or an exported file.")
    if name is None:
        return next(iter(served.values()))
    if name not in served:
        near = close_matches(name, served) or tuple(served)
        raise _RefusedError(404, f"There is no model '{name[:100]}'.", f"Did you mean {', '.join(near)}?")
    return served[name]


async def _answered(request: Request, served: Served, top: int | None, metrics: Metrics) -> Response:
    photos = await _photos(request)
    try:
        answer = await served.predict(photos)
    except ZooError as error:
        raise _RefusedError(500, error.message, error.hint) from error
    failed = [outcome for outcome in answer.outcomes if isinstance(outcome, ImageError)]
    if len(photos) == 1 and failed:
        raise _RefusedError(422, failed[0].message, failed[0].hint)
    metrics.images(served.name, len(photos) - len(failed))
    return JSONResponse(_told(served.name, photos, answer, top).model_dump(exclude_none=True))


async def _photos(request: Request) -> list[tuple[str, bytes]]:
    """Returns names and bytes of the photos in a request: its whole body is one, or it is a form of files."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        body = await request.body()
        if not body:
            raise _RefusedError(
                400, "The request has no body.", f"Send a photo: curl --data-binary @photo.jpg URL{PREDICT}"
            )
        return [("photo", body)]
    try:
        async with request.form(max_files=MOST_PHOTOS, max_fields=MOST_PHOTOS) as form:
            files = [each for _, each in form.multi_items() if isinstance(each, UploadFile)]
            photos = [(each.filename or f"photo {n}", await each.read()) for n, each in enumerate(files, start=1)]
    except HTTPException as error:
        raise _RefusedError(400, f"The form cannot be read: {error.detail}", f"Up to {MOST_PHOTOS} files.") from error
    if not photos:
        raise _RefusedError(400, "The form holds no file.", "Send files: curl -F photos=@one.jpg -F photos=@two.jpg")
    return photos


def _told(model: str, photos: list[tuple[str, bytes]], answer: Answer, top: int | None) -> Predictions:
    predictions = []
    for (name, _), outcome in zip(photos, answer.outcomes, strict=True):
        if isinstance(outcome, ImageError):
            predictions.append(Told(name=name, error=Problem(message=outcome.message, hint=outcome.hint)))
            continue
        ranked = list(outcome.probabilities.items())[:top]
        predictions.append(
            Told(name=name, label=outcome.label, probability=outcome.probability, probabilities=dict(ranked))
        )
    return Predictions(
        model=model,
        predictions=predictions,
        milliseconds={"read": round(answer.read_ms, 3), "model": round(answer.model_ms, 3)},
    )


def _failure(status: int, message: str, hint: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "hint": hint}}, status_code=status)
