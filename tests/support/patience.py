"""The product's own time limits: which of them tests lengthen, so that a machine that stalls
decides nothing, and why the others stay.

They are lengthened in the test's own process only. A test of one of these limits sets it itself.
`tests/rules/test_patience.py` finds limits that are missing here.
"""

from __future__ import annotations

import pytest

from tests.support.waiting import PATIENCE_S

# An operation fails, or its end is not waited for, if they are exceeded.
LENGTHENED = (
    "accounts.forgotten.CLOSING_S",
    "app.CLOSE_S",
    "cli.health.TIMEOUT_S",
    "doctor.upstreams.TIMEOUT_S",
    "mail.smtp.TIMEOUT_S",
    "observe.channel.CLOSE_S",
    "observe.metrics.PATIENCE_S",
    "storage.engine.CONNECT_TIMEOUT_S",
    "storage.postgres_notify.CLOSE_S",
    "web.application_logout.CALL_S",
)
IMPORTED = ("doctor.public.TIMEOUT_S",)  # by name from the module above
LENGTHENED_ELSEWHERE = ("storage.engine.DEADLINE_S",)  # `savings`, as it is a default value
UNCHANGED = {
    "how long something pauses, or how often it looks": (
        "app.FLUSH_S",
        "app.POLL_S",
        "cli.audit.FOLLOW_S",
        "dialects.api.records.FOLLOW_S",
        "observe.audit.RETRY_S",
        "observe.channel.GATHER_S",
        "observe.loop_lag.INTERVAL_S",
        "observe.loop_lag.QUIET_INTERVAL_S",
        "observe.metrics.LOOK_S",
        "server.acceptor.CALM_S",
        "server.acceptor.PAUSE_S",
        "server.certificate.LOOK_S",
        "server.serving.LOOK_S",
        "server.workers.PAUSES_S",
        "server.workers.QUICK_S",
        "settings.file_lock.RETRY_S",
        "storage.marker.SETTLE_S",
        "upstream.pool.SWEEP_S",
        "wiring.keys.LOOK_S",
    ),
    "a time that is compared with the clock of the settings or the test": (
        "accounts.factors.totp.STEP_S",
        "accounts.forgotten.BUSY_S",
        "accounts.passwords.hashing.UNMEASURED_S",
        "accounts.sessions.live.CONFIRMATION_S",
        "dialects.alekeagle.error_table.PASSING_S",
        "doctor.upstreams.CLOCKS_DIFFER_S",
        "observe.counters.BOUNDS_S",
        "observe.loop_lag.LAG_BOUNDS_S",
        "pages.time_phrases.UNITS_S",
        "relay.watch.SILENCE_S",
        "storage.users.SAME_S",
        "upstream.connection.KEPT_LESS_S",
        "web.answers.MAINTAINED_S",
        "wiring.keys.TAKEN_UP_S",
    ),
    "when it is over, what would happen anyway happens": (
        "relay.asgi.LISTENS_AFTER_S",
        "relay.request_body.CONTINUE_S",
        "server.limits.GONE_S",
        "server.limits.PROBE_S",
    ),
    "how long the other side may take to close what is already over": (
        "cli.demo.CHILD_END_S",
        "relay.websocket.FAREWELL_S",
        "relay.websocket_tunnel.LINGER_S",
        "server.plain_answers.LINGER_S",
        "server.run.TLS_GOODBYE_S",
        "server.serving.LAST_WORDS_S",
        "server.tunnel.FAREWELL_S",
        "server.tunnel.HALF_CLOSED_S",
        "server.tunnel.LINGER_S",
        "start.serve.AFTER_GRACE_S",
    ),
    "how long another process, of which tests have only one, may keep a lock": (
        "observe.audit.THREAD_WAIT_S",
        "observe.audit.WAIT_S",
        "observe.shared_counters.LOCK_WAIT_S",
        "settings.key_ring.LOCK_WAIT_S",
        "storage.engine.BUSY_TIMEOUT_S",
        "storage.engine.COMMAND_TIMEOUT_S",
        "storage.rates.LOCK_WAIT_S",
    ),
}


def be_patient(patch: pytest.MonkeyPatch) -> None:
    for name in (*LENGTHENED, *IMPORTED):
        patch.setattr(f"doorward.{name}", PATIENCE_S)
