//! What is said of an invitation.

use slot_types::ids::HostName;
use std::path::Path;

/// Said when a token was made.
pub fn invited(host: &HostName, token: &Path) -> String {
    let token = token.display();
    format!(
        "{host} may join within 24 h, once, with the token in {token}\n  \
         Whoever has that file can become {host}: bring it there on a way you trust.\n  \
         next  on {host}: slot-agent join --token {token} --config agent.toml --folder DIR\n"
    )
}
