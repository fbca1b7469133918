//! Two S3 servers: Ceph radosgw, whose Object Lock is real, and moto, which knows conditional
//! writes. All tests of the binary share them. Objects are read back by the AWS SDK.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus,
    ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule,
};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use tokio::runtime::Runtime;

use crate::shared::{self, Shared};
use crate::support::peers_folder;
use crate::support::process::{Process, free_port};

pub const ACCESS_KEY: &str = "testkey";
pub const SECRET_KEY: &str = "testsecret";

/// A running S3 server.
pub struct Server {
    pub name: &'static str,
    endpoint: String,
    /// How our sink finds out that an object is there already.
    exclusive: &'static str,
    process: Process,
    runtime: Runtime,
    client: Client,
}

/// One object as it was read back.
#[derive(Debug)]
pub struct Object {
    pub key: String,
    pub body: Vec<u8>,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub retention: Option<String>,
    pub is_held: bool,
    pub encryption: Option<String>,
    /// It was uploaded in parts.
    pub is_of_parts: bool,
}

/// Ceph's S3 gateway: enforces Object Lock; ignores `If-None-Match`.
pub fn radosgw() -> Shared<Server> {
    static SERVER: LazyLock<Server> = LazyLock::new(|| {
        let folder = shared::folder("rgw");
        let port = free_port();
        let mut command = Command::new("bash");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/radosgw.sh")).arg(&folder);
        command.args([port, free_port(), free_port()].map(|port| port.to_string()));
        let process = Process::start_shared("radosgw", &folder, &command);
        process.wait_for("`ready`", Duration::from_secs(300), |line| (line == "ready").then_some(()));
        Server::new("radosgw", "head", port, process)
    });
    Shared::new(&SERVER, |server| &server.process)
}

/// moto's server: honours `If-None-Match`; does not check signatures.
pub fn moto() -> Shared<Server> {
    static SERVER: LazyLock<Server> = LazyLock::new(|| {
        let folder = shared::folder("moto");
        let port = free_port();
        let mut command = Command::new(peers_folder().join("venv/bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).env("PYTHONUNBUFFERED", "1");
        let process = Process::start_shared("moto", &folder, &command);
        process.wait_for_port(port, Duration::from_secs(60));
        Server::new("moto", "if_none_match", port, process)
    });
    Shared::new(&SERVER, |server| &server.process)
}

impl Server {
    fn new(name: &'static str, exclusive: &'static str, port: u16, process: Process) -> Server {
        let endpoint = format!("http://127.0.0.1:{port}");
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
            .endpoint_url(&endpoint)
            .force_path_style(true)
            .http_client(http)
            .build();
        let runtime = Runtime::new().expect("tokio runtime");
        Server { name, endpoint, exclusive, process, runtime, client: Client::from_conf(config) }
    }

    /// The same, with credentials from elsewhere.
    pub fn sink_without_keys(&self, bucket: &str, options: &str) -> String {
        let Server { name, endpoint, exclusive, .. } = self;
        let place = format!("type: s3, bucket: {bucket}, endpoint: \"{endpoint}\", exclusive: {exclusive}");
        format!("  {name}: {{{place}, {options}}}\n")
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Begins an upload and leaves it.
    pub fn begin_upload(&self, bucket: &str, key: &str) {
        let begin = self.client.create_multipart_upload().bucket(bucket).key(key);
        self.runtime.block_on(begin.send()).expect("begin an upload");
    }

    /// Keys of unfinished uploads.
    pub fn uploads(&self, bucket: &str) -> Vec<String> {
        let list = self.runtime.block_on(self.client.list_multipart_uploads().bucket(bucket).send());
        let list = list.expect("list uploads");
        list.uploads().iter().filter_map(|upload| upload.key().map(str::to_owned)).collect()
    }

    /// An `s3` sink of the gateway that writes to this server, in a config, named after it.
    pub fn sink(&self, bucket: &str, options: &str) -> String {
        let Server { name, endpoint, exclusive, .. } = self;
        format!(
            "  {name}: {{type: s3, bucket: {bucket}, endpoint: \"{endpoint}\", access_key_id: {ACCESS_KEY}, \
             secret_access_key: {SECRET_KEY}, exclusive: {exclusive}, {options}}}\n"
        )
    }

    /// `s3:` of an archive that is kept on this server.
    pub fn store(&self, bucket: &str, options: &str) -> String {
        let endpoint = &self.endpoint;
        format!(
            "{{bucket: {bucket}, endpoint: \"{endpoint}\", access_key_id: {ACCESS_KEY}, \
             secret_access_key: {SECRET_KEY}, {options}}}"
        )
    }

    /// Lets a command reach this server.
    pub fn credentials<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.env("AWS_ENDPOINT_URL", &self.endpoint)
    }

    pub fn create_bucket(&self, bucket: &str) {
        self.runtime.block_on(self.client.create_bucket().bucket(bucket).send()).expect("create bucket");
    }

    /// A bucket whose new objects are locked for a day, whatever the client says.
    pub fn create_locked_bucket(&self, bucket: &str) {
        let retention = DefaultRetention::builder().mode(ObjectLockRetentionMode::Compliance).days(1).build();
        let configuration = ObjectLockConfiguration::builder()
            .object_lock_enabled(ObjectLockEnabled::Enabled)
            .rule(ObjectLockRule::builder().default_retention(retention).build())
            .build();
        self.runtime.block_on(async {
            let create = self.client.create_bucket().bucket(bucket).object_lock_enabled_for_bucket(true);
            create.send().await.expect("create bucket with object lock");
            let put = self.client.put_object_lock_configuration().bucket(bucket);
            put.object_lock_configuration(configuration).send().await.expect("set default retention");
        });
    }

    /// A bucket that can lock objects, and locks those alone whose writer says so.
    pub fn create_locking_bucket(&self, bucket: &str) {
        let create = self.client.create_bucket().bucket(bucket).object_lock_enabled_for_bucket(true);
        self.runtime.block_on(create.send()).expect("create bucket with object lock");
    }

    /// Every object of the bucket, in the order of the keys.
    pub fn objects(&self, bucket: &str) -> Vec<Object> {
        self.runtime.block_on(async {
            let listed = self.client.list_objects_v2().bucket(bucket).send().await.expect("list objects");
            assert_ne!(listed.is_truncated(), Some(true), "more objects than one page");
            let mut objects = Vec::new();
            for key in listed.contents().iter().filter_map(|object| object.key()) {
                objects.push(self.object(bucket, key).await);
            }
            objects
        })
    }

    async fn object(&self, bucket: &str, key: &str) -> Object {
        let answer = self.client.get_object().bucket(bucket).key(key).send().await.expect("get object");
        Object {
            key: key.to_owned(),
            content_type: answer.content_type().map(str::to_owned),
            content_encoding: answer.content_encoding().map(str::to_owned),
            retention: answer.object_lock_mode().map(|mode| mode.as_str().to_owned()),
            is_held: answer.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On),
            encryption: answer.server_side_encryption().map(|encryption| encryption.as_str().to_owned()),
            is_of_parts: answer.e_tag().is_some_and(|tag| tag.contains('-')),
            body: answer.body.collect().await.expect("read object").to_vec(),
        }
    }

    /// How many versions the bucket holds of all its objects: a second PUT of a key makes one more.
    pub fn version_count(&self, bucket: &str) -> usize {
        let versions = self.runtime.block_on(self.client.list_object_versions().bucket(bucket).send());
        versions.expect("list versions").versions().len()
    }

    pub fn put(&self, bucket: &str, key: &str, body: &[u8]) -> Result<(), String> {
        let put = self.client.put_object().bucket(bucket).key(key).body(body.to_vec().into());
        self.runtime.block_on(put.send()).map(|_| ()).map_err(|error| format!("{error:?}"))
    }

    /// Tries to destroy the newest version of an object for good.
    pub fn delete_version(&self, bucket: &str, key: &str) -> Result<(), String> {
        self.delete(bucket, key, false)
    }

    /// The same, with all the rights there are.
    pub fn delete_version_with_bypass(&self, bucket: &str, key: &str) -> Result<(), String> {
        self.delete(bucket, key, true)
    }

    fn delete(&self, bucket: &str, key: &str, bypass: bool) -> Result<(), String> {
        self.runtime.block_on(async {
            let head = self.client.head_object().bucket(bucket).key(key).send().await.expect("head object");
            let version = head.version_id().expect("a versioned bucket");
            let delete = self.client.delete_object().bucket(bucket).key(key).version_id(version);
            let delete = delete.set_bypass_governance_retention(bypass.then_some(true));
            delete.send().await.map(|_| ()).map_err(|error| format!("{error:?}"))
        })
    }

    /// Deletes an object as a bucket with versions does: its versions stay.
    pub fn hide(&self, bucket: &str, key: &str) {
        self.runtime.block_on(self.client.delete_object().bucket(bucket).key(key).send()).expect("delete object");
    }

    /// Tries to set another lock, which ends so many seconds from now, with all the rights there are.
    pub fn retain(&self, bucket: &str, key: &str, mode: &str, seconds: u64) -> Result<(), String> {
        let until = SystemTime::now() + Duration::from_secs(seconds);
        let retention = ObjectLockRetention::builder().mode(mode.into()).retain_until_date(until.into()).build();
        let put = self.client.put_object_retention().bucket(bucket).key(key).retention(retention);
        let put = put.bypass_governance_retention(true);
        self.runtime.block_on(put.send()).map(|_| ()).map_err(|error| format!("{error:?}"))
    }

    /// Ends the legal hold of an object.
    pub fn release(&self, bucket: &str, key: &str) {
        let hold = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::Off).build();
        let put = self.client.put_object_legal_hold().bucket(bucket).key(key).legal_hold(hold);
        self.runtime.block_on(put.send()).expect("end the hold");
    }
}
