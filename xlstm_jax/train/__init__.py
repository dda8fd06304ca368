"""Training: optimizer, step, loop, checkpoints, evaluation, metrics."""
