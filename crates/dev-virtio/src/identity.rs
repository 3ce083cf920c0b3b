//! What a device is.

/// What a device is, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The device type (section 5).
    pub id: u32,
    /// The features that it offers.
    pub features: u64,
    /// The most descriptors that each queue can hold; at most `MAX_QUEUES` queues.
    pub queues: Vec<u16>,
    /// The configuration space as it is at first.
    pub config: Vec<u8>,
    /// Which bits of it the driver can write; as long, or shorter for none.
    pub writable: Vec<u8>,
}

impl Identity {
    /// A device that is not there: the id says so (section 4.2.2).
    pub fn absent() -> Identity {
        Identity { id: 0, features: 0, queues: Vec::new(), config: Vec::new(), writable: Vec::new() }
    }
}

/// Changes the configuration space after the driver has written to it: for devices whose space shows what the driver selects
/// there (section 5.8.4). It is done within the driver's write, so that what it reads next is the answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer(pub fn(&mut [u8]));

impl PartialEq for Answer {
    fn eq(&self, other: &Answer) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for Answer {}
