"""What can be measured of a run once it is trained, by `experiments.measure`; a file here is one measure."""
