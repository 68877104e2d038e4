//! slot-agent: carries out orders on one storage host, fenced by its ledger.
