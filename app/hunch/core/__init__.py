"""Pure decisions: no await, no clock, no environment, no logging; `now_ms` is an argument."""
