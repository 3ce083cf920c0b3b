//! Every extension and function of the SBI specification 3.0, and which of them the firmware answers.

/// A version of the SBI specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Major number.
    pub major: u8,
    /// Minor number.
    pub minor: u8,
}

impl Version {
    /// As `sbi_get_spec_version` encodes it: minor in bits 23:0, major in bits 30:24.
    pub const fn bits(self) -> u64 {
        (self.major as u64) << 24 | self.minor as u64
    }
}

/// The specification that the firmware implements.
pub const SPEC_VERSION: Version = Version { major: 3, minor: 0 };

/// A function that the firmware answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the function of its row")]
pub enum Function {
    LegacySetTimer,
    LegacyPutchar,
    LegacyGetchar,
    LegacyClearIpi,
    LegacySendIpi,
    LegacyFenceI,
    LegacySfenceVma,
    LegacySfenceVmaAsid,
    LegacyShutdown,
    SpecVersion,
    ImplId,
    ImplVersion,
    ProbeExtension,
    Mvendorid,
    Marchid,
    Mimpid,
    SetTimer,
    SendIpi,
    FenceI,
    SfenceVma,
    SfenceVmaAsid,
    HartStart,
    HartStop,
    HartStatus,
    HartSuspend,
    SystemReset,
    PmuNumCounters,
    PmuCounterInfo,
    PmuConfigMatching,
    PmuStart,
    PmuStop,
    PmuFwRead,
    PmuFwReadHi,
    PmuEventInfo,
    ConsoleWrite,
    ConsoleRead,
    ConsoleWriteByte,
    SystemSuspend,
}

/// A function of the specification; its function ID is its place in [`ExtensionRow::functions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionRow {
    /// Its name in the specification.
    pub name: &'static str,
    /// The version of the specification that brought it.
    pub since: Version,
    /// What answers it; `None` if it is not supported.
    pub function: Option<Function>,
}

/// An extension of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionRow {
    /// Extension ID.
    pub eid: u64,
    /// Its short name.
    pub name: &'static str,
    /// Its chapter.
    pub chapter: &'static str,
    /// Whether it is called by the legacy convention: no function ID, only `a0` is returned.
    pub legacy: bool,
    /// Its functions, by function ID.
    pub functions: &'static [FunctionRow],
}

impl ExtensionRow {
    /// Whether `sbi_probe_extension` reports it: the firmware answers some of its functions, and the
    /// specification lets the others be missing.
    pub fn implemented(&self) -> bool {
        self.functions.iter().any(|row| row.function.is_some())
    }

    /// The function with this ID; a legacy extension has one, whatever the ID.
    pub fn function(&self, fid: u64) -> Option<&'static FunctionRow> {
        let index = if self.legacy { 0 } else { usize::try_from(fid).ok()? };
        self.functions.get(index)
    }
}

/// The extension with this ID.
pub fn extension(eid: u64) -> Option<&'static ExtensionRow> {
    EXTENSIONS.iter().find(|row| row.eid == eid)
}

use Function as F;

const fn row(name: &'static str, major: u8, minor: u8, function: Function) -> FunctionRow {
    FunctionRow { name, since: Version { major, minor }, function: Some(function) }
}

const fn none(name: &'static str, major: u8, minor: u8) -> FunctionRow {
    FunctionRow { name, since: Version { major, minor }, function: None }
}

const fn legacy(eid: u64, functions: &'static [FunctionRow]) -> ExtensionRow {
    ExtensionRow { eid, name: "legacy", chapter: "Legacy Extensions", legacy: true, functions }
}

const fn ext(
    eid: u64,
    name: &'static str,
    chapter: &'static str,
    functions: &'static [FunctionRow],
) -> ExtensionRow {
    ExtensionRow { eid, name, chapter, legacy: false, functions }
}

/// All extensions. Those that a running system calls most come first, as they are searched in order.
pub static EXTENSIONS: [ExtensionRow; 25] = [
    ext(0x5449_4d45, "TIME", "Timer Extension", &[row("sbi_set_timer", 0, 2, F::SetTimer)]),
    ext(0x73_5049, "IPI", "IPI Extension", &[row("sbi_send_ipi", 0, 2, F::SendIpi)]),
    ext(
        0x5246_4e43,
        "RFENCE",
        "RFENCE Extension",
        &[
            row("sbi_remote_fence_i", 0, 2, F::FenceI),
            row("sbi_remote_sfence_vma", 0, 2, F::SfenceVma),
            row("sbi_remote_sfence_vma_asid", 0, 2, F::SfenceVmaAsid),
            none("sbi_remote_hfence_gvma_vmid", 0, 2),
            none("sbi_remote_hfence_gvma", 0, 2),
            none("sbi_remote_hfence_vvma_asid", 0, 2),
            none("sbi_remote_hfence_vvma", 0, 2),
        ],
    ),
    ext(
        0x48_534d,
        "HSM",
        "Hart State Management Extension",
        &[
            row("sbi_hart_start", 0, 2, F::HartStart),
            row("sbi_hart_stop", 0, 2, F::HartStop),
            row("sbi_hart_get_status", 0, 2, F::HartStatus),
            row("sbi_hart_suspend", 0, 3, F::HartSuspend),
        ],
    ),
    ext(
        0x4442_434e,
        "DBCN",
        "Debug Console Extension",
        &[
            row("sbi_debug_console_write", 2, 0, F::ConsoleWrite),
            row("sbi_debug_console_read", 2, 0, F::ConsoleRead),
            row("sbi_debug_console_write_byte", 2, 0, F::ConsoleWriteByte),
        ],
    ),
    ext(
        0x50_4d55,
        "PMU",
        "Performance Monitoring Unit Extension",
        &[
            row("sbi_pmu_num_counters", 0, 3, F::PmuNumCounters),
            row("sbi_pmu_counter_get_info", 0, 3, F::PmuCounterInfo),
            row("sbi_pmu_counter_config_matching", 0, 3, F::PmuConfigMatching),
            row("sbi_pmu_counter_start", 0, 3, F::PmuStart),
            row("sbi_pmu_counter_stop", 0, 3, F::PmuStop),
            row("sbi_pmu_counter_fw_read", 0, 3, F::PmuFwRead),
            row("sbi_pmu_counter_fw_read_hi", 2, 0, F::PmuFwReadHi),
            none("sbi_pmu_snapshot_set_shmem", 2, 0),
            row("sbi_pmu_event_get_info", 3, 0, F::PmuEventInfo),
        ],
    ),
    ext(
        0x10,
        "BASE",
        "Base Extension",
        &[
            row("sbi_get_spec_version", 0, 2, F::SpecVersion),
            row("sbi_get_impl_id", 0, 2, F::ImplId),
            row("sbi_get_impl_version", 0, 2, F::ImplVersion),
            row("sbi_probe_extension", 0, 2, F::ProbeExtension),
            row("sbi_get_mvendorid", 0, 2, F::Mvendorid),
            row("sbi_get_marchid", 0, 2, F::Marchid),
            row("sbi_get_mimpid", 0, 2, F::Mimpid),
        ],
    ),
    ext(0x5352_5354, "SRST", "System Reset Extension", &[row("sbi_system_reset", 0, 3, F::SystemReset)]),
    ext(
        0x5355_5350,
        "SUSP",
        "System Suspend Extension",
        &[row("sbi_system_suspend", 2, 0, F::SystemSuspend)],
    ),
    legacy(0, &[row("sbi_set_timer", 0, 1, F::LegacySetTimer)]),
    legacy(1, &[row("sbi_console_putchar", 0, 1, F::LegacyPutchar)]),
    legacy(2, &[row("sbi_console_getchar", 0, 1, F::LegacyGetchar)]),
    legacy(3, &[row("sbi_clear_ipi", 0, 1, F::LegacyClearIpi)]),
    legacy(4, &[row("sbi_send_ipi", 0, 1, F::LegacySendIpi)]),
    legacy(5, &[row("sbi_remote_fence_i", 0, 1, F::LegacyFenceI)]),
    legacy(6, &[row("sbi_remote_sfence_vma", 0, 1, F::LegacySfenceVma)]),
    legacy(7, &[row("sbi_remote_sfence_vma_asid", 0, 1, F::LegacySfenceVmaAsid)]),
    legacy(8, &[row("sbi_shutdown", 0, 1, F::LegacyShutdown)]),
    ext(
        0x4350_5043,
        "CPPC",
        "CPPC Extension",
        &[
            none("sbi_cppc_probe", 2, 0),
            none("sbi_cppc_read", 2, 0),
            none("sbi_cppc_read_hi", 2, 0),
            none("sbi_cppc_write", 2, 0),
        ],
    ),
    ext(
        0x4e41_434c,
        "NACL",
        "Nested Acceleration Extension",
        &[
            none("sbi_nacl_probe_feature", 2, 0),
            none("sbi_nacl_set_shmem", 2, 0),
            none("sbi_nacl_sync_csr", 2, 0),
            none("sbi_nacl_sync_hfence", 2, 0),
            none("sbi_nacl_sync_sret", 2, 0),
        ],
    ),
    ext(0x53_5441, "STA", "Steal-time Accounting Extension", &[none("sbi_steal_time_set_shmem", 2, 0)]),
    ext(
        0x53_5345,
        "SSE",
        "Supervisor Software Events Extension",
        &[
            none("sbi_sse_read_attrs", 3, 0),
            none("sbi_sse_write_attrs", 3, 0),
            none("sbi_sse_register", 3, 0),
            none("sbi_sse_unregister", 3, 0),
            none("sbi_sse_enable", 3, 0),
            none("sbi_sse_disable", 3, 0),
            none("sbi_sse_complete", 3, 0),
            none("sbi_sse_inject", 3, 0),
            none("sbi_sse_hart_unmask", 3, 0),
            none("sbi_sse_hart_mask", 3, 0),
        ],
    ),
    ext(
        0x4657_4654,
        "FWFT",
        "SBI Firmware Features Extension",
        &[none("sbi_fwft_set", 3, 0), none("sbi_fwft_get", 3, 0)],
    ),
    ext(
        0x4442_5452,
        "DBTR",
        "Debug Triggers Extension",
        &[
            none("sbi_debug_num_triggers", 3, 0),
            none("sbi_debug_set_shmem", 3, 0),
            none("sbi_debug_read_triggers", 3, 0),
            none("sbi_debug_install_triggers", 3, 0),
            none("sbi_debug_update_triggers", 3, 0),
            none("sbi_debug_uninstall_triggers", 3, 0),
            none("sbi_debug_enable_triggers", 3, 0),
            none("sbi_debug_disable_triggers", 3, 0),
        ],
    ),
    ext(
        0x4d50_5859,
        "MPXY",
        "Message Proxy Extension",
        &[
            none("sbi_mpxy_get_shmem_size", 3, 0),
            none("sbi_mpxy_set_shmem", 3, 0),
            none("sbi_mpxy_get_channel_ids", 3, 0),
            none("sbi_mpxy_read_attributes", 3, 0),
            none("sbi_mpxy_write_attributes", 3, 0),
            none("sbi_mpxy_send_message_with_response", 3, 0),
            none("sbi_mpxy_send_message_without_response", 3, 0),
            none("sbi_mpxy_get_notification_events", 3, 0),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of the table in `docs/sbi.md`.
    fn lines() -> Vec<String> {
        let mut lines = Vec::new();
        for extension in &EXTENSIONS {
            for (fid, row) in extension.functions.iter().enumerate() {
                lines.push(format!(
                    "| {} | {:#x} | {fid} | `{}` | {}.{} | {} |",
                    extension.name,
                    extension.eid,
                    row.name,
                    row.since.major,
                    row.since.minor,
                    if row.function.is_some() { "yes" } else { "not supported" },
                ));
            }
        }
        lines
    }

    #[test]
    fn the_documentation_has_exactly_the_rows_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sbi.md");
        let text = std::fs::read_to_string(path).unwrap();
        let documented: Vec<&str> = text.lines().filter(|line| line.contains(" | 0x")).collect();
        assert!(documented == lines(), "the table in docs/sbi.md should read:\n{}", lines().join("\n"));
    }

    #[test]
    fn an_extension_id_spells_its_name() {
        for row in EXTENSIONS.iter().filter(|row| row.eid > 0xff) {
            let spelled: Vec<u8> = row.eid.to_be_bytes().into_iter().skip_while(|&b| b == 0).collect();
            let expected = match row.name {
                // The two whose ID is shorter than the name.
                "RFENCE" => "RFNC",
                "IPI" => "sPI",
                name => name,
            };
            assert_eq!(String::from_utf8(spelled).unwrap(), expected);
        }
    }

    #[test]
    fn no_two_extensions_share_an_id_and_no_two_rows_a_function() {
        let mut functions = std::collections::HashSet::new();
        for (i, row) in EXTENSIONS.iter().enumerate() {
            assert!(EXTENSIONS.iter().skip(i + 1).all(|other| other.eid != row.eid));
            assert!(row.functions.iter().filter_map(|f| f.function).all(|f| functions.insert(f)));
            assert!(!row.legacy || row.functions.len() == 1);
        }
    }
}
