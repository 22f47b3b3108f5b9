"""What every test of this folder gets: hypothesis without a stopwatch.

Owns settings, no fixtures: what a test needs to be understood stands in its own file.
"""

from hypothesis import settings

# On a shared machine an example can take a hundred times its usual time. What must not hang has pytest's time-out.
settings.register_profile("pop3fast", deadline=None)
settings.load_profile("pop3fast")
