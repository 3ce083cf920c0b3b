//! The device at work.

use crate::config::{HOST_CID, RECEIVE, TRANSMIT, bit};
use crate::connection::{BUFFER, Connection, Data, Dead};
use crate::packet::{HEADER, Header, Key, op};
use dev_virtio::{Backend, Broken, Chain, Desk, Watched};
use host_vsock::{Host, Kind};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Most connections at a time, in both directions together.
pub const MOST_CONNECTIONS: usize = 256;
/// Refusals that the driver has not fetched, before nothing more is taken from it.
const MOST_REFUSALS: usize = 1024;
/// The first port of the host's side for those who call the guest: above those that programs choose.
const FIRST_PORT: u32 = 1 << 30;

/// The socket device.
pub struct Vsock {
    cid: u64,
    host: Arc<dyn Host>,
    features: u64,
    connections: BTreeMap<Key, Connection>,
    refusals: VecDeque<Header>,
    /// Where the search for the next caller's port begins.
    next_port: u32,
    /// What is on its way from the host.
    scratch: Vec<u8>,
    running: bool,
    /// There were no buffers for packets to the driver.
    starved: bool,
}

impl Vsock {
    /// That of the guest with this context id.
    pub fn new(cid: u32, host: Arc<dyn Host>) -> Vsock {
        Vsock {
            cid: u64::from(cid),
            host,
            features: 0,
            connections: BTreeMap::new(),
            refusals: VecDeque::new(),
            next_port: FIRST_PORT,
            scratch: vec![0; BUFFER as usize],
            running: false,
            starved: false,
        }
    }

    /// Takes what the driver sends.
    fn transmit(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        while self.refusals.len() < MOST_REFUSALS {
            let Some(chain) = desk.pop(TRANSMIT)? else {
                if desk.sleep(TRANSMIT)? {
                    continue;
                }
                break;
            };
            let mut header = [0; HEADER];
            // What is shorter is no packet.
            if chain.read(desk.dma, 0, &mut header)? == HEADER {
                self.take(desk, &chain, &Header::parse(&header))?;
            }
            desk.push(TRANSMIT, &chain, 0)?;
        }
        Ok(())
    }

    fn take(&mut self, desk: &Desk<'_>, chain: &Chain, header: &Header) -> Result<(), Broken> {
        // Somebody else's.
        if header.src_cid != self.cid {
            return Ok(());
        }
        let mut payload = Vec::new();
        let whole = header.op != op::RW || u64::from(header.len) <= chain.readable_len() - HEADER as u64;
        if header.op == op::RW && whole && header.len <= BUFFER {
            payload = vec![0; header.len as usize];
            chain.read(desk.dma, HEADER as u64, &mut payload)?;
        }
        let sound = whole && (header.op != op::RW || header.len <= BUFFER);
        let known =
            header.key().filter(|key| key.kind == Kind::Stream || self.features & bit::SEQPACKET != 0);
        match known {
            Some(key) if sound => self.hear(key, header, &payload),
            Some(key) if self.connections.contains_key(&key) => self.reset(key),
            _ => self.refuse(header),
        }
        Ok(())
    }

    fn hear(&mut self, key: Key, header: &Header, payload: &[u8]) {
        match (header.op, self.connections.get_mut(&key)) {
            (op::RST, _) => {
                self.connections.remove(&key);
            }
            (op::REQUEST, None) => self.request(key, header),
            (_, None) => self.refuse(header),
            (_, Some(connection)) => {
                if connection.hear(header, payload) == Err(Dead) {
                    self.reset(key);
                }
            }
        }
    }

    /// The driver asks for a connection to a port of the host's.
    fn request(&mut self, key: Key, header: &Header) {
        let room = self.connections.len() < MOST_CONNECTIONS;
        match room.then(|| self.host.connect(key.host, key.kind)) {
            Some(Ok(stream)) => {
                self.connections.insert(key, Connection::taken(key.kind, stream, header));
            }
            _ => self.refuse(header),
        }
    }

    /// Answers that there is no such connection; a refusal is not answered.
    fn refuse(&mut self, header: &Header) {
        if header.op != op::RST {
            self.refusals.push_back(header.refusal());
        }
    }

    /// Ends a connection that cannot go on.
    fn reset(&mut self, key: Key) {
        if self.connections.remove(&key).is_some() {
            self.refusals.push_back(key.header(self.cid, op::RST));
        }
    }

    /// Those on the host who call the guest.
    fn accept(&mut self) {
        while self.connections.len() < MOST_CONNECTIONS {
            let Some(call) = self.host.accept() else { return };
            let mut key = Key { guest: call.port, host: self.next_port, kind: Kind::Stream };
            // Far fewer are in use than there are.
            while self.connections.contains_key(&key) {
                key.host = following(key.host);
            }
            self.next_port = following(key.host);
            let greeting = format!("OK {}\n", key.host);
            self.connections.insert(key, Connection::asked(call.stream, greeting));
        }
    }

    /// Gives the host what waits for it.
    fn flush(&mut self) {
        let waiting = self.connections.iter_mut().filter(|(_, connection)| connection.waits());
        let dead = waiting.filter_map(|(key, connection)| connection.flush().err().map(|Dead| *key));
        let dead: Vec<Key> = dead.collect();
        dead.into_iter().for_each(|key| self.reset(key));
    }

    /// Sends the driver what is due, and what has come from the host if `data`.
    fn receive(&mut self, desk: &mut Desk<'_>, data: bool) -> Result<(), Broken> {
        let mut out = Out { desk, spare: None };
        self.starved = !self.send(&mut out, data)?;
        if let Some(chain) = out.spare {
            desk.put_back(RECEIVE, &chain);
        }
        Ok(())
    }

    /// False if there were no buffers left for it.
    fn send(&mut self, out: &mut Out<'_, '_>, data: bool) -> Result<bool, Broken> {
        loop {
            while let Some(refusal) = self.refusals.front() {
                if !out.give(refusal, &[])? {
                    return Ok(false);
                }
                self.refusals.pop_front();
            }
            let mut any = false;
            let keys: Vec<Key> = self.connections.keys().copied().collect();
            for key in keys {
                if !self.send_of(key, out, data, &mut any)? {
                    return Ok(false);
                }
            }
            if !any && self.refusals.is_empty() {
                return Ok(true);
            }
        }
    }

    /// The same of one connection: all that is due, and one packet of bytes, so that each has its turn.
    fn send_of(
        &mut self,
        key: Key,
        out: &mut Out<'_, '_>,
        data: bool,
        any: &mut bool,
    ) -> Result<bool, Broken> {
        let Some(connection) = self.connections.get_mut(&key) else { return Ok(true) };
        loop {
            while let Some((operation, flags)) = connection.due() {
                let Some(_) = out.room()? else { return Ok(false) };
                let header = Header { flags, ..key.header(self.cid, operation) };
                out.give(&connection.sent(operation, header), &[])?;
                *any = true;
            }
            if !data {
                return Ok(true);
            }
            let Some(room) = out.room()? else { return Ok(false) };
            match connection.read(&mut self.scratch, room) {
                // It may have found something that is due: that the host sends no more, or that it has no room.
                Ok(Data::None) if connection.due().is_some() => {}
                Ok(Data::None) => return Ok(true),
                Ok(Data::Bytes(len, last)) => {
                    let flags = u32::from(last);
                    let header = Header { len: len as u32, flags, ..key.header(self.cid, op::RW) };
                    out.give(&connection.sent(op::RW, header), self.scratch.get(..len).unwrap_or_default())?;
                    *any = true;
                    return Ok(true);
                }
                Err(Dead) => {
                    self.reset(key);
                    return Ok(true);
                }
            }
        }
    }
}

/// The port behind that one, among those for callers.
fn following(port: u32) -> u32 {
    if port < u32::MAX - 1 { port + 1 } else { FIRST_PORT }
}

/// The driver's buffers for packets.
struct Out<'a, 'b> {
    desk: &'a mut Desk<'b>,
    /// One that was taken and not used yet.
    spare: Option<Chain>,
}

impl Out<'_, '_> {
    /// Bytes that the next packet has room for behind its header, if there is a buffer.
    fn room(&mut self) -> Result<Option<usize>, Broken> {
        while self.spare.is_none() {
            self.spare = self.desk.pop(RECEIVE)?;
            if self.spare.is_none() && !self.desk.sleep(RECEIVE)? {
                return Ok(None);
            }
        }
        let len = self.spare.as_ref().map_or(0, Chain::writable_len);
        let room = len.checked_sub(HEADER as u64).ok_or(Broken("a buffer with no room for a packet"))?;
        Ok(Some(usize::try_from(room).unwrap_or(usize::MAX)))
    }

    /// Gives the driver a packet; false if there is no buffer.
    fn give(&mut self, header: &Header, payload: &[u8]) -> Result<bool, Broken> {
        if self.room()?.is_none() {
            return Ok(false);
        }
        let Some(chain) = self.spare.take() else { return Ok(false) };
        let mut written = chain.write(self.desk.dma, 0, &header.bytes())?;
        written += chain.write(self.desk.dma, HEADER as u64, payload)?;
        self.desk.push(RECEIVE, &chain, written as u32)?;
        Ok(true)
    }
}

impl Backend for Vsock {
    fn start(&mut self, features: u64) {
        (self.features, self.running) = (features, true);
    }

    fn serve(&mut self, desk: &mut Desk<'_>, _rung: u64) -> Result<(), Broken> {
        self.transmit(desk)?;
        // What comes from the host comes to the device's own thread, which waits for it.
        let data = !desk.is_eager();
        if data {
            self.flush();
            self.accept();
        }
        self.receive(desk, data)
    }

    fn stop(&mut self) {
        self.running = false;
    }

    /// Connections of a driver that is gone are gone.
    fn reset(&mut self) {
        self.connections.clear();
        self.refusals.clear();
        self.host.forget();
        self.starved = false;
    }

    fn watched(&self) -> Vec<Watched> {
        if !self.running {
            return Vec::new();
        }
        let listens = |connection: &Connection| !self.starved && connection.listens();
        let connections = self.connections.values().map(|connection| Watched {
            fd: connection.descriptor(),
            read: listens(connection),
            write: connection.waits(),
        });
        let room = !self.starved && self.connections.len() < MOST_CONNECTIONS;
        let callers = self.host.descriptors().into_iter();
        let callers = callers.map(|fd| Watched { fd, read: room, write: false });
        connections.chain(callers).collect()
    }
}

const _: () = assert!(HOST_CID < crate::config::FIRST_CID as u64);
