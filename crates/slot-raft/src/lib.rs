//! A sans-I/O driver over raft-rs with a durable log; knows no domain word.
