//! TLS settings shared by both sides: 1.3 only, ring, this cluster's CA as the only root.

use crate::folder::IdentityFolder;
use crate::identity::Identity;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::fmt;
use std::sync::Arc;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, ServerConfig, SignatureScheme, version,
};

type Cause = Box<dyn std::error::Error + Send + Sync>;

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(folder: &IdentityFolder) -> Result<Arc<RootCertStore>, Cause> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(folder.ca_pem().as_bytes()) {
        roots.add(certificate?)?;
    }
    Ok(Arc::new(roots))
}

/// The server's side: a client without a certificate of this CA does not get through the handshake.
pub(crate) fn server_config(folder: &IdentityFolder) -> Result<Arc<ServerConfig>, Cause> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(folder)?, provider()).build()?;
    let chain = CertificateDer::pem_slice_iter(folder.cert_pem().as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(folder.key_pem().as_bytes())?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// The dialer's side: the server must have a certificate of this CA that states exactly the expected identity.
#[derive(Debug)]
pub(crate) struct ExpectIdentity {
    chain: Arc<WebPkiServerVerifier>,
    expected: Identity,
}

impl ExpectIdentity {
    pub(crate) fn new(folder: &IdentityFolder, expected: &Identity) -> Result<Arc<Self>, Cause> {
        let chain = WebPkiServerVerifier::builder_with_provider(roots(folder)?, provider()).build()?;
        Ok(Arc::new(Self { chain, expected: expected.clone() }))
    }
}

/// Why a certificate of this cluster is not the right one. rustls shows only the `Debug` text of a cause, so that one is
/// the sentence.
struct NotExpected(String);

impl fmt::Debug for NotExpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for NotExpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for NotExpected {}

impl ServerCertVerifier for ExpectIdentity {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Chain, validity, usage and DNS name first: nothing in a certificate of another CA is worth reading.
        let verified = self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let expected = &self.expected;
        let cause = match Identity::from_der(end_entity) {
            Ok(found) if found == *expected => return Ok(verified),
            Ok(found) => format!("the server is {found} where {expected} was expected"),
            Err(error) => format!("the server is not {expected}: {error}"),
        };
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NotExpected(cause))))))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // tonic offers TLS 1.2 as well; no server is believed in it.
        Err(Error::General("the server speaks TLS 1.2 where 1.3 is the only one allowed".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
