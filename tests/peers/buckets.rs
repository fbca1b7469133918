//! How objects are written to servers of other makes, by the sink `s3` and by an archive: in parts, locked, held,
//! encrypted; and whose credentials they are written with.

use std::io::{BufRead as _, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::containers::object_events;
use crate::custody::{key, verify, wait_sealed};
use crate::shared::Shared;
use crate::support::gateway::Gateway;
use crate::support::lines::text;
use crate::support::process::eventually;
use crate::{peers_are_off, s3};

const WITHIN: Duration = Duration::from_secs(60);
const SOURCE: &str = "sources:\n  in: {type: syslog, mode: tcp, address: 127.0.0.1:0}\nsinks:\n";
/// Messages of 100 KiB: more than two parts of 5 MiB.
const LARGE: usize = 120;

fn send(gateway: &Gateway, count: usize, bytes: usize) {
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    let fill = "x".repeat(bytes);
    for number in 0..count {
        writeln!(stream, "<134>1 2026-11-21T09:05:11.123456Z far-host cargo {number} - - {fill}").unwrap();
    }
}

/// Waits until so many messages are in objects; answers these.
fn stored(server: &s3::Server, bucket: &str, count: usize) -> Vec<s3::Object> {
    eventually(&format!("{count} messages at {}", server.name), WITHIN, || {
        let objects = server.objects(bucket);
        let ours = objects.iter().flat_map(object_events).filter(|event| text(event, "app") == "cargo").count();
        (ours == count).then_some(objects)
    })
}

/// A large object goes in parts, and what a lock wants of an object holds for one of parts, too.
fn locks_what_goes_in_parts(server: &Shared<s3::Server>, bucket: &str, checksum: &str) {
    server.create_locking_bucket(bucket);
    let folder = tempfile::tempdir().unwrap();
    let lock = "lock: governance, keep: 1d, legal_hold: true, part_bytes: 5MiB, compression: none, max_age: 3s";
    let sink = server.sink(bucket, &format!("{lock}, checksum: {checksum}, folder: \"app={{app}}/{{time.date}}\""));
    let gateway = Gateway::start(folder.path(), &format!("{SOURCE}{sink}"));
    send(&gateway, LARGE, 100 << 10);
    let objects = stored(server, bucket, LARGE);
    gateway.stop();
    assert!(objects.iter().any(|object| object.is_of_parts), "{}: none in parts", server.name);
    for object in server.objects(bucket) {
        assert_eq!((object.retention.as_deref(), object.is_held), (Some("GOVERNANCE"), true), "{}", object.key);
        let is_ours = object_events(&object).iter().any(|event| text(event, "app") == "cargo");
        assert!(!is_ours || object.key.starts_with("app=cargo/2026-11-21/"), "{}", object.key);
    }
    assert_eq!(server.uploads(bucket), [""; 0]);
    // Who may bypass governance cannot bypass a hold; radosgw enforces it.
    if server.name == "radosgw" {
        for object in &objects {
            let refusal = server.delete_version_with_bypass(bucket, &object.key).unwrap_err();
            assert!(refusal.contains("AccessDenied"), "{refusal}");
        }
    }
}

#[test]
fn radosgw_locks_what_goes_in_parts() {
    if !peers_are_off() {
        // Ceph of this age knows no checksums; what locks want is sent all the same.
        locks_what_goes_in_parts(&s3::radosgw(), "parts-at-rgw", "when_required");
    }
}

#[test]
fn moto_locks_what_goes_in_parts() {
    if !peers_are_off() {
        locks_what_goes_in_parts(&s3::moto(), "parts-at-moto", "sha256");
    }
}

/// The archive writes by the same code; what an earlier run left unfinished is gone.
fn an_archive_goes_in_parts(server: &Shared<s3::Server>, bucket: &str, checksum: &str) {
    server.create_locking_bucket(bucket);
    server.begin_upload(bucket, "wharf/audit/data/dt=2026-11-20/hour=01/000000000000.ndjson");
    server.begin_upload(bucket, "elsewhere/data");
    let folder = tempfile::tempdir().unwrap();
    let store =
        server.store(bucket, &format!("prefix: wharf, lock: compliance, part_bytes: 5MiB, checksum: {checksum}"));
    let archive = format!("  audit: {{type: archive, keep: 1d, compression: none, max_age: 3s, s3: {store}}}\n");
    let gateway = Gateway::start(folder.path(), &format!("{SOURCE}{archive}"));
    send(&gateway, LARGE, 100 << 10);
    wait_sealed(&gateway, LARGE);
    gateway.stop();
    let objects = server.objects(bucket);
    assert!(objects.iter().any(|object| object.is_of_parts && object.key.contains("/data/")));
    assert!(objects.iter().all(|object| object.retention.as_deref() == Some("COMPLIANCE")));
    assert_eq!(server.uploads(bucket), ["elsewhere/data"]);
    let (code, report) = verify(&format!("s3://{bucket}/wharf"), &key(folder.path()), server);
    assert_eq!(code, 0, "{report:#}");
}

#[test]
fn an_archive_at_radosgw_goes_in_parts() {
    if !peers_are_off() {
        an_archive_goes_in_parts(&s3::radosgw(), "archive-parts", "crc32c");
    }
}

#[test]
fn an_archive_at_moto_goes_in_parts() {
    if !peers_are_off() {
        // moto takes the sum of the whole for one of the parts, and its answer is then refused by the SDK.
        an_archive_goes_in_parts(&s3::moto(), "archive-parts", "sha256");
    }
}

/// radosgw has no key management here and says so: nothing is stored in the clear instead.
#[test]
fn what_is_to_be_encrypted_is_or_is_not_stored() {
    if peers_are_off() {
        return;
    }
    for (options, expected) in [("encryption: s3", "AES256"), ("encryption: kms, kms_key: alias/logs", "aws:kms")] {
        let (server, bucket) = (s3::moto(), format!("encrypted-{}", expected.replace(':', "-").to_lowercase()));
        server.create_bucket(&bucket);
        let folder = tempfile::tempdir().unwrap();
        let sink = server.sink(&bucket, &format!("{options}, max_age: 200ms"));
        let gateway = Gateway::start(folder.path(), &format!("{SOURCE}{sink}"));
        send(&gateway, 10, 10);
        let objects = stored(&server, &bucket, 10);
        assert!(objects.iter().all(|object| object.encryption.as_deref() == Some(expected)));
        gateway.stop();
    }
    let (server, bucket, folder) = (s3::radosgw(), "not-encrypted", tempfile::tempdir().unwrap());
    server.create_bucket(bucket);
    let sink = server.sink(bucket, "encryption: kms, kms_key: no-such-key, max_age: 200ms");
    let gateway = Gateway::start(folder.path(), &format!("{SOURCE}{sink}"));
    send(&gateway, 10, 10);
    eventually("an alarm or a retry", WITHIN, || gateway.process().said("HTTP 4").then_some(()));
    assert!(server.objects(bucket).is_empty(), "nothing in the clear");
}

/// A metadata service of a machine with a role (IMDSv2): who brings no token gets nothing.
fn metadata() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut reader, mut head) = (BufReader::new(stream.try_clone().unwrap()), String::new());
            while reader.read_line(&mut head).unwrap_or(0) > 2 {}
            let (head, path) = (head.to_ascii_lowercase(), head.split(' ').nth(1).unwrap_or_default().to_owned());
            let (status, body) = match path.as_str() {
                "/latest/api/token" if head.starts_with("put ") => (200, "metadata-token".to_owned()),
                _ if !head.contains("x-aws-ec2-metadata-token: metadata-token") => (401, String::new()),
                "/latest/meta-data/iam/security-credentials/" => (200, "gateway-role".to_owned()),
                "/latest/meta-data/iam/security-credentials/gateway-role" => (
                    200,
                    format!(
                        r#"{{"Code":"Success","Type":"AWS-HMAC","LastUpdated":"2026-11-21T00:00:00Z",
                        "AccessKeyId":"{}","SecretAccessKey":"{}","Token":"t","Expiration":"2099-01-01T00:00:00Z"}}"#,
                        s3::ACCESS_KEY,
                        s3::SECRET_KEY
                    ),
                ),
                _ => (404, String::new()),
            };
            let ttl = "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\nconnection: close";
            let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n{ttl}\r\n\r\n", body.len());
            // Who has hung up gets nothing.
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    address
}

/// radosgw checks signatures; moto does not, but a request without credentials is never made.
#[test]
fn credentials_come_from_profiles_roles_and_the_machine() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (profiles, token) = (folder.path().join("credentials"), folder.path().join("token"));
    let (access_key, secret_key) = (s3::ACCESS_KEY, s3::SECRET_KEY);
    let profile = format!("[gateway]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n");
    std::fs::write(&profiles, profile).unwrap();
    std::fs::write(&token, "a.web.token").unwrap();
    let (radosgw, moto) = (s3::radosgw(), s3::moto());
    let files = format!("AWS_SHARED_CREDENTIALS_FILE={}", profiles.display());
    let role = [
        format!("AWS_WEB_IDENTITY_TOKEN_FILE={}", token.display()),
        "AWS_ROLE_ARN=arn:aws:iam::123456789012:role/gateway".to_owned(),
        format!("AWS_ENDPOINT_URL_STS={}", moto.endpoint()),
    ];
    let metadata = [format!("AWS_EC2_METADATA_SERVICE_ENDPOINT={}", metadata())];
    for (server, source, environment) in [
        (&radosgw, "profile, profile: gateway", std::slice::from_ref(&files)),
        (&moto, "web_identity", &role),
        (&moto, "instance", &metadata),
        // The first that has some.
        (&moto, "chain", &metadata),
    ] {
        let bucket = format!("credentials-{}", source.split(['_', ',']).next().unwrap());
        server.create_bucket(&bucket);
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("env");
        command.args(environment).env("HOME", folder.path());
        let sink = server.sink_without_keys(&bucket, &format!("credentials: {source}, max_age: 200ms"));
        let gateway = Gateway::start_under(command, folder.path(), &format!("{SOURCE}{sink}"));
        send(&gateway, 10, 10);
        stored(server, &bucket, 10);
        gateway.stop();
    }
    // And who has none says so, and waits.
    let folder = tempfile::tempdir().unwrap();
    moto.create_bucket("credentials-none");
    let mut command = Command::new("env");
    command.env("HOME", folder.path());
    let sink = moto.sink_without_keys("credentials-none", "credentials: web_identity, max_age: 200ms");
    let gateway = Gateway::start_under(command, folder.path(), &format!("{SOURCE}{sink}"));
    send(&gateway, 10, 10);
    eventually("the reason", WITHIN, || gateway.process().said("AWS_WEB_IDENTITY_TOKEN_FILE").then_some(()));
    assert!(moto.objects("credentials-none").is_empty());
}
