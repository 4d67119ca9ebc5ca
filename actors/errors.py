"""Every error of Ringfence: one tree under `TradingError`, and the `Severity` scale.

It does not judge: what an error means for a supervisor is decided by rules in
`ringfence.supervisors.severity`. No I/O and no trio; the one outside fact is the wall clock stamp
of a new error, read through `ringfence.actors.seams`.

>>> error = NetworkError("API call failed", url="https://api.example.com")
>>> error.context
{'url': 'https://api.example.com', 'status_code': None, 'timeout': None, 'component': 'network'}
>>> error.error_code, error.severity.level
('NETWORK_ERROR', 'ERROR')

No class here has the name of a builtin: an `except TimeoutError` that quietly means another class
is how real socket errors get lost. Where an error is a kind of builtin error, it is a subclass of
it, so `except TimeoutError` catches `OperationTimeout`.
"""

from ringfence.actors.error_root import (
    ErrorContext,
    ErrorSeverity,
    ForeignError,
    Severity,
    TradingError,
)
from ringfence.actors.market_errors import (
    APIError,
    AsyncOperationError,
    BrokerError,
    BulkheadFull,
    CircuitBreakerOpenError,
    ConfigurationError,
    DataFeedError,
    DataProcessingError,
    EmergencyShutdown,
    IncompleteRead,
    InvalidStateError,
    LimitOverrun,
    NetworkError,
    OperationTimeout,
    OrderOutcomeUnknown,
    RateLimited,
    RecoveryError,
    ResilienceError,
    RetryBudgetExhausted,
    RetryExhausted,
    RiskManagementError,
    StrategyError,
    UnsupportedOperation,
    ValidationError,
)
from ringfence.actors.runtime_errors import (
    ActorCrashed,
    ActorDown,
    ActorError,
    ActorKilled,
    AskTimeout,
    ChildRefused,
    CleanupFailed,
    GaveUpWhy,
    Hung,
    IllegalTransition,
    MailboxFull,
    MessageRefused,
    NoReply,
    Problem,
    ReplyTwice,
    SpecError,
    StartFailed,
    StartTimeout,
    StopOverdue,
    StrayCancellation,
    SupervisionError,
    SupervisorFailed,
    UnknownName,
)

__all__ = [
    "APIError",
    "ActorCrashed",
    "ActorDown",
    "ActorError",
    "ActorKilled",
    "AskTimeout",
    "AsyncOperationError",
    "BrokerError",
    "BrokerException",
    "BulkheadFull",
    "ChildRefused",
    "CircuitBreakerOpen",
    "CircuitBreakerOpenError",
    "CleanupFailed",
    "ConfigurationError",
    "ConfigurationException",
    "DataFeedError",
    "DataFeedException",
    "DataProcessingError",
    "DataProcessingException",
    "EmergencyShutdown",
    "ErrorContext",
    "ErrorSeverity",
    "ForeignError",
    "GaveUpWhy",
    "Hung",
    "IllegalTransition",
    "IncompleteRead",
    "InvalidStateError",
    "LimitOverrun",
    "MailboxFull",
    "MessageRefused",
    "NetworkError",
    "NetworkException",
    "NoReply",
    "OperationTimeout",
    "OrderOutcomeUnknown",
    "Problem",
    "RateLimited",
    "RecoveryError",
    "RecoveryException",
    "ReplyTwice",
    "ResilienceError",
    "RetryBudgetExhausted",
    "RetryExhausted",
    "RiskManagementError",
    "RiskManagementException",
    "Severity",
    "SpecError",
    "StartFailed",
    "StartTimeout",
    "StopOverdue",
    "StrategyError",
    "StrategyException",
    "StrayCancellation",
    "SupervisionError",
    "SupervisorFailed",
    "TradingError",
    "TradingException",
    "TradingSystemError",
    "UnknownName",
    "UnsupportedOperation",
    "ValidationError",
    "ValidationException",
]

# Other names of the same classes.
TradingSystemError = TradingException = TradingError
NetworkException = NetworkError
DataFeedException = DataFeedError
DataProcessingException = DataProcessingError
BrokerException = BrokerError
StrategyException = StrategyError
ConfigurationException = ConfigurationError
ValidationException = ValidationError
RecoveryException = RecoveryError
RiskManagementException = RiskManagementError
CircuitBreakerOpen = CircuitBreakerOpenError
