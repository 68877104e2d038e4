//! The replicated state machine: plans, approvals, claims, epochs; pure and total.
