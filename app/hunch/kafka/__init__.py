"""The log as Hunch uses it: members, lanes and takeover, codec, topics, the embedded broker."""
