//! What agents do, and which orders are a reason for it (S10).

use slot_types::engine::EngineCall;
use slot_types::ids::Epoch;
use slot_types::order::Action;

pub(super) fn call_name(call: &EngineCall) -> &'static str {
    match call {
        EngineCall::Status => "status",
        EngineCall::Freeze { .. } => "freeze",
        EngineCall::Thaw { .. } => "thaw",
        EngineCall::CatchUp { .. } => "catch-up",
        EngineCall::Demote { .. } => "demote",
        EngineCall::Raise { .. } => "raise",
        EngineCall::Promote { .. } => "promote",
        EngineCall::StartMaster { .. } => "start-master",
        EngineCall::Follow { .. } => "follow",
        EngineCall::ListStranded { .. } => "list-stranded",
        EngineCall::Reinject { .. } => "reinject",
        EngineCall::Canary { .. } => "canary",
        EngineCall::Verify { .. } => "verify",
        EngineCall::Stop => "stop",
    }
}

/// At which epoch an engine is asked for something.
pub(crate) fn epoch_of(call: &EngineCall) -> Option<Epoch> {
    match call {
        EngineCall::Freeze { epoch, .. }
        | EngineCall::CatchUp { epoch, .. }
        | EngineCall::Demote { epoch }
        | EngineCall::Raise { epoch }
        | EngineCall::Promote { epoch, .. }
        | EngineCall::StartMaster { epoch, .. }
        | EngineCall::Follow { epoch, .. } => Some(*epoch),
        _ => None,
    }
}

/// Which deeds an order is a reason for.
pub(super) fn permits(action: &Action, deed: &str) -> bool {
    let name = action.name();
    match action {
        Action::Provision => matches!(deed, "provision" | "launch" | "kill"),
        Action::Freeze { .. } | Action::Thaw { .. } => deed == name,
        Action::Stop => matches!(deed, "stop" | "kill"),
        Action::Promote { .. } => matches!(deed, "promote" | "catch-up" | "launch" | "kill"),
        Action::Canary { .. } | Action::ConfirmStopped | Action::Cancel { .. } => false,
        _ => deed == name || matches!(deed, "launch" | "kill"),
    }
}
