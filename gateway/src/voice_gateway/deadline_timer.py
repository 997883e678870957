"""The deadline timer under its former address and name."""

from voicelink.net.deadline_timer import Clock, DeadlineTimer

Alarm = DeadlineTimer

__all__ = ["Alarm", "Clock", "DeadlineTimer"]
