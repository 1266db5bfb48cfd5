"""How the server refuses: a problem document (RFC 9457) with one clear line."""

from __future__ import annotations

import json
from http import HTTPStatus

from lesionlab.errors import one_line

PROBLEM = "application/problem+json"


class Problem(Exception):
    """A refusal with its HTTP status; `code` is a short word for metrics and programs."""

    def __init__(self, status: int, code: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = one_line(detail)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def body(self) -> bytes:
        """The document."""
        return json.dumps(
            {
                "type": "about:blank",
                "title": HTTPStatus(self.status).phrase,
                "status": self.status,
                "code": self.code,
                "detail": self.detail,
            }
        ).encode()
