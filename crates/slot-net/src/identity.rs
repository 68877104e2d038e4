//! Who somebody is: a role and a name, as a certificate states them.
//!
//! What always holds: an [`Identity`] has a known role and a name that fits a DNS label; a certificate states exactly
//! one, as the URI `slot://ROLE/NAME` and as the one DNS name that belongs to it, or it states none. Constraints on whom an
//! issuer may certify are on DNS names, so the two must never differ.

use slot_types::ids::{ClientName, IdError};
use std::fmt;
use std::str::FromStr;
use x509_parser::extensions::GeneralName;

/// The scheme of the one URI in a certificate that says who it is for.
const SCHEME: &str = "slot://";

/// What a process or a person may be in a cluster; each RPC names the roles it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A `slotd` node.
    Coordinator,
    /// A `slot-agent`, and the engines it starts, on one host.
    Agent,
    /// A person with `slotctl`.
    Operator,
    /// A client of stores.
    Client,
    /// A `slot-agent` that renders maps and holds no data: nobody lets it call anything.
    FrontEnd,
    /// A bare host with a one-time token: it may ask for its agent's certificate, once, and nothing else.
    Joiner,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 6] =
        [Role::Coordinator, Role::Agent, Role::Operator, Role::Client, Role::FrontEnd, Role::Joiner];

    /// The role as certificates, folders and messages write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Coordinator => "coordinator",
            Role::Agent => "agent",
            Role::Operator => "operator",
            Role::Client => "client",
            Role::FrontEnd => "front-end",
            Role::Joiner => "joiner",
        }
    }
}
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl FromStr for Role {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| IdentityError::UnknownRole(text.to_string()))
    }
}

/// Why a certificate or a text names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not one of the roles.
    #[error("{0:?} is not a role: use coordinator, agent, operator, client, front-end or joiner")]
    UnknownRole(String),
    /// Not a name.
    #[error("cannot name an identity: {0}")]
    Name(#[from] IdError),
    /// A name whose last character no DNS name may end in.
    #[error("cannot name an identity {0:?}: a certificate's name must end in a letter or digit")]
    HyphenAtEnd(String),
    /// Not `slot://ROLE/NAME`.
    #[error("{0:?} is not an identity: write slot://ROLE/NAME, as in slot://agent/imap3")]
    NotAnIdentity(String),
    /// Bytes that are not an X.509 certificate, or have a broken subject alternative name.
    #[error("cannot read the certificate: {0}")]
    Certificate(String),
    /// A certificate that states nobody.
    #[error("the certificate has no slot:// identity: use one that `slotctl init` issued")]
    Missing,
    /// A certificate that states more than one.
    #[error("the certificate has {0} slot:// identities where exactly one is allowed: issue it anew")]
    Several(usize),
    /// A certificate whose DNS names are not exactly that of the identity it states.
    #[error("the certificate states {stated} and the DNS names {found:?}, which do not belong together: issue it anew")]
    OtherDnsName {
        /// Whom its URI states.
        stated: String,
        /// Its DNS names.
        found: Vec<String>,
    },
}

/// A role and a name: what a certificate proves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    role: Role,
    name: String,
}

impl Identity {
    /// Checks the name and makes the identity.
    pub fn new(role: Role, name: &str) -> Result<Self, IdentityError> {
        ClientName::new(name)?; // every kind of name has the same alphabet and length
        if name.ends_with('-') {
            return Err(IdentityError::HyphenAtEnd(name.to_string()));
        }
        Ok(Self { role, name: name.to_string() })
    }

    /// What it may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Which one of its role it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URI that a certificate states, `slot://agent/imap3`.
    pub fn uri(&self) -> String {
        format!("{SCHEME}{self}")
    }

    /// The DNS name that a certificate states too: dialers pin it, so that they talk to this identity or to nobody.
    pub fn dns_name(&self) -> String {
        format!("{}.{}.slotd", self.name, self.role)
    }

    /// The folder name `init_cluster` gives it, `agent-imap3`.
    pub fn folder_name(&self) -> String {
        format!("{}-{}", self.role, self.name)
    }

    /// Reads the identity that a DER certificate states. The certificate must have been verified already.
    pub fn from_der(der: &[u8]) -> Result<Self, IdentityError> {
        let (rest, certificate) =
            x509_parser::parse_x509_certificate(der).map_err(|e| IdentityError::Certificate(e.to_string()))?;
        if !rest.is_empty() {
            return Err(IdentityError::Certificate(format!("{} bytes follow it", rest.len())));
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|e| IdentityError::Certificate(e.to_string()))?
            .ok_or(IdentityError::Missing)?;
        let stated: Vec<&str> = names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) if uri.starts_with(SCHEME) => Some(*uri),
                _ => None,
            })
            .collect();
        let identity: Identity = match stated.as_slice() {
            [] => return Err(IdentityError::Missing),
            [one] => one.parse()?,
            several => return Err(IdentityError::Several(several.len())),
        };
        let dns: Vec<&str> = names
            .value
            .general_names
            .iter()
            .filter_map(|name| if let GeneralName::DNSName(dns) = name { Some(*dns) } else { None })
            .collect();
        if dns != [identity.dns_name()] {
            let found = dns.into_iter().map(str::to_string).collect();
            return Err(IdentityError::OtherDnsName { stated: identity.to_string(), found });
        }
        Ok(identity)
    }
}
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.role, self.name)
    }
}
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Identity {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let refused = || IdentityError::NotAnIdentity(text.to_string());
        let (role, name) = text.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).ok_or_else(refused)?;
        Self::new(role.parse()?, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_from_its_uri() {
        for role in Role::ALL {
            let identity = Identity::new(role, "imap3").unwrap();
            assert_eq!(identity.uri().parse::<Identity>().unwrap(), identity);
        }
    }

    #[test]
    fn an_unknown_role_and_a_bad_name_are_refused() {
        assert_eq!("slot://root/x".parse::<Identity>(), Err(IdentityError::UnknownRole("root".into())));
        for text in ["slot://agent", "agent/x", "http://agent/x", ""] {
            assert_eq!(text.parse::<Identity>(), Err(IdentityError::NotAnIdentity(text.into())));
        }
        for text in ["slot://agent/", "slot://agent/a/b", "slot://agent/A", "slot://agent/a.b", "slot://agent/.."] {
            assert!(matches!(text.parse::<Identity>(), Err(IdentityError::Name(_))), "{text}");
        }
        assert_eq!(Identity::new(Role::Agent, "a-"), Err(IdentityError::HyphenAtEnd("a-".into())));
    }

    #[test]
    fn bytes_that_are_no_certificate_name_nobody() {
        assert!(matches!(Identity::from_der(b"nonsense"), Err(IdentityError::Certificate(_))));
    }
}
