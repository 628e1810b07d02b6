"""Light client for model servers with the TensorFlow Serving API, gRPC or REST: NumPy arrays in, NumPy arrays out."""

from .aio import AsyncClient as AsyncClient
from .client import Client as Client
from .errors import Aborted as Aborted
from .errors import AlreadyExists as AlreadyExists
from .errors import Cancelled as Cancelled
from .errors import DataLoss as DataLoss
from .errors import DeadlineExceeded as DeadlineExceeded
from .errors import DecodeError as DecodeError
from .errors import FailedPrecondition as FailedPrecondition
from .errors import Internal as Internal
from .errors import InvalidArgument as InvalidArgument
from .errors import NotFound as NotFound
from .errors import OutOfRange as OutOfRange
from .errors import PermissionDenied as PermissionDenied
from .errors import ResourceExhausted as ResourceExhausted
from .errors import ServerError as ServerError
from .errors import Unauthenticated as Unauthenticated
from .errors import Unavailable as Unavailable
from .errors import Unimplemented as Unimplemented
from .errors import Unknown as Unknown
from .messages import ModelMetadata as ModelMetadata
from .messages import TensorInfo as TensorInfo
from .messages import VersionStatus as VersionStatus

__all__ = [
    "Aborted",
    "AlreadyExists",
    "AsyncClient",
    "Cancelled",
    "Client",
    "DataLoss",
    "DeadlineExceeded",
    "DecodeError",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "ModelMetadata",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "ResourceExhausted",
    "ServerError",
    "TensorInfo",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unknown",
    "VersionStatus",
]
