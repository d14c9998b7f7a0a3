"""fast, slow, join: each receives, decodes, asks the core, encodes and hands to its lane."""
