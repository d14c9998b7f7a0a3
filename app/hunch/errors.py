"""Everything that Hunch raises, by who has to act.

    HunchError
    ├── ConfigError          the operator: the start is refused with one sentence
    │   ├── TopicMismatch    … because the topics are not as Hunch needs them
    │   ├── PolicyError      … because a policy is broken or made for other models
    │   └── DataError        … because recorded data cannot answer what was asked
    ├── ModelError           the operator: a model cannot be used
    │   ├── ModelNotFound
    │   ├── ChecksumMismatch
    │   └── InferenceFailed  nobody: this batch falls back, and is counted
    ├── NotCertified         the operator: with these rows a goal cannot be promised
    ├── WireError            nobody: the message becomes a dead letter, and work goes on
    ├── BrokerError          the lane closes and takes over again; at start, the process ends
    │   └── BrokerUnreachable
    ├── LaneClosed           the lane: this process does not own the partition any more
    ├── ProcessStuck         the orchestrator: the process ends, another one takes over
    └── InvariantBroken      us: a bug

A message is one sentence for the person who has to act: what is wrong, and what to do about it.
"""


class HunchError(Exception):
    """The root: its text is shown to people, never with a stack trace."""

    exit_code = 1
    """What a process that ends by this error returns."""


class ConfigError(HunchError):
    """A setting, file or argument is wrong; nothing was started."""

    exit_code = 2


class TopicMismatch(ConfigError):
    """Topics are missing or not shaped as Hunch needs them."""


class PolicyError(ConfigError):
    """A policy file is broken, or was made for other models."""


class DataError(ConfigError):
    """Labelled or recorded data does not allow what was asked of it."""


class ModelError(HunchError):
    """A model cannot be used."""

    exit_code = 2


class ModelNotFound(ModelError):
    """No model stands where the settings point to."""


class ChecksumMismatch(ModelError):
    """A model file is not the one that its `model.json` describes."""


class InferenceFailed(ModelError):
    """The model ran and failed on a whole batch."""


class NotCertified(HunchError):
    """What was asked for cannot be promised with the recorded rows; no policy is written."""

    exit_code = 4


class WireError(HunchError):
    """Bytes from a topic do not mean anything to Hunch."""


class BrokerError(HunchError):
    """The broker refused or did not answer in time."""

    exit_code = 3


class BrokerUnreachable(BrokerError):
    """Nobody answers at the bootstrap address."""


class LaneClosed(HunchError):
    """The partition may belong to somebody else by now."""


class ProcessStuck(HunchError):
    """Something in this process hangs and cannot be ended from inside."""


class InvariantBroken(HunchError):
    """A bug in Hunch."""
