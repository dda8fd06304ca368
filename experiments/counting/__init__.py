"""Counts what kernels do on a device, from their programs alone: no device is needed."""
