"""When a test gives up: so late that it ends a hang, and nothing else, however busy the machine is."""

LIMIT = 3600  # seconds
