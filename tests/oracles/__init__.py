"""What the cells and ops should compute, in float64 NumPy with plain loops, from the papers and from nothing else."""
