//! A hart with nothing around it, for tests.

use crate::csr::{CsrAction, access};
use crate::{Change, Env, Features, Hart, Trap, csr_number};

pub(crate) struct TestEnv {
    pub hart: Hart,
    pub time: u64,
    pub retired: u64,
    pub lines: u64,
    pub changes: Vec<Change>,
    pub waited: bool,
    pub jumped: Option<u64>,
}

impl TestEnv {
    pub fn new() -> TestEnv {
        TestEnv::with(&Features::FULL)
    }

    pub fn with(features: &Features) -> TestEnv {
        TestEnv {
            hart: Hart::new(0, features),
            time: 0,
            retired: 0,
            lines: 0,
            changes: Vec::new(),
            waited: false,
            jumped: None,
        }
    }

    pub fn act(&mut self, name: &str, action: CsrAction) -> Result<u64, Trap> {
        access(self, csr_number(name).unwrap(), action)
    }

    pub fn get(&mut self, name: &str) -> u64 {
        self.act(name, CsrAction::Read).unwrap()
    }

    pub fn set(&mut self, name: &str, v: u64) {
        self.act(name, CsrAction::Write(v)).unwrap();
    }

    /// What `name` reads after `v` was written to it.
    pub fn after(&mut self, name: &str, v: u64) -> u64 {
        self.set(name, v);
        self.get(name)
    }

    pub fn illegal(&mut self, name: &str, action: CsrAction) -> bool {
        let before = self.hart.clone();
        let result = self.act(name, action);
        assert!(result.is_ok() || self.hart == before);
        result == Err(Trap::illegal())
    }
}

impl Env for TestEnv {
    fn hart(&mut self) -> &mut Hart {
        &mut self.hart
    }
    fn hart_ref(&self) -> &Hart {
        &self.hart
    }
    fn insn_pc(&self) -> u64 {
        self.hart.pc
    }
    fn time(&mut self) -> u64 {
        self.time
    }
    fn retired(&mut self) -> u64 {
        self.retired
    }
    fn lines(&mut self) -> u64 {
        self.lines
    }
    fn changed(&mut self, what: Change) {
        self.changes.push(what);
    }
    fn wait_for_interrupt(&mut self) {
        self.waited = true;
    }
    fn jump_to(&mut self, pc: u64) {
        self.jumped = Some(pc);
    }
    fn zero_block(&mut self, _: u64) -> Result<(), Trap> {
        Ok(())
    }
    fn manage_block(&mut self, _: u64) -> Result<(), Trap> {
        Ok(())
    }
}
