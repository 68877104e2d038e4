//! Mutual TLS, certificate identities, the role-by-RPC table, and failpoints at process edges.
