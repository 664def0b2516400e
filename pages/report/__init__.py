"""The report of a run: one self-contained HTML file with the film's timeline and the pairs to look at first."""
