"""The contestants: forecasters behind the gate's door, which production can use without the gate."""
