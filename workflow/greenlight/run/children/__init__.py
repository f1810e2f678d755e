"""What runs inside a trial: one module a kind of trial, each called in a child process of its own."""
