"""The FastStream application: it hosts the members' seats and the life of the process.

`hunch run` and `faststream run hunch.main:app` do the same. The data plane is not FastStream's: its
subscribers sit in the groups, pause everything and never handle a message; lanes do the work.

    start     check topics and models, warm the models, start the stages; then join the groups
    ready     every stage reads every partition that it owns
    stop      read no more, finish what is in hand within `drain_ms`, commit, leave the groups
"""

import asyncio
import contextlib
import gc
import os
import platform
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from functools import partial
from typing import Any

from aiokafka.errors import InvalidSessionTimeoutError, KafkaError
from faststream import FastStream

from hunch import __version__
from hunch.assembly import (
    Models,
    Pair,
    enforce,
    enforce_settings,
    exit_policy_of,
    find_pair,
    make_cascade,
    make_member,
    make_models,
    tell_what_is_in_force,
    warn_of_a_short_delta,
)
from hunch.clock import SystemClock
from hunch.errors import (
    BrokerError,
    BrokerUnreachable,
    ConfigError,
    HunchError,
    InvariantBroken,
)
from hunch.http.asyncapi import document
from hunch.http.pages import Page, Pages, as_text, asyncapi_pages, judged
from hunch.http.server import HttpServer
from hunch.kafka import embedded
from hunch.kafka.aio import KafkaClient, wait_for_broker
from hunch.kafka.control import ControlReader
from hunch.kafka.seats import seated
from hunch.kafka.topics import ensure_embedded, require_verified
from hunch.settings import Settings, load
from hunch.stages.cascade import Cascade
from hunch.stages.health import live, ready
from hunch.stages.in_force import Control, InForce
from hunch.stages.stage import Stage
from hunch.telemetry import Metrics, configure_logging, log_event, otel
from hunch.telemetry.otlp_metrics import OtlpMetrics, exporter
from hunch.telemetry.prometheus import Prometheus
from hunch.telemetry.tracing import Tracing

READY_LOOK_MS = 50
BROKER_LOOK_MS = 2_000
YOUNG_OBJECTS = 50_000
LEAVE_MS = 3_000
"""After the drain, the time to leave the groups."""
CLOSE_MS = 4_000
"""After the groups are left, the time to send the last spans and metrics, and to close."""


class Service:
    """The stages of one process, from start to stop."""

    def __init__(self, settings: Settings, stages: Sequence[str]) -> None:
        self.settings = settings
        self.stages = tuple(stages)
        self.exit_code = 0
        self._clock = SystemClock()
        self._metrics = Metrics()
        asked = otel.asked(is_traced=settings.trace_ratio is not None)
        self._tracing = Tracing(
            asked,
            ratio=settings.trace_ratio,
            paths_per_s=settings.trace_paths_per_s,
            metrics=self._metrics,
        )
        self._running: list[Stage] = []
        self._models: Models = {}
        self._in_force = InForce(exit_policy_of(settings))
        self._control: ControlReader | None = None
        self._is_draining = False
        self._leaving: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._client: KafkaClient | None = None
        self._embedded: embedded.EmbeddedBroker | None = None
        self._bootstrap = settings.bootstrap
        self._security = settings.security()
        if settings.bootstrap == embedded.ADDRESS:
            self._embedded = embedded.EmbeddedBroker()
            self._embedded.start()
            self._bootstrap = self._embedded.bootstrap
        self._fetch_max_wait_ms = embedded.FETCH_MAX_WAIT_MS if self._embedded else 20
        self._members = {
            name: make_member(
                settings,
                name,
                self._clock,
                self._metrics,
                is_embedded=self._embedded is not None,
            )
            for name in self.stages
        }
        self._broker = seated(
            self._members.values(),
            self._bootstrap,
            security=self._security,
            fetch_max_wait_ms=self._fetch_max_wait_ms,
            request_timeout_ms=settings.request_timeout_ms,
        )
        self.app = FastStream(
            self._broker,
            logger=None,
            lifespan=self._lifespan,
            on_shutdown=[self._drain],
        )
        self._http = None if settings.http_port is None else self._make_http(settings.http_port)
        self._otlp = self._make_otlp(asked) if asked.metrics else None

    def _make_http(self, port: int) -> HttpServer:
        settings, prometheus = self.settings, Prometheus(self._metrics)
        pages: dict[str, Page] = {
            "/live": lambda _: judged(*live(self._running, settings.live_timeout_ms)),
            "/ready": lambda _: judged(*self._ready()),
            "/metrics": lambda asked: as_text(*prometheus.render(asked.get("accept", ""))),
            **asyncapi_pages(document(settings, self._broker)),
        }
        return HttpServer(Pages(pages), host=settings.http_host, port=port, clock=self._clock)

    def _make_otlp(self, asked: otel.Asked) -> OtlpMetrics:
        destination = asked.metrics_destination
        return OtlpMetrics(
            self._metrics,
            clock=self._clock,
            resource=otel.resource(self.stages[0] if len(self.stages) == 1 else None),
            interval_ms=asked.metrics_interval_ms,
            make_exporter=lambda: exporter(destination.protocol, destination.timeout_s),
        )

    def _ready(self) -> tuple[bool, dict[str, Any]]:
        """Ready once there are stages, until the drain; what is missing stands in the answer."""
        if self._is_draining or not self._running:
            state = "the process is draining" if self._is_draining else "the process is starting"
            return False, {"ready": False, "missing": [state]}
        return ready(self._running)

    # -- life

    @contextlib.asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        try:
            await self._start()
        except HunchError as error:
            await self._close()
            self._fail(error)
            raise SystemExit(self.exit_code) from None
        announcing = asyncio.create_task(self._announce_ready())
        try:
            yield
        finally:
            announcing.cancel()
            await self._close()
            log_event("stopped", counts=self._metrics.snapshot())
        if self.exit_code:
            raise SystemExit(self.exit_code)

    async def _start(self) -> None:
        settings = self.settings
        log_event(
            "starting",
            version=__version__,
            stages=self.stages,
            bootstrap=self._bootstrap,
            http=self._http and f"{settings.http_host}:{settings.http_port}",
            python=platform.python_version(),
        )
        if self._http is not None:
            self._http.start()
        pair = find_pair(settings) if {"fast", "slow"} & set(self.stages) else None
        if pair is not None:
            self._in_force = InForce(enforce_settings(settings, pair))
            self._models = make_models(settings, pair, self.stages, self._clock)
        warn_of_a_short_delta(settings, self._in_force.policy)
        self._tracing.start()
        await self._wait_for_broker()
        self._client = KafkaClient(
            self._bootstrap,
            self._clock,
            security=self._security,
            fetch_max_wait_ms=self._fetch_max_wait_ms,
            request_timeout_ms=settings.request_timeout_ms,
        )
        if self._embedded is not None:
            serving = ensure_embedded(self._embedded, settings)
        else:
            serving = await require_verified(self._bootstrap, settings, self._clock)
        for model in self._models.values():
            await model.start()
        if pair is not None and serving.has_control:
            await self._follow_control(self._client, pair)
        cascade = make_cascade(
            settings,
            serving,
            in_force=self._in_force,
            client=self._client,
            clock=self._clock,
            metrics=self._metrics,
            tracer=self._tracing.tracer,
        )
        self._running = self._make_stages(cascade)
        tell_what_is_in_force(settings, self._in_force, self._models, self._metrics)
        _calm_the_garbage_collector()
        self._tasks += [
            asyncio.create_task(self._watch(f"{stage.name} stage", stage.run()))
            for stage in self._running
        ]
        if self._otlp is not None:
            self._tasks.append(asyncio.create_task(self._otlp.run()))

    async def _wait_for_broker(self) -> None:
        settings = self.settings
        until_ms = self._clock.now_ms() + settings.startup_timeout_ms
        while True:
            left_ms = max(0.0, until_ms - self._clock.now_ms())
            try:
                await wait_for_broker(
                    self._bootstrap,
                    self._clock,
                    min(BROKER_LOOK_MS, left_ms),
                    security=self._security,
                )
            except BrokerUnreachable:
                if left_ms <= BROKER_LOOK_MS:
                    raise
                log_event("waiting_for_broker", bootstrap=self._bootstrap, left_ms=int(left_ms))
            else:
                return
            if self.app._should_exit:  # noqa: SLF001 - SIGTERM while nothing runs yet
                log_event("stopped", message="asked to stop before the broker answered")
                raise SystemExit(0)

    def _make_stages(self, cascade: Cascade) -> list[Stage]:
        made = []
        for name, member in self._members.items():
            if name == "fast":
                made.append(cascade.fast(member, self._models[name]))
            elif name == "slow":
                model = self._models[name]
                made.append(cascade.slow(member, model, model.service_ms))
            else:
                made.append(cascade.join(member))
        return made

    async def _follow_control(self, client: KafkaClient, pair: Pair) -> None:
        """Brings into force what was pushed by now, and goes on listening."""
        settings, topic = self.settings, self.settings.topic("control")
        take = Control(self._in_force, partial(enforce, settings, pair), self._metrics).take
        self._control = ControlReader(client, topic, take, self._clock)
        await self._control.start(settings.startup_timeout_ms)
        following = self._watch("reader of control", self._control.run())
        self._tasks.append(asyncio.create_task(following))

    async def _watch(self, name: str, running: Coroutine[Any, Any, None]) -> None:
        """Runs a part of the process; what it cannot mend by itself ends the process."""
        try:
            await running
        except HunchError as error:
            self._fail(error)
        except KafkaError as error:
            self._fail(BrokerError(f"The broker refuses the {name}: {error!r}."))
        except Exception as error:  # noqa: BLE001 - a bug ends the process with a sentence
            self._fail(InvariantBroken(f"This is a bug in Hunch, please report it: {error!r}."))

    def _fail(self, error: HunchError) -> None:
        log_event("error", message=str(error), kind=type(error).__name__)
        self.exit_code = error.exit_code
        self.app.exit()

    async def _announce_ready(self) -> None:
        while not all(stage.is_ready() for stage in self._running):
            await self._clock.sleep(READY_LOOK_MS)
        log_event(
            "ready",
            stages=self.stages,
            bootstrap=self._bootstrap,
            partitions={stage.name: sorted(stage.member.terms) for stage in self._running},
            models=[model.model for model in self._models.values()],
            providers=[model.providers for model in self._models.values()],
            policy=self._in_force.policy.name,
            tau=self._in_force.policy.tau,
            delta_ms=self._in_force.policy.delta_ms,
            delivery=self.settings.delivery,
        )

    async def _drain(self) -> None:
        self._is_draining = True
        log_event("draining", drain_ms=self.settings.drain_ms)
        self._leaving = asyncio.get_running_loop().call_later(
            (self.settings.drain_ms + LEAVE_MS) / 1000,
            self._cut_short,
            "the broker did not answer in time",
            1,
        )
        await asyncio.gather(*(stage.drain(self.settings.drain_ms) for stage in self._running))

    def _cut_short(self, message: str, code: int) -> None:
        """Ends a process that something does not let go: what it held stays in Kafka."""
        log_event("drain_cut_short", message=message)
        os._exit(self.exit_code or code)

    async def _close(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        closing = asyncio.get_running_loop().call_later(
            CLOSE_MS / 1000,
            self._cut_short,
            "the groups are left, but closing took too long",
            0,
        )
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(
            asyncio.to_thread(self._tracing.stop),
            *(part.close() for part in [self._otlp] if part is not None),
            *(part.stop() for part in (self._http, self._control) if part is not None),
        )
        for model in self._models.values():
            await model.stop()
        if self._client is not None:
            await self._client.close()
        if self._embedded is not None:
            self._embedded.stop()
        closing.cancel()


def _calm_the_garbage_collector() -> None:
    """Leaves alone what stays for good, and looks less often at what is young.

    A batch makes thousands of tuples and lists that are all alive until it is acknowledged: at the
    default of 700 the collector takes a fifth of the fast stage's time, and finds nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)


def run(settings: Settings, stages: Sequence[str]) -> int:
    """Runs these stages until SIGTERM or SIGINT; the exit code of the process."""
    configure_logging(SystemClock())
    service = Service(settings, stages)
    try:
        _runner()(service.app.run())
    except SystemExit as ended:
        return int(ended.code or 0)
    except InvalidSessionTimeoutError:
        log_event(
            "error",
            message=f"The broker does not allow session_timeout_ms = {settings.session_timeout_ms}:"
            " set it between its group.min.session.timeout.ms and group.max.session.timeout.ms.",
        )
        return ConfigError.exit_code
    except KafkaError as error:
        log_event("error", message=f"The broker refuses this process: {error!r}.")
        return BrokerError.exit_code
    return service.exit_code


def _runner() -> Any:
    try:
        import uvloop  # noqa: PLC0415 - not there on every platform
    except ImportError:
        return asyncio.run
    return uvloop.run


def __getattr__(name: str) -> FastStream:
    """Makes `app` when `faststream run hunch.main:app` asks for it, from hunch.toml and HUNCH_*."""
    if name != "app":
        raise AttributeError(name)
    configure_logging(SystemClock())
    try:
        settings = load(None, {}).decided()
        app = Service(settings, settings.stages).app
    except HunchError as error:
        log_event("error", message=str(error), kind=type(error).__name__)
        sys.exit(error.exit_code)
    globals()["app"] = app
    return app
