"""The command line in a process of its own, in an empty folder; what a Jaeger looks like to it."""

import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hunch.testing import OtlpReceiver

APP = Path(__file__).resolve().parents[2] / "app"


@pytest.fixture
def hunch(tmp_path):
    """Runs `hunch …` as a user does; answers the finished process."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("HUNCH_")}

    def run(*arguments, stdin=None, **variables):
        return subprocess.run(
            [sys.executable, "-c", "from hunch.cli import main; main()", *arguments],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": str(APP), **variables},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    return run


class JaegerPages(http.server.BaseHTTPRequestHandler):
    """Answers as the pages of a Jaeger do when they are asked for services."""

    def do_GET(self):
        """Nothing else is there."""
        self.send_response(200 if self.path == "/api/services" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments):
        """Says nothing."""


@pytest.fixture
def jaeger_pages():
    """The address of a Jaeger's pages; its other end is an `OtlpReceiver`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), JaegerPages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def collector():
    """Takes spans over HTTP."""
    with OtlpReceiver(protocols=["http/protobuf"]) as receiver:
        yield receiver
