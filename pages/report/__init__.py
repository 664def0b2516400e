"""The report of a run: one self-contained HTML file with the film's timeline and what to look at first."""
