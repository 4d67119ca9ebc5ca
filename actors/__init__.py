"""What an actor is: messages, addresses, mailboxes, the life of an incarnation.

Layout: `message`, `address`, `mailbox` carry messages; `lifecycle`, `incarnation`, `actor` are an
actor's life; `kernel`, `timers`, `pace` are what all actors of a tree share; `events` and `errors`
are what others read. Nothing here knows about supervisors.
"""

from ringfence.actors.actor import IGNORE, Actor, Context, Ignore, Info, Terminated
from ringfence.actors.address import Name, Ref
from ringfence.actors.lifecycle import Exit, Failed, Killed, Normal, Shutdown
from ringfence.actors.mailbox import (
    MailboxSpec,
    MailboxStatistics,
    OnRestart,
    Overflow,
)
from ringfence.actors.message import Ask, Urgent

__all__ = [
    "IGNORE",
    "Actor",
    "Ask",
    "Context",
    "Exit",
    "Failed",
    "Ignore",
    "Info",
    "Killed",
    "MailboxSpec",
    "MailboxStatistics",
    "Name",
    "Normal",
    "OnRestart",
    "Overflow",
    "Ref",
    "Shutdown",
    "Terminated",
    "Urgent",
]
