//! The root complex: the functions of a machine, and how requests of processors come to them.
//!
//! Sources: PCI Express Base Specification, 7.2.2 (the ECAM window), 2.3.1 (what nobody claims is an unsupported request;
//! a processor then reads all ones), 7.3 (configuration requests by bus numbers), 7.3.1 (below a port without ARI forwarding
//! there is device 0 only).
//!
//! The machine's bus is told of whole windows; what is where inside them changes with the registers of functions and is
//! looked up here, in routes that are made anew when a configuration write, a reset or a restored state has changed what a
//! function decodes. A look-up takes no lock that another could hold, and an access none but that of the function's slot.

use crate::decode::{Decode, Space};
use crate::device::{Header, PciDevice};
use crate::function::PciFunction;
use crate::intx::{Intx, LINES, swizzle};
use crate::layout::Placement;
use crate::published::Published;
use crate::routes::{Bus, Position, Routes};
use dev_core::{Plugged, RestoreError, Slot};
use fabric_bus::{BusFault, Target};
use fabric_clock::Timers;
use fabric_wire::Wire;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A function in its slot, as the root complex sees it.
trait Function: Plugged {
    /// A configuration write that has come to it on bus `bus`; what it decodes then.
    fn configure(&self, bus: u8, offset: u16, size: u8, value: u32) -> Decode;
    /// What it decodes.
    fn decode(&self) -> Decode;
    /// Tells it whether the bridges above pass its requests on.
    fn set_reachable(&self, reachable: bool);
}

impl<D: PciDevice> Function for Slot<PciFunction<D>> {
    fn configure(&self, bus: u8, offset: u16, size: u8, value: u32) -> Decode {
        self.with(|function, now| {
            function.configure(bus, offset, size, value, now);
            function.decode()
        })
    }

    fn decode(&self) -> Decode {
        self.with(|function, _| function.decode())
    }

    fn set_reachable(&self, reachable: bool) {
        self.with(|function, _| function.set_reachable(reachable));
    }
}

/// What stands between the root complex and a function: accesses to its BARs go there, at the offsets that the function's slot
/// has.
pub trait Front: Target {
    /// The function has changed by anything else: a configuration write, a reset, a bridge above it.
    fn changed(&self);
}

/// Why a function cannot be plugged in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlugError {
    /// Something is there.
    #[error("two PCI functions at {0:02x}.{1:x} of one bus")]
    Taken(u8, u8),
    /// What it should be below is no port, or not there.
    #[error("a PCI function is below something that is no port")]
    NoPort,
}

/// A function that has been plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionId(usize);

/// The slot of a function.
pub type FunctionSlot<D> = Arc<Slot<PciFunction<D>>>;

/// Collects the functions of a [`RootComplex`].
pub struct ComplexBuilder {
    intx: Arc<Intx>,
    members: Vec<Member>,
}

struct Member {
    function: Arc<dyn Function>,
    front: Option<Arc<dyn Front>>,
    position: Position,
    is_port: bool,
}

impl ComplexBuilder {
    /// Nothing on the root bus; `lines` are what INTA to INTD drive.
    pub fn new(lines: [Option<Wire>; LINES]) -> ComplexBuilder {
        ComplexBuilder { intx: Arc::new(Intx::new(lines)), members: Vec::new() }
    }

    /// Plugs `device` in, on the root bus or below a port.
    ///
    /// # Errors
    /// See [`PlugError`].
    ///
    /// # Panics
    /// If the device's description contradicts itself.
    pub fn plug<D: PciDevice>(
        &mut self,
        port: Option<FunctionId>,
        placement: &Placement,
        device: D,
        timers: &Arc<Timers>,
    ) -> Result<(FunctionId, FunctionSlot<D>), PlugError> {
        let position = Position { port: port.map(|port| port.0), devfn: placement.devfn };
        if self.members.iter().any(|other| other.position == position) {
            return Err(PlugError::Taken(placement.devfn >> 3, placement.devfn & 7));
        }
        if port.is_some_and(|port| !self.members.get(port.0).is_some_and(|member| member.is_port)) {
            return Err(PlugError::NoPort);
        }
        let description = device.description();
        let is_port = matches!(description.header, Header::RootPort { .. });
        let wire = description.pin.map(|pin| {
            let line = self.line(position, pin as u8 - 1);
            Wire::new(Arc::clone(&self.intx) as _, self.intx.add(line))
        });
        let slot = Slot::new(PciFunction::new(device, placement), vec![wire], timers);
        self.members.push(Member { function: Arc::clone(&slot) as _, front: None, position, is_port });
        Ok((FunctionId(self.members.len() - 1), slot))
    }

    /// The same with what stands before the function.
    ///
    /// # Errors
    /// See [`PlugError`].
    ///
    /// # Panics
    /// If the device's description contradicts itself.
    pub fn plug_behind<D: PciDevice>(
        &mut self,
        port: Option<FunctionId>,
        placement: &Placement,
        device: D,
        timers: &Arc<Timers>,
        front: impl FnOnce(&FunctionSlot<D>) -> Arc<dyn Front>,
    ) -> Result<(FunctionId, FunctionSlot<D>), PlugError> {
        let (id, slot) = self.plug(port, placement, device, timers)?;
        if let Some(member) = self.members.get_mut(id.0) {
            member.front = Some(front(&slot));
        }
        Ok((id, slot))
    }

    /// The line that a pin comes out on. At the other end of a link is device 0; with ARI, the bits of the device number
    /// are some of the function's (2.2.8.1).
    fn line(&self, mut position: Position, mut pin: u8) -> u8 {
        loop {
            pin = swizzle(pin, if position.port.is_some() { 0 } else { position.devfn >> 3 });
            match position.port.and_then(|port| self.members.get(port)) {
                Some(member) => position = member.position,
                None => return pin,
            }
        }
    }

    /// The finished root complex.
    pub fn build(self) -> Arc<RootComplex> {
        let places = self.members.iter().enumerate();
        let places = places.map(|(n, m)| ((m.position.port, m.position.devfn), n)).collect();
        let positions: Vec<Position> = self.members.iter().map(|member| member.position).collect();
        let known =
            Known { decodes: vec![Decode::default(); positions.len()], told: vec![false; positions.len()] };
        let (known, routes) = (Mutex::new(known), Published::new(Routes::default()));
        let complex = RootComplex { members: self.members, positions, places, known, routes };
        complex.renew(None, false);
        Arc::new(complex)
    }
}

/// What is known of the functions' registers.
struct Known {
    decodes: Vec<Decode>,
    /// Which functions have been told that they are reachable.
    told: Vec<bool>,
}

/// The root complex.
pub struct RootComplex {
    members: Vec<Member>,
    positions: Vec<Position>,
    /// Functions by port, device and function number.
    places: HashMap<(Option<usize>, u8), usize>,
    known: Mutex<Known>,
    /// The routes that follow from it. Replaced while it is locked.
    routes: Published,
}

/// A value that nobody has driven.
fn all_ones(size: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)))
}

impl RootComplex {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The function at an offset of the ECAM window, its bus, and the offset in its configuration space.
    fn configured(&self, offset: u64) -> Option<(usize, u8, u16)> {
        let (bus, devfn) = ((offset >> 20) as u8, (offset >> 12) as u8);
        let port = match self.routes.with(|routes| routes.buses.get(usize::from(bus)).copied())? {
            Bus::Nobody => return None,
            Bus::Root => None,
            Bus::Below { ari: false, .. } if devfn >= 8 => return None,
            Bus::Below { port, .. } => Some(port),
        };
        Some((*self.places.get(&(port, devfn))?, bus, (offset & 0xfff) as u16))
    }

    /// Reads configuration space, at most a doubleword.
    fn read_config(&self, offset: u64, size: u8) -> u64 {
        let found = self.configured(offset).and_then(|(n, _, at)| Some((self.members.get(n)?, at)));
        let value = found.and_then(|(member, at)| member.function.read(u64::from(at), size).ok());
        value.unwrap_or_else(|| all_ones(size))
    }

    fn write_config(&self, offset: u64, size: u8, value: u32) {
        let Some((n, bus, at)) = self.configured(offset) else { return };
        let Some(member) = self.members.get(n) else { return };
        if u64::from(at % 4) + u64::from(size) > 4 {
            return;
        }
        let decode = member.function.configure(bus, at, size, value);
        if self.known().decodes.get(n) != Some(&decode) {
            self.renew(Some(n), true);
        }
        self.tell_front(n);
    }

    /// Tells who stands before a function of a change. Nothing is locked then.
    fn tell_front(&self, n: usize) {
        if let Some(front) = self.members.get(n).and_then(|member| member.front.as_ref()) {
            front.changed();
        }
    }

    fn renew(&self, only: Option<usize>, resets: bool) {
        self.make_anew(only, resets).into_iter().for_each(|n| self.tell_front(n));
    }

    /// Makes the routes anew after function `only` (or any) has changed. What it decodes is asked for while the routes are
    /// locked, so that of two changes at a time the later one counts. With `resets`, a port that has begun to hold what is
    /// below it in reset resets that. Gives the functions that this has changed.
    fn make_anew(&self, only: Option<usize>, resets: bool) -> Vec<usize> {
        let mut known = self.known();
        let Known { decodes, told } = &mut *known;
        let holds = |decode: &Decode| decode.bridge.is_some_and(|bridge| bridge.reset);
        let (mut begun, mut changed) = (Vec::new(), Vec::new());
        let all = self.members.iter().zip(decodes.iter_mut()).enumerate();
        for (n, (member, old)) in all.filter(|(n, _)| only.is_none_or(|only| only == *n)) {
            let decode = member.function.decode();
            if resets && holds(&decode) && !holds(old) {
                begun.push(n);
            }
            *old = decode;
        }
        for (n, (member, old)) in self.members.iter().zip(decodes.iter_mut()).enumerate() {
            if begun.iter().any(|port| self.is_below(n, *port)) {
                member.function.reset();
                *old = member.function.decode();
                changed.push(n);
            }
        }
        let routes = Routes::new(&self.positions, decodes);
        let reachable = routes.reachable.clone();
        self.routes.replace(routes);
        for (n, ((member, told), now)) in self.members.iter().zip(told.iter_mut()).zip(reachable).enumerate()
        {
            if *told != now {
                *told = now;
                member.function.set_reachable(now);
                changed.push(n);
            }
        }
        changed
    }

    /// Whether function `n` is below port `port`, at any depth.
    fn is_below(&self, n: usize, port: usize) -> bool {
        // A port is plugged in before what is below it, so that this goes down and ends.
        let mut above = self.positions.get(n).and_then(|position| position.port);
        while let Some(at) = above {
            if at == port {
                return true;
            }
            above = self.positions.get(at).and_then(|position| position.port);
        }
        false
    }

    /// Who has an access in a window.
    fn access(&self, space: Space, address: u64, size: u8) -> Option<(&dyn Target, u64)> {
        let (n, at) = self.routes.with(|routes| routes.find(space, address, size))?;
        let member = self.members.get(n)?;
        let target: &dyn Target = match &member.front {
            Some(front) => &**front,
            None => &*member.function,
        };
        Some((target, at))
    }

    /// Whether the routes are what functions decode now: always, but while another thread changes something. For tests.
    #[doc(hidden)]
    pub fn is_current(&self) -> bool {
        let known = self.known();
        let decodes: Vec<Decode> = self.members.iter().map(|member| member.function.decode()).collect();
        let routes = Routes::new(&self.positions, &decodes);
        let published = self.routes.with(|published| *published == routes);
        published && known.decodes == decodes && known.told == routes.reachable
    }

    /// The ECAM window of bus 0 on, 1 MiB for each bus.
    pub fn ecam(self: &Arc<Self>) -> Arc<dyn Target> {
        Arc::new(Ecam(Arc::clone(self)))
    }

    /// A window that leads to addresses from `base` on.
    pub fn window(self: &Arc<Self>, space: Space, base: u64) -> Arc<dyn Target> {
        Arc::new(Through { complex: Arc::clone(self), space, base })
    }

    /// A function as the machine keeps it. It must be reset and restored by this, so that routes follow.
    pub fn plugged(self: &Arc<Self>, id: FunctionId) -> Option<Arc<dyn Plugged>> {
        let member = self.members.get(id.0)?;
        Some(Arc::new(Followed { complex: Arc::clone(self), slot: Arc::clone(&member.function), n: id.0 }))
    }
}

struct Ecam(Arc<RootComplex>);

/// Accesses of eight bytes are two, the lower doubleword first; the specification leaves it to the root complex.
impl Target for Ecam {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        if size == 8 {
            let low = self.0.read_config(offset, 4);
            return Ok(low | self.0.read_config(offset.wrapping_add(4), 4) << 32);
        }
        Ok(self.0.read_config(offset, size))
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        if size == 8 {
            self.0.write_config(offset, 4, value as u32);
            self.0.write_config(offset.wrapping_add(4), 4, (value >> 32) as u32);
        } else {
            self.0.write_config(offset, size, value as u32);
        }
        Ok(())
    }
}

struct Through {
    complex: Arc<RootComplex>,
    space: Space,
    base: u64,
}

impl Target for Through {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        let found = self.complex.access(self.space, self.base.wrapping_add(offset), size);
        let value = found.and_then(|(function, at)| function.read(at, size).ok());
        Ok(value.unwrap_or_else(|| all_ones(size)))
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        if let Some((function, at)) = self.complex.access(self.space, self.base.wrapping_add(offset), size) {
            // An unsupported request that is posted leaves no trace at the processor.
            let _ = function.write(at, size, value);
        }
        Ok(())
    }
}

/// A function with the root complex that follows its changes.
struct Followed {
    complex: Arc<RootComplex>,
    slot: Arc<dyn Function>,
    n: usize,
}

impl Target for Followed {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        self.slot.read(offset, size)
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        let done = self.slot.write(offset, size, value);
        self.complex.renew(Some(self.n), true);
        done
    }
}

impl Plugged for Followed {
    fn name(&self) -> &'static str {
        self.slot.name()
    }

    fn reset(&self) {
        self.slot.reset();
        self.complex.renew(Some(self.n), true);
    }

    fn save(&self) -> Vec<u8> {
        self.slot.save()
    }

    fn restore(&self, bytes: &[u8]) -> Result<(), RestoreError> {
        let done = self.slot.restore(bytes);
        // What is below a port that holds it in reset has its own state, restored or still to be; and nobody goes to work
        // in a machine that is restored in part.
        self.complex.make_anew(Some(self.n), false);
        done
    }

    fn target(self: Arc<Self>) -> Arc<dyn Target> {
        self
    }
}
