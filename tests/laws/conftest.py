"""The laws run the same examples each time: a red run is red for everyone."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "laws",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=100,
    report_multiple_bugs=False,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],  # a shared machine is no reason to fail
)
settings.load_profile("laws")
