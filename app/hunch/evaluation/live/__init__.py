"""A sweep on a broker: what is sent, what came back, and how far a simulation is from it.

Nothing here reads or writes a topic: what was sent and seen comes as values.
"""
