//! A client written by others that speaks the PROXY protocol before TLS: curl.

use std::process::Command;
use std::time::Duration;

use crate::peers_are_off;
use crate::support::gateway::Gateway;
use crate::support::lines::{SinkFile, text};
use crate::support::pki::Pki;

#[test]
fn curl_says_whose_connection_it_is() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (pki, out) = (Pki::create(folder.path()), SinkFile::in_folder(folder.path()));
    let config = format!(
        "sources:\n  in:\n    type: hec\n    address: 127.0.0.1:0\n    token: s3cret\n    proxy_protocol: true\n    \
         proxy_trusted: [127.0.0.0/8]\n    tls:\n      certificate: {certificate}\n      key: {key}\nsinks:\n{sink}",
        certificate = pki.server.certificate.display(),
        key = pki.server.key.display(),
        sink = out.config(),
    );
    let gateway = Gateway::start(folder.path(), &config);
    let url = format!("https://{}/services/collector", gateway.address("in", "https"));
    let post = |more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-m", "20", "--cacert"]).arg(&pki.authority);
        curl.args(["-H", "Authorization: Splunk s3cret", "-d", r#"{"event":"hello"}"#]);
        let answered = curl.args(more).arg(&url).output().expect("curl runs");
        String::from_utf8(answered.stdout).unwrap()
    };
    let proxied = ["--haproxy-protocol", "--interface", "127.0.0.9"];
    assert_eq!(post(&proxied), r#"{"text":"Success","code":0}"#);
    assert_eq!(post(&["--interface", "127.0.0.9"]), "", "without a header there is no handshake");
    let events = out.wait_for(1, Duration::from_secs(20), |event| text(event, "source") == "in");
    assert_eq!(events.iter().map(|event| text(event, "peer")).collect::<Vec<_>>(), ["127.0.0.9"]);
    gateway.stop();
}
