"""Commands that make, measure and pass on models: training, scores, comparisons, weight files."""
