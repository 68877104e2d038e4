//! slotctl: the operator's hand.
