//! Requests to the hub and to the file servers that it names: redirects, the token, timeouts, TLS; and what an answer
//! that is not the wanted one means.
//!
//! Redirects are followed here and not by the library, since two things depend on them: the token goes to the hub's
//! own origin and never to another, and the hub says the hash of a file only in the answer that redirects.

use super::refusal::Refusal;
use super::retry::{Passing, Trouble};
use crate::error::{Error, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{HeaderMap, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig};

const MAX_REDIRECTS: usize = 8;
/// Waits that a server asks for beyond this are not waited, but told.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// Most bytes of an answer that is read as text.
const MAX_TEXT: u64 = 64 << 20;

/// How to reach the hub.
#[derive(Clone, Debug)]
pub(super) struct HttpOptions<'a> {
    pub(super) endpoint: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) ca_file: Option<&'a PathBuf>,
    /// How long a connection may give nothing.
    pub(super) stall: Duration,
}

/// A client of one hub.
pub(super) struct Http {
    agent: ureq::Agent,
    endpoint: Uri,
    token: Option<String>,
}

/// A request for (a part of) a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    pub(super) range: Option<Range<u64>>,
    /// The tag that the file must still have for a part to be of use.
    pub(super) if_range: Option<String>,
}

/// An answer of status 200, 206 or 416.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: ureq::Body,
    /// Where it came from in the end.
    pub(super) url: Uri,
    /// Hash of the file as the hub says it in a redirect.
    pub(super) linked_etag: Option<String>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The whole body as text of limited size.
    pub(super) fn text(self, what: &str) -> Result<String, Trouble> {
        let read = self.body.into_with_config().limit(MAX_TEXT).read_to_vec();
        let bytes = read.map_err(|e| trouble(e, what))?;
        String::from_utf8(bytes).map_err(|_| Trouble::Final(Error::runtime(format!("{what}: the answer is not UTF-8"))))
    }
}

impl Http {
    /// A client; nothing is sent yet.
    pub(super) fn new(options: &HttpOptions<'_>) -> Result<Http> {
        let endpoint = parse_url(options.endpoint)
            .map_err(|why| Error::usage(format!("HF_ENDPOINT {:?} {why}", options.endpoint)))?;
        let mut tls =
            TlsConfig::builder().unversioned_rustls_crypto_provider(Arc::new(rustls_graviola::default_provider()));
        if let Some(path) = options.ca_file {
            tls = tls.root_certs(certificates(path)?);
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls.build())
            .user_agent(concat!("lapwing/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(options.stall))
            .timeout_connect(Some(options.stall))
            .timeout_per_read(Some(options.stall))
            .timeout_per_write(Some(options.stall))
            .input_buffer_size(256 << 10)
            .max_idle_connections_per_host(16)
            .max_idle_connections(32)
            .build();
        Ok(Http { agent: config.new_agent(), endpoint, token: options.token.map(str::to_owned) })
    }

    /// The address of `path` on the hub; `path` is escaped as far as it must be.
    pub(super) fn url(&self, path: &str) -> Result<Uri> {
        let base = self.endpoint.to_string();
        let text = format!("{}/{path}", base.trim_end_matches('/'));
        parse_url(&text).map_err(|why| Error::runtime(format!("{text:?} {why}")))
    }

    /// Whether the address is the hub's own.
    pub(super) fn is_hub(&self, url: &Uri) -> bool {
        same_origin(url, &self.endpoint)
    }

    /// Asks for `url`. Statuses other than 200, 206 and 416 are troubles.
    pub(super) fn get(&self, url: &Uri, ask: &Ask) -> Result<Reply, Trouble> {
        let mut url = url.clone();
        let mut linked_etag = None;
        for _ in 0..MAX_REDIRECTS {
            let shown = shown(&url);
            let answer = self.request(&url, ask)?;
            let (parts, body) = answer.into_parts();
            let of_hub = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).map(normal_etag);
            linked_etag = linked_etag.or_else(|| of_hub("x-linked-etag").filter(|_| self.is_hub(&url)));
            match parts.status.as_u16() {
                status @ (200 | 206 | 416) => {
                    return Ok(Reply { status, headers: parts.headers, body, url, linked_etag });
                }
                301 | 302 | 303 | 307 | 308 => {
                    let next = parts.headers.get(header::LOCATION).and_then(|v| v.to_str().ok());
                    url = redirected(&url, next.unwrap_or_default())
                        .map_err(|why| Trouble::Final(Error::runtime(format!("{shown}: {why}"))))?;
                }
                status => return Err(refusal(status, &parts.headers, &shown, self.is_hub(&url))),
            }
        }
        Err(Trouble::Final(Error::runtime(format!("{}: more than {MAX_REDIRECTS} redirects", shown(&url)))))
    }

    fn request(&self, url: &Uri, ask: &Ask) -> Result<ureq::http::Response<ureq::Body>, Trouble> {
        if url.scheme_str() == Some("https") && !graviola::util::is_cpu_supported() {
            return Err(Trouble::Final(Error::unsupported(format!(
                "{}: https cannot be spoken on this CPU: the TLS that is built in needs AES, PCLMULQDQ, BMI1, ADX and AVX2 \
                 on x86-64, or AES, PMULL and SHA2 on Arm; download the file with another program (curl -LO, hf download) \
                 and give its path with -m, or set HF_ENDPOINT to a mirror with http://",
                shown(url)
            ))));
        }
        let mut request = self.agent.get(url.clone());
        if let Some(token) = self.token.as_ref().filter(|_| self.is_hub(url)) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(range) = &ask.range {
            request = request.header(header::RANGE, format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
            if let Some(tag) = &ask.if_range {
                request = request.header(header::IF_RANGE, tag);
            }
        }
        request.call().map_err(|e| trouble(e, &shown(url)))
    }
}

/// The certificates of a PEM file, which then are the only ones trusted.
fn certificates(path: &Path) -> Result<RootCerts> {
    let shown = path.display();
    let pem = std::fs::read(path)
        .map_err(|e| Error::file(format!("{shown} (of --cacert or SSL_CERT_FILE): cannot be read: {e}")))?;
    let found: Vec<_> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(Error::file(format!("{shown}: holds no PEM certificate (-----BEGIN CERTIFICATE-----)")));
    }
    Ok(RootCerts::new_with_certs(&found))
}

/// An address of http or https with a host.
pub(super) fn parse_url(text: &str) -> std::result::Result<Uri, String> {
    let url: Uri = text.parse().map_err(|e| format!("is no address: {e}"))?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(url),
        _ => Err("is no address that starts with https:// or http://".to_owned()),
    }
}

/// Escapes a path for an address: everything but letters, digits, `-._~` and `/`.
pub(super) fn escape_path(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Without the quotes, and the `W/` of a weak one: what the hub's cache calls a file.
pub(super) fn normal_etag(etag: &str) -> String {
    etag.trim().trim_start_matches("W/").trim_matches('"').to_owned()
}

/// Without what is behind `?`: signed addresses are long, and secrets.
pub(super) fn shown(url: &Uri) -> String {
    format!("{}://{}{}", url.scheme_str().unwrap_or(""), url.host().unwrap_or(""), url.path())
}

fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |url: &Uri| url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    let host = |url: &Uri| url.host().unwrap_or("").to_ascii_lowercase();
    a.scheme_str() == b.scheme_str() && host(a) == host(b) && port(a) == port(b)
}

/// Where `location` leads from `from`.
fn redirected(from: &Uri, location: &str) -> std::result::Result<Uri, String> {
    let (scheme, authority) = (from.scheme_str().unwrap_or("https"), from.authority().map_or("", |a| a.as_str()));
    let text = if location.starts_with("http://") || location.starts_with("https://") {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let url = parse_url(&text).map_err(|why| format!("redirects to {text:?}, which {why}"))?;
    if scheme == "https" && url.scheme_str() != Some("https") {
        return Err(format!("redirects from https to {}, which is not followed", shown(&url)));
    }
    Ok(url)
}

/// What an answer of another status means. A file server that refuses does so because the address that the hub gave has
/// expired, so that is worth another try from the hub on.
fn refusal(status: u16, headers: &HeaderMap, what: &str, of_hub: bool) -> Trouble {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    match status {
        408 | 425 | 429 | 500..=599 => {
            let wait = header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            let why = if status == 429 { " (too many requests)" } else { "" };
            let what = format!("{what}: the server answers {status}{why}");
            match wait {
                Some(wait) if wait > MAX_WAIT => Trouble::Final(Error::runtime(format!(
                    "{what} and asks to wait {} minutes; try again then",
                    wait.as_secs().div_ceil(60)
                ))),
                wait => Trouble::Passing(Passing { what, wait, unreachable: false }),
            }
        }
        _ if !of_hub => Trouble::Passing(Passing::new(format!("{what}: the file server answers {status}"))),
        _ => Trouble::Refused(Refusal { status, code: header("x-error-code"), message: header("x-error-message") }),
    }
}

/// What a failed request means.
pub(super) fn trouble(e: ureq::Error, what: &str) -> Trouble {
    let passing = |unreachable: bool, why: String| {
        Trouble::Passing(Passing { what: format!("{what}: {why}"), wait: None, unreachable })
    };
    match e {
        ureq::Error::HostNotFound => passing(true, "the host is not known (no network?)".to_owned()),
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            passing(true, "the server cannot be reached in time".to_owned())
        }
        ureq::Error::Timeout(_) => passing(false, "nothing came for too long".to_owned()),
        ureq::Error::Rustls(e) => Trouble::Final(tls_error(what, &e)),
        ureq::Error::Io(e) => io_trouble(e, what),
        ureq::Error::ConnectionFailed => passing(true, "no connection".to_owned()),
        ureq::Error::Protocol(e) => passing(false, format!("the answer is broken: {e}")),
        e => Trouble::Final(Error::runtime(format!("{what}: {e}"))),
    }
}

fn io_trouble(e: std::io::Error, what: &str) -> Trouble {
    use std::io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
    let inner = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(e) = inner {
        return Trouble::Final(tls_error(what, e));
    }
    let unreachable = [ConnectionRefused, HostUnreachable, NetworkUnreachable, AddrNotAvailable].contains(&e.kind());
    Trouble::Passing(Passing { what: format!("{what}: {e}"), wait: None, unreachable })
}

fn tls_error(what: &str, e: &rustls::Error) -> Error {
    let hint = match e {
        rustls::Error::InvalidCertificate(_) => {
            "; if a proxy or a company's network re-signs traffic, give its certificate with --cacert FILE (PEM), and see \
             that this computer's clock is right"
        }
        _ => "",
    };
    Error::runtime(format!("{what}: no safe connection: {e}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Uri {
        parse_url(text).unwrap()
    }

    #[test]
    fn the_token_stays_at_home() {
        let options = HttpOptions {
            endpoint: "https://hub.example",
            token: Some("secret"),
            ca_file: None,
            stall: Duration::from_secs(1),
        };
        let http = Http::new(&options).unwrap();
        assert!(http.is_hub(&url("https://hub.example:443/x")) && http.is_hub(&url("https://HUB.example/x")));
        for other in ["http://hub.example/x", "https://cdn.hub.example/x", "https://hub.example:444/x"] {
            assert!(!http.is_hub(&url(other)), "{other}");
        }
        assert_eq!(http.url("a/b%20c").unwrap().to_string(), "https://hub.example/a/b%20c");
    }

    #[test]
    fn redirects_lead_where_they_say() {
        let from = url("https://h.example/a/b?q=1");
        let to = |location: &str| redirected(&from, location).map(|u| u.to_string());
        assert_eq!(to("/c").unwrap(), "https://h.example/c");
        assert_eq!(to("c").unwrap(), "https://h.example/a/c");
        assert_eq!(to("//cdn.example/c?s=2").unwrap(), "https://cdn.example/c?s=2");
        assert!(to("http://cdn.example/c").unwrap_err().contains("not followed"));
        assert!(to("").is_ok() && to("ftp://x/").is_ok_and(|u| u.starts_with("https://h.example/a/ftp:")));
    }

    #[test]
    fn addresses_and_tags() {
        assert_eq!(escape_path("a b/c#d-\u{e9}.gguf"), "a%20b/c%23d-%C3%A9.gguf");
        assert_eq!(normal_etag("W/\"abc\""), "abc");
        assert_eq!(shown(&url("https://cdn.example/x?Signature=secret")), "https://cdn.example/x");
        for bad in ["hub.example", "ftp://x/y", "https://", "/x", "http:///x"] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }
}
