"""What holds for every test: no property is judged by the clock, for machines are shared and slow at times."""

from hypothesis import HealthCheck, settings

settings.register_profile("shared-machines", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machines")
