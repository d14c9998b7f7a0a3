"""The port: what there is, what there is not, and a port that cannot be had."""

import asyncio
import contextlib
import gzip
import http.client
import json
import signal
import socket
import time

import pytest

from hunch.clock import SystemClock
from hunch.errors import ConfigError
from hunch.http.pages import ASSETS, Pages, as_json, asyncapi_pages
from hunch.http.server import HttpServer

PAGES = {"/live": lambda _: as_json({"live": True}), **asyncapi_pages(lambda: {"asyncapi": "3"})}


def free_port():
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


@contextlib.asynccontextmanager
async def serving(host="127.0.0.1"):
    """A function that asks the server for a path, from a thread of its own."""
    port = free_port()
    server = HttpServer(Pages(PAGES), host=host, port=port, clock=SystemClock())
    server.start()

    def ask(method, path, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    yield lambda *asked, **headers: asyncio.to_thread(ask, *asked, **headers)
    await server.stop()


async def test_what_is_not_there_is_told_what_is():
    """404 as JSON with the paths; other methods than GET and HEAD are refused with 405."""
    async with serving() as ask:
        missing, _, body = await ask("GET", "/nothing")
        refused, headers, _ = await ask("POST", "/live")

    assert 404 == missing
    assert ["/live", "/asyncapi"] == json.loads(body)["there is"]
    assert (405, "GET, HEAD") == (refused, headers["allow"])


async def test_head_is_get_without_a_body():
    """Probes may ask for the head only."""
    async with serving() as ask:
        status, headers, body = await ask("HEAD", "/live")
        _, _, whole = await ask("GET", "/live")

    assert (200, b"", str(len(whole))) == (status, body, headers["content-length"])


async def test_the_page_and_its_parts_come_from_the_package():
    """HTML, style and script; the script compressed for those who take it so."""
    async with serving() as ask:
        _, page, html = await ask("GET", "/asyncapi")
        _, _, style = await ask("GET", "/asyncapi/default.min.css")
        _, packed, small = await ask("GET", "/asyncapi/index.js", **{"Accept-Encoding": "gzip, br"})
        _, plain, whole = await ask("GET", "/asyncapi/index.js")
        _, _, document = await ask("GET", "/asyncapi.json")

    assert b"//" not in html
    assert page["content-security-policy"].startswith("default-src 'self'")
    assert (ASSETS / "default.min.css").read_bytes() == style
    assert ("gzip", None) == (packed["content-encoding"], plain["content-encoding"])
    assert gzip.decompress(small) == whole
    assert {"asyncapi": "3"} == json.loads(document)


async def test_a_port_that_is_taken_is_refused_with_a_sentence():
    """The start fails with what to do, and no stack trace."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = HttpServer(Pages(PAGES), host="127.0.0.1", port=port, clock=SystemClock())
        with pytest.raises(ConfigError, match=rf"http_port = {port} .* set another http_port"):
            server.start()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
async def test_a_host_that_is_not_here_is_refused_with_a_sentence(host):
    """An unknown name, and an address of another machine."""
    server = HttpServer(Pages(PAGES), host=host, port=free_port(), clock=SystemClock())

    with pytest.raises(ConfigError, match=r"http_port = \d+ cannot be opened at"):
        server.start()


async def test_signals_stay_with_those_who_drain():
    """The server takes no handler over, and gives none back."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with serving() as ask:
        await ask("GET", "/live")
        during = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    assert before == during


async def test_it_ends_within_a_second_also_with_a_client_that_stays():
    """An idle connection is closed, and the port is free afterwards."""
    port = free_port()
    server = HttpServer(Pages(PAGES), host="127.0.0.1", port=port, clock=SystemClock())
    server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /live HTTP/1.1\r\nHost: here\r\n\r\n")
    await reader.readline()
    began = time.monotonic()
    await server.stop()
    took_s = time.monotonic() - began
    writer.close()

    assert took_s < 1.0
    with socket.create_server(("127.0.0.1", port)):
        pass
