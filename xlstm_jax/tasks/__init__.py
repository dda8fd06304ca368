"""What is learned: data, loss and metrics, a file a task."""

from xlstm_jax.tasks.base import TASKS, Loan, Task

__all__ = ["TASKS", "Loan", "Task"]
