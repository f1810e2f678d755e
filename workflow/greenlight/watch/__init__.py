"""What torch.compile did: observer, health, readiness, modes, caches."""
