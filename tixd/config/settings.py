"""Declare every setting of the processing roles, once: name, type, unit, default and help.

To add one: a field here, then `python -m tests.support.manual_tables`. One with a command-line
option: also loader.OPTIONS and cli.py. One that `check-config --connect` tries: also
diagnostics/runner.py.
Workers get these values frozen, and import this module and `fields`, none that reads or checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tixd.config import environment
from tixd.config.fields import Secret, setting

#: Values of PROCESSOR_TYPE, as the image of the original system takes them, and their roles.
PROCESSOR_TYPES = MappingProxyType(
    {"STANDALONE": "standalone", "BEAT": "dispatcher", "WORKER": "worker"}
)

#: Other names of log levels: FATAL is Celery's, WARN is one that Python takes.
LEVEL_ALIASES = MappingProxyType({"FATAL": "CRITICAL", "WARN": "WARNING"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values that a processing role runs with."""

    role: Literal["standalone", "dispatcher", "worker"] = setting(
        "standalone",
        "PROCESSOR_TYPE",
        "role",
        "what this process does; in the environment STANDALONE, BEAT or WORKER",
        variable_words=PROCESSOR_TYPES,
        note="the collector is the option --role collector",
    )
    reports_base_path: str = setting(
        "/tmp/reports",  # noqa: S108 - the default that existing deployments rely on
        "TIX_REPORTS_BASE_PATH",
        "reports.base_path",
        "folder to which the tix-time-condenser writes reports",
    )
    bad_reports_keep_days: float = setting(
        30.0,
        "TIX_BAD_REPORTS_KEEP_DAYS",
        "reports.bad_keep_days",
        "how long a bad report is kept in bad-reports",
        unit="days",
        minimum=0,
    )
    bad_reports_keep_files: int = setting(
        1000,
        "TIX_BAD_REPORTS_KEEP_FILES",
        "reports.bad_keep_files",
        "how many bad reports an installation keeps, the newest ones",
        unit="files",
        minimum=0,
    )
    usage_estimator: Literal["mode", "delayed-probes"] = setting(
        "mode",
        "TIX_USAGE_ESTIMATOR",
        "usage.estimator",
        "how usage is computed; mode: as tix-time-processor",
    )
    usage_post: Literal["one", "both"] = setting(
        "one",
        "TIX_USAGE_POST",
        "usage.post",
        "both: also post the other estimate (upUsageAlt, downUsageAlt), how far the one by delayed"
        " probes may be off (upUsageWidth, downUsageWidth), and whether a clock was set (clock)",
    )
    api_ssl: bool = setting(
        False,  # noqa: FBT003
        "TIX_API_SSL",
        "api.ssl",
        'HTTPS to the tix-api; in the environment any text, even "False", turns it on',
        any_text_is_true=True,
    )
    api_host: str = setting(
        "localhost", "TIX_API_HOST", "api.host", "host of the tix-api", shape="host"
    )
    api_port: int = setting(
        0,
        "TIX_API_PORT",
        "api.port",
        "port of the tix-api; 0 is 80, or 443 with HTTPS",
        minimum=0,
        maximum=65535,
    )
    api_user: str = setting(
        "",
        "TIX_API_USER",
        "api.user",
        "user at the tix-api; empty: results are kept, not posted",
        shape="user",
    )
    api_password: Secret = setting(
        Secret(),
        "TIX_API_PASSWORD",
        "api.password",
        "password at the tix-api; empty: results are kept, not posted",
    )
    api_proxy: Secret = setting(
        Secret(),
        "HTTP_PROXY",
        "api.proxy",
        "proxy to the tix-api; in the environment HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY",
    )
    api_ca_bundle: str = setting(
        "",
        "REQUESTS_CA_BUNDLE",
        "api.ca_bundle",
        "file or folder of CA certificates that verify the tix-api; empty: the system's",
    )
    api_connect_seconds: float = setting(
        5.0,
        "TIX_API_CONNECT_SECONDS",
        "api.connect_seconds",
        "longest wait for a connection to the tix-api",
        unit="seconds",
        minimum=0.1,
    )
    api_read_seconds: float = setting(
        30.0,
        "TIX_API_READ_SECONDS",
        "api.read_seconds",
        "longest silence of the tix-api while it answers",
        unit="seconds",
        minimum=0.1,
    )
    api_total_seconds: float = setting(
        60.0,
        "TIX_API_TOTAL_SECONDS",
        "api.total_seconds",
        "longest time that one post may take in all",
        unit="seconds",
        minimum=0.1,
    )
    posts_in_flight: int = setting(
        16,
        "TIX_POSTS_IN_FLIGHT",
        "api.posts_in_flight",
        "installations of a worker process that may wait for the tix-api at a time; a kill repeats "
        "at most so many posts",
        unit="posts",
        minimum=1,
        maximum=256,
    )
    asn_table: str = setting(
        "",
        "TIX_ASN_TABLE",
        "asn.table",
        "MMDB file with the AS of each address (tixd asn build); empty: results name none",
    )
    rabbitmq_host: str = setting(
        "localhost", "TIX_RABBITMQ_HOST", "rabbitmq.host", "host of RabbitMQ", shape="host"
    )
    rabbitmq_port: int = setting(
        5672, "TIX_RABBITMQ_PORT", "rabbitmq.port", "port of RabbitMQ", minimum=1, maximum=65535
    )
    rabbitmq_user: str = setting(
        "guest", "TIX_RABBITMQ_USER", "rabbitmq.user", "RabbitMQ user (dispatcher, worker)"
    )
    rabbitmq_password: Secret = setting(
        Secret("guest"), "TIX_RABBITMQ_PASS", "rabbitmq.password", "RabbitMQ password"
    )
    rabbitmq_vhost: str = setting(
        "/", "TIX_RABBITMQ_VHOST", "rabbitmq.vhost", "virtual host of RabbitMQ"
    )
    rabbitmq_tls: bool = setting(
        False,  # noqa: FBT003
        "TIX_RABBITMQ_TLS",
        "rabbitmq.tls",
        "connect to RabbitMQ with TLS (amqps): true or false",
    )
    rabbitmq_ca_file: str = setting(
        "",
        "TIX_RABBITMQ_CA_FILE",
        "rabbitmq.ca_file",
        "file of CA certificates that verify RabbitMQ; empty: the system's",
    )
    rabbitmq_cert_file: str = setting(
        "", "TIX_RABBITMQ_CERT_FILE", "rabbitmq.cert_file", "client certificate for RabbitMQ"
    )
    rabbitmq_key_file: str = setting(
        "", "TIX_RABBITMQ_KEY_FILE", "rabbitmq.key_file", "private key of the client certificate"
    )
    sender_base_path: str = setting(
        "",
        "TIX_SENDER_BASE_PATH",
        "rabbitmq.sender_base_path",
        "path of the reports folder on the hosts that send jobs (worker); empty: as here",
    )
    run_as: str = setting(
        "",
        "TIX_RUN_AS",
        "run_as",
        "user, or user:group, that tixd becomes when root starts it; empty: owner of the reports",
    )
    workers: int = setting(
        0,
        "TIX_WORKERS",
        "workers",
        "worker processes; 0 is one for each core of the affinity and of the CPU quota, rounded up",
        unit="processes",
        minimum=0,
        maximum=1024,
    )
    processing_period_minutes: float = setting(
        10.0,
        "TIX_PROCESSING_PERIOD",
        "schedule.period_minutes",
        "time from one cycle to the next",
        unit="minutes",
        minimum=0.05,
    )
    schedule_dir: str = setting(
        "/tmp/celerybeat-schedule.d",  # noqa: S108 - the default of existing deployments
        "CELERY_BEAT_SCHEDULE_DIR",
        "schedule.dir",
        "folder of the schedule and its lock",
    )
    history: str = setting(
        "",
        "TIX_HISTORY",
        "history.file",
        "file of the history (standalone, dispatcher), ending in .sqlite, or off; empty:"
        " history.sqlite in $STATE_DIRECTORY, else in the folder of the schedule",
        shape="history",
    )
    history_days: float = setting(
        90.0,
        "TIX_HISTORY_DAYS",
        "history.days",
        "how long results, or their hourly means, and cycles stay in the history",
        unit="days",
        minimum=0.1,
    )
    history_max_mb: int = setting(
        1024,
        "TIX_HISTORY_MAX_MB",
        "history.max_mb",
        "largest size of the history; the oldest goes first",
        unit="MB",
        minimum=1,
    )
    stop_seconds: float = setting(
        25.0,
        "TIX_STOP_SECONDS",
        "stop_seconds",
        "how long workers may take for the current window after SIGTERM",
        unit="seconds",
        minimum=0,
    )
    http_address: str = setting(
        "",
        "TIX_HTTP_ADDRESS",
        "http.address",
        "host:port of the page, /healthz, /readyz and /metrics, or off; "
        "empty: localhost:8889, for a worker localhost:8890",
        shape="address",
    )
    page_token: Secret = setting(
        Secret(),
        "TIX_PAGE_TOKEN",
        "http.page_token",
        "password of the page, with any user name; empty: only the host itself may look",
    )
    metrics_open: bool = setting(
        False,  # noqa: FBT003
        "TIX_METRICS_OPEN",
        "http.metrics_open",
        "answer /metrics to everybody, also where the page asks for a token: true or false",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = setting(
        "INFO",
        "CELERY_LOG_LEVEL",
        "log.level",
        "least important events that are logged",
        aliases=LEVEL_ALIASES,
    )
    log_format: Literal["auto", "text", "json", "journald"] = setting(
        "auto",
        "TIX_LOG_FORMAT",
        "log.format",
        "form of log lines; auto is journald where systemd reads the log, else text",
    )
    log_file: str = setting(
        "stderr", "TIX_LOG_FILE", "log.file", "where the log goes: stderr, stdout or a file"
    )

    @property
    def worker_count(self) -> int:
        """Count the worker processes; a dispatcher needs one, which looks for installations."""
        return 1 if self.role == "dispatcher" else self.workers or environment.usable_cores()

    @property
    def http_address_used(self) -> str:
        """Return where /healthz, /readyz and /metrics are: as set, else as the role has them."""
        return self.http_address or f"localhost:{8890 if self.role == 'worker' else 8889}"

    @property
    def api_scheme(self) -> Literal["http", "https"]:
        """Return the URL scheme of the tix-api."""
        return "https" if self.api_ssl else "http"

    @property
    def api_port_used(self) -> int:
        """Return the port of the tix-api: as set, else the one of its scheme."""
        return self.api_port or (443 if self.api_ssl else 80)

    @property
    def api_base_url(self) -> str:
        """Return the tix-api's address without a path: http://localhost:80, https://[::1]:443."""
        bare = self.api_host.removeprefix("[").removesuffix("]")
        host = f"[{bare}]" if ":" in bare else bare
        return f"{self.api_scheme}://{host}:{self.api_port_used}"

    @property
    def not_posting_reason(self) -> str | None:
        """Say which setting is missing where no result is posted; None where all are set."""
        if self.api_user and self.api_password:
            return None
        return f"{'TIX_API_PASSWORD' if self.api_user else 'TIX_API_USER'} is not set"
