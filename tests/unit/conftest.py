"""Settings of all unit tests; the suite need not wait for hypothesis."""

import signal

from hypothesis import HealthCheck, settings

# A shell that puts a job into the background has it ignore SIGINT, and so would every run that a
# test starts in order to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How fast examples are made depends on what else the machine does, and is no defect.
settings.register_profile(
    "project", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("project")
