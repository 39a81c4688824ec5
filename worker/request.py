"""The request of a Celery worker for one execution of a task."""

from typing import Any

from celery.worker.request import Request as StockRequest


class Request(StockRequest):
    """A request that ends once, although Celery reports a killed or lost process twice."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Handle the time limit, unless the process was lost before."""
        if not self.acknowledged:
            super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> None:
        """Handle a failure, unless the process was killed for the time limit."""
        if not self.acknowledged:
            super().on_failure(exc_info, *args, **kwargs)
