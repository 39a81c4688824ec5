"""A request of a Celery worker for a task's execution, that ends once."""

from typing import Any

from celery.worker.request import Request as StockRequest


class Request(StockRequest):
    """Celery tells of a killed process twice, and of a lost one's time limit: it hears one end."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Told when the time limit is over, also that of a task whose process was lost before."""
        if not self.acknowledged:
            super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> None:
        """Told when the task failed, also when its process was killed for the time limit."""
        if not self.acknowledged:
            super().on_failure(exc_info, *args, **kwargs)
