"""The protocol and the engine. Knows no method and no dataset by name."""
