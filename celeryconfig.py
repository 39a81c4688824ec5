"""Celery's settings, the queues and the timetable: what runs, and when.

A comment gives the reason of a setting; the measurements are in docs/decisions/0002.
"""

from billing_client import tls
from billing_client.messages import MESSAGES
from worker.settings import settings
from worker.transport import queues

_config = settings()

# --- the broker ---------------------------------------------------------------------------------
broker_url = _config.redis_url
broker_transport = "worker.transport.transport:Transport"
#: By default kombu accepts any certificate, and Flower does not read the URL.
broker_use_ssl = tls.celery_options(broker_url)
broker_transport_options = {
    "visibility_timeout": _config.visibility_timeout_s,
    # The rate at which a dead worker's messages, and those that are to run later, are requeued;
    # stock Celery requeues 10 every 100 seconds.
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    "unacked_restore_limit": 500,
    **queues.TIMEOUTS,
}
broker_connection_timeout = queues.TIMEOUTS["socket_connect_timeout"]
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
#: Otherwise a worker exits when Redis reaches its maxmemory.
broker_channel_error_retry = True
worker_cancel_long_running_tasks_on_connection_loss = True

# --- messages -----------------------------------------------------------------------------------
#: Any other format would let everyone who can write to Redis run code here.
accept_content = ["json"]
result_accept_content = ["json"]
task_serializer = "json"
#: No result backend: the outcome is a row, and storing results halves the throughput.
task_ignore_result = True
task_store_errors_even_if_ignored = False

# --- tasks --------------------------------------------------------------------------------------
_TOPICS = ("bank", "credits", "credit_cycles", "events", "life", "stripe", "upkeep")
imports = (*[f"tasks.{topic}" for topic in _TOPICS], "worker.remote_control")
task_acks_late = True
#: A task whose process died is retried a bounded number of times; a reject would loop for ever.
task_retry_on_worker_lost = True
task_reject_on_worker_lost = False
task_soft_time_limit = _config.soft_time_limit_s
task_time_limit = _config.hard_time_limit_s
worker_prefetch_multiplier = 1
worker_disable_prefetch = True
#: The most retries that wait in the worker's memory.
worker_eta_task_limit = 100
worker_hijack_root_logger = False
worker_redirect_stdouts = False
#: For Flower and `billing status`; the task base hides the arguments.
worker_send_task_events = True
task_send_sent_event = False
timezone = "UTC"
enable_utc = True

# --- queues: one for each urgency, so that none waits for another ------------------------------
#: queue -> purpose
QUEUES = {
    "debits": "debits, captures, releases and reversals, read in batches",
    "credits": "grants, signup grants and holds",
    "bank": "statement files and reviewers' decisions about transfers",
    "maintenance": "the tasks of the timetable",
    "stripe": "webhooks of Stripe from the relay",
}
task_default_queue = "maintenance"
task_create_missing_queues = True
task_routes = {name: {"queue": message.QUEUE} for name, message in MESSAGES.items()}

# --- the timetable: beat only sends ticks; rows in the database are due -------------------------
#: Beat stores each sent tick at once, so that a restart does not send it again.
beat_sync_every = 1
#: Seconds between two ticks; a tick expires when the next one is sent.
_TICKS = {
    "upkeep.collect_dead_letters": 5.0,
    "credits.drain_inbox": 5.0,
    "holds.expire_due": 10.0,
    "bank.sweep_files": 60.0,
    "bank.match_due": 60.0,
    "bank.bill_due": 300.0,
    "events.deliver_due": 10.0,
    "trials.expire_due": 60.0,
    "trials.remind_due": 60.0,
    "dunning.step_due": 60.0,
    "credits.renew_due": 60.0,
    "credits.expire_due": 60.0,
    "credits.repair_calendars": 3600.0,
    "events.remove_old": 3600.0,
    "accounts.follow_status": 20.0,
    "accounts.check_limits": 3600.0,
    "accounts.close_deleted": 3600.0,
    "upkeep.audit_books": 600.0,
    "stripe.apply_due": 10.0,
    "stripe.prune": 3600.0,
    "stripe.fill_gaps": 900.0,
    "stripe.report_drift": 3600.0,
}
beat_schedule = {
    task: {"task": task, "schedule": every, "options": {"expires": every}}
    for task, every in _TICKS.items()
}
