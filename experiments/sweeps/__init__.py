"""Questions that `experiments.sweep` answers; a file here is one, with variants as `FILE:VARIANT`."""
