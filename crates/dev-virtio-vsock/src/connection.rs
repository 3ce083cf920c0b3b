//! One connection: what waits in it, how far either side is with closing it, what the driver is to be told.

use crate::credit::Credit;
use crate::packet::{END_OF_MESSAGE, Header, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, op};
use host_vsock::{Kind, Stream};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Bytes of a connection that the driver may have sent and the host has not taken.
pub const BUFFER: u32 = 256 << 10;
/// Messages that wait, however short they are.
const MOST_MESSAGES: usize = 1024;
/// The driver is told of room once there is so much of which it does not know.
const WORTH_TELLING: u32 = BUFFER / 4;

/// The connection cannot go on: it is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dead;

/// What of the host's goes into a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// Nothing now.
    None,
    /// So many bytes; whether a message ends with them.
    Bytes(usize, bool),
}

/// What the driver is to be told.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    request: bool,
    response: bool,
    shutdown: bool,
    credit: bool,
    credit_request: bool,
}

/// A connection.
pub(crate) struct Connection {
    kind: Kind,
    stream: Box<dyn Stream>,
    credit: Credit,
    due: Due,
    /// Both sides have agreed to it.
    open: bool,
    /// What the caller hears when the driver agrees.
    greeting: Option<String>,
    /// What has come from the driver: bytes, or whole messages, and the part of one that is not whole.
    bytes: VecDeque<u8>,
    messages: VecDeque<Vec<u8>>,
    part: Vec<u8>,
    /// The driver sends no more; takes no more.
    sends_no_more: bool,
    takes_no_more: bool,
    /// The host was told so.
    closed: bool,
    /// The host sends no more.
    host_ended: bool,
    /// The driver was asked for room.
    asked: bool,
    /// A message to the driver of which a part was sent.
    message: Option<(Vec<u8>, usize)>,
}

impl Connection {
    fn new(kind: Kind, stream: Box<dyn Stream>) -> Connection {
        Connection {
            kind,
            stream,
            credit: Credit::default(),
            due: Due::default(),
            open: false,
            greeting: None,
            bytes: VecDeque::new(),
            messages: VecDeque::new(),
            part: Vec::new(),
            sends_no_more: false,
            takes_no_more: false,
            closed: false,
            host_ended: false,
            asked: false,
            message: None,
        }
    }

    /// One that the driver has asked for with this packet, and the host agrees to.
    pub fn taken(kind: Kind, stream: Box<dyn Stream>, header: &Header) -> Connection {
        let mut connection = Connection::new(kind, stream);
        connection.credit.hear(header.buf_alloc, header.fwd_cnt);
        (connection.open, connection.due.response) = (true, true);
        connection
    }

    /// One that the host asks for, whose caller hears `greeting` once the driver agrees.
    pub fn asked(stream: Box<dyn Stream>, greeting: String) -> Connection {
        let mut connection = Connection::new(Kind::Stream, stream);
        (connection.greeting, connection.due.request) = (Some(greeting), true);
        connection
    }

    /// Takes a packet of the driver's.
    pub fn hear(&mut self, header: &Header, payload: &[u8]) -> Result<(), Dead> {
        self.credit.hear(header.buf_alloc, header.fwd_cnt);
        self.asked &= self.credit.room() == 0;
        match header.op {
            op::RESPONSE => self.agree()?,
            op::RW => self.receive(header.flags, payload)?,
            op::CREDIT_UPDATE => {}
            op::CREDIT_REQUEST => self.due.credit = true,
            op::SHUTDOWN => {
                self.sends_no_more |= header.flags & SHUTDOWN_SEND != 0;
                self.takes_no_more |= header.flags & SHUTDOWN_RECEIVE != 0;
            }
            _ => return Err(Dead),
        }
        self.flush()
    }

    fn agree(&mut self) -> Result<(), Dead> {
        // What nobody has asked for is no answer.
        let greeting = self.greeting.take().ok_or(Dead)?;
        self.open = true;
        // Nothing was written there before, so that there is room.
        match self.stream.write(greeting.as_bytes()) {
            Ok(len) if len == greeting.len() => Ok(()),
            _ => Err(Dead),
        }
    }

    fn receive(&mut self, flags: u32, payload: &[u8]) -> Result<(), Dead> {
        let len = u32::try_from(payload.len()).map_err(|_| Dead)?;
        if !self.open || self.sends_no_more || !self.credit.receive(len, BUFFER) {
            return Err(Dead);
        }
        if self.kind == Kind::Stream {
            self.bytes.extend(payload);
            return Ok(());
        }
        self.part.extend(payload);
        if flags & END_OF_MESSAGE != 0 {
            if self.messages.len() >= MOST_MESSAGES {
                return Err(Dead);
            }
            self.messages.push_back(std::mem::take(&mut self.part));
        }
        Ok(())
    }

    /// Gives the host what waits for it, as far as it takes it.
    pub fn flush(&mut self) -> Result<(), Dead> {
        loop {
            let (next, whole) = match self.messages.front() {
                Some(message) => (message.as_slice(), true),
                None if self.bytes.is_empty() => break,
                None => (self.bytes.as_slices().0, false),
            };
            match self.stream.write(next) {
                Ok(len) if whole => {
                    self.messages.pop_front();
                    self.credit.take(len);
                }
                Ok(0) => return Err(Dead),
                Ok(len) => {
                    self.bytes.drain(..len.min(self.bytes.len()));
                    self.credit.take(len);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Dead),
            }
            self.due.credit |= self.credit.untold() >= WORTH_TELLING;
        }
        if self.sends_no_more && !self.closed {
            self.closed = true;
            self.stream.close_writing();
        }
        // A driver that is done with it waits to hear that the host is (section 5.10.6.5).
        if self.closed && self.takes_no_more { Err(Dead) } else { Ok(()) }
    }

    /// The next packet that carries no bytes, if one is due: the operation and its flags.
    pub fn due(&self) -> Option<(u16, u32)> {
        let Due { request, response, shutdown, credit, credit_request } = self.due;
        if request {
            return Some((op::REQUEST, 0));
        }
        if response {
            return Some((op::RESPONSE, 0));
        }
        if credit {
            return Some((op::CREDIT_UPDATE, 0));
        }
        if shutdown {
            return Some((op::SHUTDOWN, SHUTDOWN_SEND));
        }
        credit_request.then_some((op::CREDIT_REQUEST, 0))
    }

    /// A packet of that operation goes to the driver: what it says of credit.
    pub fn sent(&mut self, operation: u16, header: Header) -> Header {
        match operation {
            op::REQUEST => self.due.request = false,
            op::RESPONSE => self.due.response = false,
            op::SHUTDOWN => self.due.shutdown = false,
            op::CREDIT_REQUEST => self.due.credit_request = false,
            _ => {}
        }
        // Every packet tells of it.
        self.due.credit = false;
        Header { buf_alloc: BUFFER, fwd_cnt: self.credit.tell(), ..header }
    }

    /// Whether something may come from the host that the driver has room for.
    pub fn listens(&self) -> bool {
        self.open && !self.host_ended && !self.takes_no_more && self.credit.room() > 0
    }

    /// Whether something waits for the host to take it.
    pub fn waits(&self) -> bool {
        !self.bytes.is_empty() || !self.messages.is_empty()
    }

    /// To be waited for.
    pub fn descriptor(&self) -> Arc<OwnedFd> {
        self.stream.descriptor()
    }

    /// Puts what the host has sent into `into`, no more than the driver has room for. `into` is as long as its longest message.
    pub fn read(&mut self, into: &mut [u8], room: usize) -> Result<Data, Dead> {
        if !self.open || self.takes_no_more || (self.host_ended && self.message.is_none()) {
            return Ok(Data::None);
        }
        let most = room.min(usize::try_from(self.credit.room()).unwrap_or(usize::MAX));
        let nothing = self.message.as_ref().is_some_and(|(message, _)| message.is_empty());
        if most == 0 && !nothing {
            self.due.credit_request |= !self.asked && self.credit.room() == 0;
            self.asked |= self.due.credit_request;
            return Ok(Data::None);
        }
        match self.kind {
            Kind::Stream => self.read_bytes(into, most),
            Kind::SeqPacket => self.read_message(into, most),
        }
    }

    fn read_bytes(&mut self, into: &mut [u8], most: usize) -> Result<Data, Dead> {
        let most = most.min(into.len());
        match self.stream.read(into.get_mut(..most).unwrap_or_default()) {
            Ok(0) => {
                (self.host_ended, self.due.shutdown) = (true, true);
                Ok(Data::None)
            }
            Ok(len) => {
                let len = len.min(most);
                self.credit.send(len as u32);
                Ok(Data::Bytes(len, false))
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(Data::None)
            }
            Err(_) => Err(Dead),
        }
    }

    fn read_message(&mut self, into: &mut [u8], most: usize) -> Result<Data, Dead> {
        if self.message.is_none() {
            match self.stream.read(into) {
                // A message of nothing looks the same, and programs do not send any.
                Ok(0) => {
                    (self.host_ended, self.due.shutdown) = (true, true);
                    return Ok(Data::None);
                }
                Ok(len) => {
                    // One that is longer than any that the driver could take is no message any more.
                    let message = into.get(..len).ok_or(Dead)?;
                    self.message = Some((message.to_vec(), 0));
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return Ok(Data::None);
                }
                Err(_) => return Err(Dead),
            }
        }
        let Some((message, at)) = self.message.take() else { return Ok(Data::None) };
        let left = message.get(at..).unwrap_or_default();
        let len = left.len().min(most).min(into.len());
        for (to, from) in into.iter_mut().zip(left.iter().take(len)) {
            *to = *from;
        }
        let last = len == left.len();
        if !last {
            self.message = Some((message, at + len));
        }
        self.credit.send(len as u32);
        Ok(Data::Bytes(len, last))
    }
}
