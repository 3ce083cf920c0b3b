#![allow(missing_docs)]
mod asm; mod reg; mod layout;
pub use asm::*; pub use reg::*; pub use layout::*;
