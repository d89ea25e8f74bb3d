"""Composition: the command line, the pipeline and the processes that run it."""
