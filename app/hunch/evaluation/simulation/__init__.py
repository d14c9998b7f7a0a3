"""A cascade without models and brokers: recorded answers, the real core, and a time of its own.

What decides is the core that runs in the stages: `ExitPolicy`, `BatchState` with `ServiceTimes`,
`ContiguousPrefix` and `JoinState`; `now` is their argument. What is modelled is what lies between:

    place       what is measured: times of the models, of a message in each stage, of the broker
    deployment  processes, partitions and the bounds of the lanes, as in the settings
    way_out     a lane's outbox and its deliveries, as `hunch.kafka.lane` does them
    fast, slow, join    one stage each
    run         messages through all of them

Nothing flows back from a stage to the one before it, so each is simulated whole before the next
one: the fast stage costs Python a batch, not a message; only deferrals cost Python each. Stages are
taken to be processes of their own on enough cores; time is in milliseconds from 0.
"""
