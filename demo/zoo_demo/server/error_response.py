"""The form of every error the server answers with: ``{"error": {"message": ..., "hint": ...}}``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Mapping

# For a request that is rejected before its body is read: the rest of the body must not be taken for the next request.
CLOSE = {"Connection": "close"}


class ErrorDetail(BaseModel):
    """What went wrong, and what to do about it."""

    message: str
    hint: str = ""


class ErrorResponse(BaseModel):
    """The response to a request that failed."""

    error: ErrorDetail


def error_response(
    status: int, message: str, hint: str = "", *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Returns an error as a response; call it as an ASGI application to send it."""
    content = ErrorResponse(error=ErrorDetail(message=message, hint=hint)).model_dump()
    return JSONResponse(content, status_code=status, headers=headers)
