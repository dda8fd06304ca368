"""What `experiments.bench` can measure; a file here registers a suite by itself."""
