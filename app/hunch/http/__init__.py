"""What a running process answers over HTTP: health, metrics, and what its topics are."""
