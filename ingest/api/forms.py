"""Small JSON bodies of a closed form: read when it is known who sends them, and within limits."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ingest.api.body import read_body
from ingest.api.credentials import address_of
from ingest.api.gate import Gate
from ingest.breaches import broken

MOST_BYTES = 512 * 2**10


class Form(BaseModel):
    """Base of every form: no field it does not know, no text that cannot be stored, no number given as a text.

    The text below a field describes it in the OpenAPI document.
    """

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    @field_validator("*", mode="after")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise broken("含有字符 U+0000", "contains the character U+0000")
        return value


F = TypeVar("F", bound=Form)


def described(form: type[Form], example: dict[str, Any]) -> dict[str, Any]:
    """As a route's `openapi_extra`: the body is of this form."""
    schema = form.model_json_schema()
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        }
    }


async def read_form(gate: Gate, request: Request, form: type[F], *, most: int = MOST_BYTES) -> F:
    """The body, at most `most` bytes, as a form. Raises Problem, and RequestValidationError where a field is wrong."""
    payer = getattr(request.state, "payer", None) or address_of(request)  # nobody, of a login
    with gate.rooms.enter(payer) as room:
        body = await read_body(request, room, most=most)
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        raise RequestValidationError(found) from error
