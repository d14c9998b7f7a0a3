"""Models: where they lie, what they are fed, and how they are run."""
