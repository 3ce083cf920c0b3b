//! SBI error codes (SBI specification, "Binary Encoding", table "Standard SBI Errors").

/// An error that an SBI function returns in `a0`; the value is the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i64)]
pub enum SbiError {
    /// `SBI_ERR_FAILED`.
    Failed = -1,
    /// `SBI_ERR_NOT_SUPPORTED`.
    NotSupported = -2,
    /// `SBI_ERR_INVALID_PARAM`.
    InvalidParam = -3,
    /// `SBI_ERR_DENIED`.
    Denied = -4,
    /// `SBI_ERR_INVALID_ADDRESS`.
    InvalidAddress = -5,
    /// `SBI_ERR_ALREADY_AVAILABLE`.
    AlreadyAvailable = -6,
    /// `SBI_ERR_ALREADY_STARTED`.
    AlreadyStarted = -7,
    /// `SBI_ERR_ALREADY_STOPPED`.
    AlreadyStopped = -8,
    /// `SBI_ERR_NO_SHMEM`.
    NoShmem = -9,
}

impl SbiError {
    /// The code as `a0` holds it.
    pub const fn code(self) -> u64 {
        self as i64 as u64
    }
}

/// What an SBI function answers: the value for `a1`, or an error.
pub(crate) type Answer = Result<u64, SbiError>;
