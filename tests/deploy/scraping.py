"""A real Prometheus with the configuration of deploy/, which scrapes stages on this machine."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from tests.brokers import ROOT, comes_true

CONFIGURATION = ROOT / "deploy/prometheus/prometheus.yml"
READY_S = 20.0
WINDOW = "20s"
"""What stands for Grafana's $__rate_interval: longer than a test's traffic."""


def configuration(targets: Mapping[str, str]) -> str:
    """prometheus.yml, with addresses instead of DNS, and without a wait between two looks."""
    read = yaml.safe_load(CONFIGURATION.read_text("utf-8"))
    read["global"] = dict.fromkeys(read["global"], "1s")
    read["rule_files"] = [str(CONFIGURATION.parent / name) for name in read["rule_files"]]
    (job,) = read["scrape_configs"]
    del job["dns_sd_configs"], job["relabel_configs"]
    job["static_configs"] = [
        {"targets": [address], "labels": {"service": name}} for name, address in targets.items()
    ]
    return yaml.safe_dump(read)


class Prometheus:
    """One Prometheus; `targets` is service → address, `program` what is started."""

    def __init__(self, program: str, folder: Path, port: int, targets: Mapping[str, str]) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._scraped = len(targets)
        (folder / "prometheus.yml").write_text(configuration(targets))
        with (folder / "prometheus.log").open("w") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    "--config.file=prometheus.yml",
                    "--storage.tsdb.path=tsdb",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_ready(self) -> None:
        """Returns when every target has been scraped twice, so that rates have a start."""
        claim = "count_over_time(up[1m]) >= 2"
        assert comes_true(lambda: self._scraped == len(self.ask(claim)), READY_S), self.ask("up")

    def wait_next(self) -> None:
        """Returns when all that has happened until now is in Prometheus."""
        now = time.time()
        claim = f"timestamp(up) > {now:.3f}"
        assert comes_true(lambda: self._scraped == len(self.ask(claim)), READY_S), self.ask("up")

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now; none while Prometheus does not answer yet."""
        query = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"{self._base}/api/v1/query?{query}", timeout=5) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return []
            raise AssertionError(f"{expression}\n{error.read().decode()}") from None
        except urllib.error.URLError:
            return []
        return found

    def stop(self) -> None:
        """Ends it and waits for its end."""
        self._process.terminate()
        self._process.wait(20)
