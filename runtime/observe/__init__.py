"""Watching a running tree: everything here reads the event stream and changes nothing."""

from ringfence.runtime.observe.log import EventLog, LogOptions

__all__ = ["EventLog", "LogOptions"]
