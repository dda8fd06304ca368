"""A plugin of xlstm_jax: importing it registers a cell, a block, a text, a task and a suite."""

from my_recurrences import block, cell, source, suite, task

__all__ = ["block", "cell", "source", "suite", "task"]
