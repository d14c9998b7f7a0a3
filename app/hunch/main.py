"""The FastStream application: it hosts the members' seats and the life of the process.

`hunch run` and `faststream run hunch.main:app` do the same. The data plane is not FastStream's: its
subscribers sit in the groups, pause everything and never handle a message; lanes do the work.

    start     check topics and models, warm the models, start the stages; then join the groups
    ready     every stage reads every partition that it owns
    stop      read no more, finish what is in hand within `drain_ms`, commit, leave the groups
"""

import asyncio
import contextlib
import os
import platform
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka.errors import InvalidSessionTimeoutError, KafkaError
from faststream import FastStream

from hunch import __version__
from hunch.clock import SystemClock
from hunch.core.batching import BatchPolicy
from hunch.core.exiting import ExitPolicy
from hunch.core.joining import JoinPolicy
from hunch.errors import (
    BrokerError,
    BrokerUnreachable,
    ConfigError,
    HunchError,
    InvariantBroken,
)
from hunch.inference.onnx import OnnxPredictor
from hunch.inference.repository import load as load_model
from hunch.inference.repository import match_labels
from hunch.kafka import embedded
from hunch.kafka.aio import KafkaClient, wait_for_broker
from hunch.kafka.lane import LanePolicy
from hunch.kafka.member import Member, MemberPolicy
from hunch.kafka.names import Names
from hunch.kafka.seats import seated
from hunch.kafka.topics import ensure_embedded, require_verified
from hunch.settings import Settings, load
from hunch.stages.cascade import Cascade
from hunch.stages.stage import Stage
from hunch.telemetry import Metrics, configure_logging, log_event

READY_LOOK_MS = 50
BROKER_LOOK_MS = 2_000
LEAVE_MS = 3_000
"""After the drain, the time to leave the groups and to close."""
POLICY_NAME = "settings"


class Service:
    """The stages of one process, from start to stop."""

    def __init__(self, settings: Settings, stages: Sequence[str]) -> None:
        self.settings = settings
        self.stages = tuple(stages)
        self.exit_code = 0
        self._clock = SystemClock()
        self._metrics = Metrics()
        self._running: list[Stage] = []
        self._predictors: list[OnnxPredictor] = []
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
        self._members = {name: self._member(name) for name in self.stages}
        self.app = FastStream(
            seated(
                self._members.values(),
                self._bootstrap,
                security=self._security,
                fetch_max_wait_ms=self._fetch_max_wait_ms,
                request_timeout_ms=settings.request_timeout_ms,
            ),
            logger=None,
            lifespan=self._lifespan,
            on_shutdown=[self._drain],
        )

    def _member(self, name: str) -> Member:
        settings = self.settings
        policy = MemberPolicy(
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.heartbeat_interval_ms,
            commit_interval_ms=settings.commit_interval_ms,
        )
        if self._embedded is not None:
            policy = MemberPolicy(
                session_timeout_ms=embedded.SESSION_TIMEOUT_MS,
                heartbeat_interval_ms=300,
                commit_interval_ms=settings.commit_interval_ms,
            )
        return Member(
            stage=name,
            group=settings.group(name),
            topic=settings.topic("messages" if name == "fast" else "deferrals"),
            policy=policy,
            clock=self._clock,
            metrics=self._metrics,
        )

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
            python=platform.python_version(),
        )
        fast, slow = self._load_models()
        await self._wait_for_broker()
        self._client = KafkaClient(
            self._bootstrap,
            self._clock,
            security=self._security,
            fetch_max_wait_ms=self._fetch_max_wait_ms,
            request_timeout_ms=settings.request_timeout_ms,
        )
        if self._embedded is not None:
            partitions = ensure_embedded(self._embedded, settings)
        else:
            partitions = await require_verified(self._bootstrap, settings, self._clock)
        for predictor in (fast, slow):
            if predictor is not None:
                await predictor.start()
        cascade = self._cascade(self._client, partitions)
        self._running = self._make_stages(cascade, fast, slow)
        self._tasks = [asyncio.create_task(self._watch(stage)) for stage in self._running]

    def _load_models(self) -> tuple[OnnxPredictor | None, OnnxPredictor | None]:
        """The models of the stages that run here; their labels must match, so both are read."""
        settings = self.settings
        if not {"fast", "slow"} & set(self.stages):
            return None, None
        fast, slow = load_model(settings.fast_model), load_model(settings.slow_model)
        match_labels(fast.labels, slow.labels)
        made = [
            OnnxPredictor(
                model,
                clock=self._clock,
                intra_op_threads=settings.intra_op_threads,
                providers=settings.providers,
                max_batch_size=settings.max_batch_size,
                inference_timeout_ms=settings.inference_timeout_ms,
            )
            if name in self.stages
            else None
            for name, model in (("fast", fast), ("slow", slow))
        ]
        self._predictors = [predictor for predictor in made if predictor is not None]
        return made[0], made[1]

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

    def _cascade(self, client: KafkaClient, partitions: int) -> Cascade:
        settings = self.settings
        return Cascade(
            client=client,
            clock=self._clock,
            metrics=self._metrics,
            names=Names(
                messages=settings.topic("messages"),
                deferrals=settings.topic("deferrals"),
                slow_results=settings.topic("slow-results"),
                late_results=settings.topic("late-results"),
                decisions=settings.topic("decisions"),
                dead_letters=settings.topic("dead-letters"),
                partitions=partitions,
            ),
            exit_policy=ExitPolicy(
                name=POLICY_NAME,
                tau=settings.tau,
                delta_ms=settings.delta_ms,
                max_age_ms=settings.max_age_ms,
                deadline_from=settings.deadline_from,
            ),
            batch_policy=BatchPolicy(
                max_batch_size=settings.max_batch_size,
                max_queue_delay_ms=settings.max_queue_delay_ms,
                reserve_ms=settings.slow_reserve_ms,
            ),
            join_policy=JoinPolicy(max_pending=settings.max_pending, max_early=settings.max_early),
            lane_policy=LanePolicy(
                max_delivery_messages=settings.max_delivery_messages,
                max_inbox_records=settings.max_inbox_records,
                delivery_timeout_ms=3 * settings.request_timeout_ms,
                takeover_timeout_ms=settings.takeover_timeout_ms,
            ),
            max_slow_queue=settings.max_slow_queue,
            max_record_bytes=settings.max_record_bytes,
        )

    def _make_stages(
        self, cascade: Cascade, fast: OnnxPredictor | None, slow: OnnxPredictor | None
    ) -> list[Stage]:
        made = []
        for name, member in self._members.items():
            if name == "fast" and fast is not None:
                made.append(cascade.fast(member, fast))
            elif name == "slow" and slow is not None:
                made.append(cascade.slow(member, slow, slow.service_ms))
            else:
                made.append(cascade.join(member))
        return made

    async def _watch(self, stage: Stage) -> None:
        """Runs a stage; what it cannot mend by itself ends the process."""
        try:
            await stage.run()
        except HunchError as error:
            self._fail(error)
        except KafkaError as error:
            self._fail(BrokerError(f"The broker refuses the {stage.name} stage: {error!r}."))
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
            models=[predictor.model for predictor in self._predictors],
            providers=[predictor.providers for predictor in self._predictors],
            tau=self.settings.tau,
            delta_ms=self.settings.delta_ms,
            delivery=self.settings.delivery,
        )

    async def _drain(self) -> None:
        log_event("draining", drain_ms=self.settings.drain_ms)
        limit_s = (self.settings.drain_ms + LEAVE_MS) / 1000
        asyncio.get_running_loop().call_later(limit_s, self._cut_short)
        await asyncio.gather(*(stage.drain(self.settings.drain_ms) for stage in self._running))

    def _cut_short(self) -> None:
        """Ends a process whose broker does not let it go: what it held stays in Kafka."""
        log_event("drain_cut_short", message="the broker did not answer in time")
        os._exit(self.exit_code or 1)

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for predictor in self._predictors:
            await predictor.stop()
        if self._client is not None:
            await self._client.close()
        if self._embedded is not None:
            self._embedded.stop()


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
        settings = load(None, {}).settings
        app = Service(settings, settings.stages).app
    except HunchError as error:
        log_event("error", message=str(error), kind=type(error).__name__)
        sys.exit(error.exit_code)
    globals()["app"] = app
    return app
