"""Hunch answers every message on a Kafka topic with one decision, as fast as it can afford to.

The rooms, from the outside in; imports point one way, towards the bottom of this list:

    cli, main     the commands; the FastStream application that hosts the stages
    assembly      from settings to the parts of a process
    http          health, metrics and the AsyncAPI document of a running process
    stages        fast, slow, join: receive, decode, ask the core, encode, hand to the lane
    evaluation    recorded answers, and τ and Δ that follow: record, calibrate, sweep, report
    kafka         members, lanes and takeover, codec, topics, the embedded broker
    inference     predictors, model repository, input features
    telemetry     every event, counter and attribute name
    core          pure: envelopes, confidence, exit policy, batching, the joiner's state machine
    errors        everything that is raised, by who has to act

`settings`, `clock` and `bundled` are leaves; `testing` is public and stands beside the stages.
"""

__version__ = "0.1.0"
