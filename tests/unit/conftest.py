"""Settings of all property tests; the suite need not wait for hypothesis."""

from hypothesis import HealthCheck, settings

# How fast examples are made depends on what else the machine does, and is no defect.
settings.register_profile(
    "project", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("project")
