"""From data sets to a model one can cite: corpora, training, metrics, reports."""
