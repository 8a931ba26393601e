"""Several runs together: repetitions over seeds, sweeps over settings, comparisons of two."""
