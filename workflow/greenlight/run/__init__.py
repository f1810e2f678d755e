"""The run: job descriptions, what is stale, stages and the children that they start."""
