"""What happens when an actor fails: trees as data, severity, and the decisions about failures."""

from ringfence.supervisors.control import (
    ChildCounts,
    ChildInfo,
    ChildUp,
    SupervisorRef,
    supervisor_ref,
)
from ringfence.supervisors.policy import DEFAULT, OTP, Backoff, Directive, Policy
from ringfence.supervisors.spec import (
    BRUTAL_KILL,
    INFINITY,
    AutoShutdown,
    Child,
    DynamicSupervisor,
    Intensity,
    Restart,
    RestartStrategy,
    Start,
    Supervisor,
)

__all__ = [
    "BRUTAL_KILL",
    "DEFAULT",
    "INFINITY",
    "OTP",
    "AutoShutdown",
    "Backoff",
    "Child",
    "ChildCounts",
    "ChildInfo",
    "ChildUp",
    "Directive",
    "DynamicSupervisor",
    "Intensity",
    "Policy",
    "Restart",
    "RestartStrategy",
    "Start",
    "Supervisor",
    "SupervisorRef",
    "supervisor_ref",
]
