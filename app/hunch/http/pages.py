"""Paths and what they answer: GET and HEAD of what there is, JSON for everything else.

A page is a function; it runs on the event loop, between two slices of work, and takes about 1 ms.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
from faststream.asgi import AsgiResponse

Page = Callable[[Mapping[str, str]], AsgiResponse]
"""From the headers of a request, in small letters, to its answer."""
ASSETS = Path(__file__).parents[1] / "assets" / "asyncapi"
METHODS = ("GET", "HEAD")
ONLY_FROM_HERE = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'"
)
"""The browser asks no other host, whatever a library has in mind."""
CACHED = {"cache-control": "max-age=3600"}


class Pages:
    """The ASGI application."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request."""
        await self._answer(scope)(scope, receive, send)

    def _answer(self, scope: Any) -> AsgiResponse:
        page = self._pages.get(scope["path"])
        if page is None:
            there_is = [path for path in self._pages if not Path(path).suffix]
            return as_json({"error": "not found", "there is": there_is}, status=404)
        if scope["method"] not in METHODS:
            answer = {"error": f"only {' and '.join(METHODS)} are answered"}
            return as_json(answer, status=405, allow=", ".join(METHODS))
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        return page(headers)


def as_json(value: object, *, status: int = 200, **headers: str) -> AsgiResponse:
    """A JSON answer."""
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return AsgiResponse(body, status, {"content-type": "application/json", **headers})


def as_text(body: bytes, content_type: str) -> AsgiResponse:
    """A text of that type."""
    return AsgiResponse(body, 200, {"content-type": content_type})


def judged(is_well: bool, answer: object) -> AsgiResponse:
    """A judgement: 200 where all is well, 503 where it is not, and why."""
    return as_json(answer, status=200 if is_well else 503)


def asyncapi_pages(document: object) -> dict[str, Page]:
    """The AsyncAPI document as JSON and as a page, with all that the page needs, made once."""
    html = {"content-type": "text/html; charset=utf-8", "content-security-policy": ONLY_FROM_HERE}
    style = {"content-type": "text/css; charset=utf-8", **CACHED}
    script = {
        "content-type": "text/javascript; charset=utf-8",
        "content-encoding": "gzip",
        **CACHED,
    }
    answers = {
        "/asyncapi": AsgiResponse((ASSETS / "page.html").read_bytes(), 200, html),
        "/asyncapi.json": as_json(document),
        "/asyncapi/index.js": AsgiResponse((ASSETS / "index.js.gz").read_bytes(), 200, script),
        "/asyncapi/default.min.css": AsgiResponse(
            (ASSETS / "default.min.css").read_bytes(), 200, style
        ),
    }
    return {path: functools.partial(_always, answer) for path, answer in answers.items()}


def _always(answer: AsgiResponse, _: Mapping[str, str]) -> AsgiResponse:
    return answer
