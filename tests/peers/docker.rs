//! A Docker Engine of our own: private socket, private data, one image made from a static busybox.
//! All tests of the binary share it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::time::Duration;

use crate::shared::{self, Shared};
use crate::support::pki::Pki;
use crate::support::process::{Process, eventually, free_port};

/// The name of the image every container is made from.
pub const IMAGE: &str = "wharf/box:1";

/// A running Engine.
pub struct Engine {
    folder: PathBuf,
    process: Process,
    pki: Pki,
    port: u16,
}

/// The Engine of this test binary, started when first asked for.
pub fn engine() -> Shared<Engine> {
    static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::start);
    Shared::new(&ENGINE, |engine| &engine.process)
}

impl Engine {
    fn start() -> Engine {
        let folder = shared::folder("docker");
        let pki = Pki::create(&folder);
        let port = free_port();
        let mut command = Command::new("dockerd");
        command
            .arg("--data-root")
            .arg(folder.join("data"))
            .arg("--exec-root")
            .arg(folder.join("exec"))
            .arg("--pidfile")
            .arg(folder.join("docker.pid"))
            .arg("--host")
            .arg(format!("unix://{}", folder.join("docker.sock").display()))
            .arg("--host")
            .arg(format!("tcp://127.0.0.1:{port}"))
            .arg("--tlsverify")
            .arg("--tlscacert")
            .arg(&pki.authority)
            .arg("--tlscert")
            .arg(&pki.server.certificate)
            .arg("--tlskey")
            .arg(&pki.server.key)
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--shutdown-timeout=5"]);
        let process = Process::start_shared("dockerd", &folder, &command);
        process.wait_for("the API", Duration::from_secs(60), |line| {
            line.contains("API listen on").then(|| line.contains(".sock")).filter(|is_file| *is_file)
        });
        let engine = Engine { folder, process, pki, port };
        engine.import_image();
        engine
    }

    /// Makes the image without a registry.
    fn import_image(&self) {
        let root = self.folder.join("image");
        for folder in ["bin", "tmp", "etc"] {
            fs::create_dir_all(root.join(folder)).expect("create image folder");
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("static busybox; run tests/setup-peers");
        for applet in ["sh", "echo", "printf", "sleep", "seq", "cat", "true", "tr"] {
            symlink("busybox", root.join("bin").join(applet)).expect("link applet");
        }
        let archive = self.folder.join("image.tar");
        let status = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status();
        assert!(status.expect("run tar").success());
        self.docker(&["import", archive.to_str().expect("UTF-8 path"), IMAGE]);
    }

    /// The socket of the API.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Where the API is on the network, over TLS.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// The authority of the Engine, and a client that it lets in.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// Runs the docker command line; answers its stdout.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = self.try_docker(arguments);
        assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8 output").trim().to_owned()
    }

    /// Runs the docker command line, whatever comes of it.
    pub fn try_docker(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("run docker; run tests/setup-peers")
    }

    /// The docker command line, told to talk to this Engine.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("DOCKER_CONFIG", self.folder.join("client"))
            .args(arguments);
        command
    }

    /// `docker run --network none` of the image: `options`, then `command`.
    pub fn run(&self, options: &[&str], command: &[&str]) -> String {
        let arguments = [&["run", "--network", "none"], options, &[IMAGE], command].concat();
        self.docker(&arguments)
    }

    /// The process id of the daemon, which its log drivers put into what they send.
    pub fn pid(&self) -> u32 {
        eventually("dockerd writes its pid file", Duration::from_secs(5), || {
            fs::read_to_string(self.folder.join("docker.pid")).ok()?.trim().parse().ok()
        })
    }
}
